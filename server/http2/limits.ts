/**
 * Every limit of an HTTP/2 connection, by name, with the default and the attack or accident it is there for. Sizes in
 * bytes, times in milliseconds. Holds no state.
 */
import { assert } from '../../core/util/assert.ts';
import { FRAME_BYTES_MAX, INITIAL_WINDOW_BYTES, WINDOW_BYTES_MAX } from './frames.ts';

export interface Http2Limits {
  /** Streams a peer may have open (SETTINGS_MAX_CONCURRENT_STREAMS); one more is refused. */
  readonly maxConcurrentStreams: number;
  /** How much of one request may be on its way or unread (SETTINGS_INITIAL_WINDOW_SIZE). */
  readonly streamWindowBytes: number;
  /** The same over all requests of a connection; at least 65,535. */
  readonly connectionWindowBytes: number;

  /** A decoded header list, RFC 9113 section 6.5.2's count; one longer is answered 431 (HPACK bomb). */
  readonly headerListBytesMax: number;
  /** An encoded header block over HEADERS and CONTINUATION (CONTINUATION flood, CVE-2024-27316). */
  readonly headerBlockBytesMax: number;
  /** CONTINUATION frames in one header block. */
  readonly continuationsMax: number;
  /** Settings in one SETTINGS frame. */
  readonly settingsEntriesMax: number;

  /** Output queued on one stream beyond which `sendData` says false. */
  readonly streamHighWaterBytes: number;
  /** Output queued on one stream; a sender that goes on regardless has its stream reset. One chunk is always taken. */
  readonly streamQueueBytesMax: number;
  /** The same over all streams of a connection. */
  readonly connectionQueueBytesMax: number;
  /** Output on its way to the socket beyond which DATA waits in its stream's queue. */
  readonly outputHighWaterBytes: number;
  /** Output on its way to the socket beyond which the peer is not read any more (it does not read its replies either). */
  readonly outputPauseBytes: number;
  /** Acknowledgements and resets owed to a peer that does not read (CVE-2019-9512, 9514, 9515). */
  readonly repliesOwedMax: number;

  /** Streams cancelled by the peer, or reset by us for its errors, at once (CVE-2023-44487, CVE-2025-8671) ... */
  readonly resetBurst: number;
  /** ... and how many more each second allows; each stream that ends well allows one more, too. */
  readonly resetsPerSecond: number;
  /** Frames that carry no request forward (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, unknown) at once ... */
  readonly controlFrameBurst: number;
  /** ... and how many more each second allows; frames that do carry one allow two more. */
  readonly controlFramesPerSecond: number;

  /** From the connection's start to the end of the client's preface. */
  readonly prefaceTimeoutMs: number;
  /** From HEADERS to the last CONTINUATION. */
  readonly headerTimeoutMs: number;
  /** From a frame's first byte to its last. */
  readonly frameTimeoutMs: number;
  /** A stream with queued output must move `streamStallBytesMin` of it, or all, in this time (zero window, slow drip). */
  readonly streamStallTimeoutMs: number;
  readonly streamStallBytesMin: number;
  /** Output given to the socket must move in this time. */
  readonly writeStallTimeoutMs: number;
  /** How long after a GOAWAY that ends the connection the peer may still take to read it. */
  readonly lingerMs: number;

  /** Client pings closer together than this are strikes; the third closes the connection (grpc-go's policy). */
  readonly keepaliveMinTimeMs: number;
  /** The same while no stream is open. */
  readonly keepaliveIdleMinTimeMs: number;
  /** The server pings a peer it has not heard from for this long ... */
  readonly keepaliveTimeMs: number;
  /** ... and gives it up when nothing comes within this time. */
  readonly keepaliveTimeoutMs: number;
  /** How long `shutdown` waits for the peer to have seen the first GOAWAY. */
  readonly shutdownNoticeMs: number;
}

export const HTTP2_DEFAULTS: Http2Limits = Object.freeze({
  maxConcurrentStreams: 10_000,
  streamWindowBytes: 1024 * 1024,
  connectionWindowBytes: 4 * 1024 * 1024,

  headerListBytesMax: 16 * 1024,
  headerBlockBytesMax: 32 * 1024,
  continuationsMax: 8,
  settingsEntriesMax: 32,

  streamHighWaterBytes: 64 * 1024,
  streamQueueBytesMax: 64 * 1024 * 1024,
  connectionQueueBytesMax: 256 * 1024 * 1024,
  outputHighWaterBytes: 256 * 1024,
  outputPauseBytes: 1024 * 1024,
  repliesOwedMax: 1_000,

  resetBurst: 2_000,
  resetsPerSecond: 200,
  controlFrameBurst: 2_000,
  controlFramesPerSecond: 500,

  prefaceTimeoutMs: 10_000,
  headerTimeoutMs: 10_000,
  frameTimeoutMs: 30_000,
  streamStallTimeoutMs: 60_000,
  streamStallBytesMin: 16 * 1024,
  writeStallTimeoutMs: 30_000,
  lingerMs: 1_000,

  keepaliveMinTimeMs: 5_000,
  keepaliveIdleMinTimeMs: 7_200_000,
  keepaliveTimeMs: 7_200_000,
  keepaliveTimeoutMs: 20_000,
  shutdownNoticeMs: 1_000,
});

/** The defaults with `overrides` on top; asserts that the protocol allows them. */
export function resolveLimits(overrides: Partial<Http2Limits>): Http2Limits {
  const limits = { ...HTTP2_DEFAULTS, ...overrides };
  assert(limits.maxConcurrentStreams >= 0 && limits.maxConcurrentStreams < 2 ** 32, 'maxConcurrentStreams: 32 bits');
  assert(limits.streamWindowBytes > 0 && limits.streamWindowBytes <= WINDOW_BYTES_MAX, 'streamWindowBytes: 31 bits');
  assert(
    limits.connectionWindowBytes >= INITIAL_WINDOW_BYTES && limits.connectionWindowBytes <= WINDOW_BYTES_MAX,
    'connectionWindowBytes: 65,535 up to 31 bits',
  );
  assert(limits.headerBlockBytesMax >= FRAME_BYTES_MAX, 'headerBlockBytesMax: at least one frame');
  return limits;
}
