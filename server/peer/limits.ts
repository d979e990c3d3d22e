/**
 * Every limit of the traffic between members, by name, with its default and what it is there for. Sizes in bytes, times
 * in milliseconds. Holds no state.
 */
import { assert } from '../../core/util/assert.ts';

export interface PeerLimits {
  /** One encoded message, so also one frame. A longer one is neither sent nor taken. */
  readonly messageBytesMax: number;
  /** Messages that are ready together share a frame up to this size; a longer one has a frame to itself. */
  readonly frameBytesTarget: number;
  /** Messages in one frame. */
  readonly frameMessagesMax: number;

  /** A larger message is never urgent, whatever it says. */
  readonly urgentMessageBytesMax: number;
  /** Urgent messages waiting on one connection; beyond, the oldest is dropped. */
  readonly urgentMessagesMax: number;
  /** Other messages waiting on one connection, and their bytes (but one is always taken); beyond, new ones are dropped. */
  readonly backlogMessagesMax: number;
  readonly backlogBytesMax: number;
  /** Bytes given to the socket and not taken by the system yet, beyond which messages wait where urgent ones can pass. */
  readonly writeHighWaterBytes: number;
  /** What nobody waits for leaves after so long, if nothing else has left before. */
  readonly lingerMs: number;

  /** From the beginning of a dial to the end of the WebSocket handshake. */
  readonly dialTimeoutMs: number;
  /** Wait before the next dial: doubled after each round of the member's URLs that failed, and shortened by chance by up to half. */
  readonly redialMinMs: number;
  readonly redialMaxMs: number;
  /** A connection that ends sooner counts as a failed dial. */
  readonly stableMs: number;
  /** Of the text with which a member refuses a connection, this much is read. */
  readonly refusalBytesMax: number;

  /** A member is asked for a sign of life this often ... */
  readonly pingIntervalMs: number;
  /** ... and its connection is cut when so many intervals in a row have passed without one. */
  readonly pingsUnansweredMax: number;
  /** The same for contents of snapshots, where a pong may be behind much data on a slow line. */
  readonly bulkPingsUnansweredMax: number;
  /** The same for who was dialed: intervals without a byte, pings included. */
  readonly silentIntervalsMax: number;

  /** Open sockets of the peer listeners; one more is closed as soon as it is accepted. */
  readonly connectionsMax: number;
  /** Connections of members that this one has not heard of yet (it may be behind). */
  readonly strangersMax: number;
  /** From the first byte of an HTTP request to its last. */
  readonly requestTimeoutMs: number;
  readonly requestCheckIntervalMs: number;
  readonly tlsHandshakeTimeoutMs: number;
  /** TLS handshakes under way. For one more, the oldest that has had this much time is cut off, or the new one. */
  readonly tlsHandshakesMax: number;
  readonly tlsHandshakePatienceMs: number;
  /** All headers of a request. */
  readonly headerBytesMax: number;

  /** What an orderly end of a connection may take before it is cut. */
  readonly closeGraceMs: number;
  /** The answer of a member to a question over HTTP. */
  readonly answerBytesMax: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const PEER_DEFAULTS: PeerLimits = Object.freeze({
  // The largest request that --max-request-bytes allows, and what is around it.
  messageBytesMax: 68 * MIB,
  frameBytesTarget: 256 * KIB,
  frameMessagesMax: 4096,

  urgentMessageBytesMax: 16 * KIB,
  urgentMessagesMax: 4096,
  // More than a leader sends ahead of a follower's answers: that is Raft's own limit.
  backlogMessagesMax: 4096,
  backlogBytesMax: 96 * MIB,
  writeHighWaterBytes: 512 * KIB,
  lingerMs: 2,

  dialTimeoutMs: 5000,
  redialMinMs: 50,
  redialMaxMs: 1000,
  stableMs: 1000,
  refusalBytesMax: KIB,

  pingIntervalMs: 1000,
  pingsUnansweredMax: 5,
  bulkPingsUnansweredMax: 15,
  silentIntervalsMax: 10,

  connectionsMax: 1000,
  strangersMax: 32,
  requestTimeoutMs: 10_000,
  requestCheckIntervalMs: 2000,
  tlsHandshakeTimeoutMs: 10_000,
  tlsHandshakesMax: 200,
  tlsHandshakePatienceMs: 1000,
  headerBytesMax: 8 * KIB,

  closeGraceMs: 1000,
  answerBytesMax: MIB,
});

/** The defaults with `changes` on top; asserts that they fit together. */
export function peerLimits(changes: Partial<PeerLimits> = {}): PeerLimits {
  const limits = { ...PEER_DEFAULTS, ...changes };
  assert(limits.frameBytesTarget <= limits.messageBytesMax, 'a frame of several messages is no longer than one may be');
  assert(limits.redialMinMs > 0 && limits.redialMinMs <= limits.redialMaxMs, 'redials wait, and ever longer');
  return limits;
}
