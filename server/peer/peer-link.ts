/**
 * The connection of one lane to one other member: dialed, dialed again when it is lost, given the frames it can take.
 * Owns its queue and its socket. A message waits for one dial at most; what it loses, Raft sends again.
 */
import { WebSocket } from 'ws';
import type { Pace } from '../../core/node/world.ts';
import type { Logger } from '../config/log.ts';
import type { Identity } from '../rpc/context.ts';
import type { Tls } from '../tls/tls.ts';
import { type DialFailure, dial } from './dial.ts';
import { hexId, type Lane } from './handshake.ts';
import type { PeerLimits } from './limits.ts';
import { OutgoingQueue } from './outgoing-queue.ts';

export interface LinkOptions {
  readonly identity: Identity;
  readonly tls: Tls | undefined;
  readonly limits: PeerLimits;
  readonly log: Logger;
  readonly to: bigint;
  readonly lane: Lane;
  /** Messages were lost, or will be: never called while the caller of `send` is at work. */
  readonly onLoss: () => void;
  /** The member says that this one has been removed from the cluster. */
  readonly onRemoved: () => void;
}

/** RFC 6455, 7.4.1. */
const GOING_AWAY = 1001;

export class PeerLink {
  sentMessages = 0;
  sentBytes = 0;
  /** Messages given up before they reached a socket. */
  dropped = 0;
  /** Dials that led to no connection. */
  dialsFailed = 0;
  /** Connections that were open and were lost. */
  disconnects = 0;
  /** Of the last ping that was answered; 0 before. */
  roundTripMs = 0;

  readonly #options: LinkOptions;
  readonly #queue: OutgoingQueue;
  readonly #fields: { member: string; lane: Lane };
  #urls: readonly string[];
  /** Counts on when a URL was of no use. */
  #turn = 0;
  /** Of the dial under way or the open connection. */
  #url = '';
  /** Dials in a row without a connection that was of use. */
  #failures = 0;
  #reportedFailure = '';
  #redial: NodeJS.Timeout | undefined;
  #cancelDial: (() => void) | undefined;
  #socket: WebSocket | undefined;
  #openedMs = 0;
  /** Bytes of frames that the system has not taken yet. */
  #unwritten = 0;
  #flushDue = false;
  #linger: NodeJS.Timeout | undefined;
  #lossDue = false;
  #pingedMs: number | undefined;
  #intervalsUnanswered = 0;
  #closing: Promise<void> | undefined;

  constructor(options: LinkOptions, urls: readonly string[]) {
    this.#options = options;
    this.#queue = new OutgoingQueue(options.limits);
    this.#fields = { member: hexId(options.to), lane: options.lane };
    this.#urls = urls;
    this.#dial();
  }

  /** Since when the connection is open, on the clock of `performance.now()`; `undefined` when it is not. */
  get openSinceMs(): number | undefined {
    return this.#socket === undefined ? undefined : this.#openedMs;
  }

  /** Messages and bytes waiting. */
  get waiting(): { messages: number; bytes: number } {
    return { messages: this.#queue.length, bytes: this.#queue.bytes };
  }

  /** Takes a message (peer-frame.ts). */
  send(item: Uint8Array, urgent: boolean, pace: Pace = 'soon'): void {
    if (this.#closing !== undefined) return;
    const { limits } = this.#options;
    if (item.length > limits.messageBytesMax) {
      this.#options.log.error({ ...this.#fields, bytes: item.length }, 'a message is too long to be sent');
      this.#lose(1);
    } else if (urgent && item.length <= limits.urgentMessageBytesMax) {
      if (!this.#queue.pushUrgent(item)) this.dropped++;
    } else if (this.#socket === undefined || !this.#queue.push(item)) this.#lose(1);
    if (pace === 'now') this.#write();
    else if (pace === 'linger') this.#linger ??= setTimeout(() => this.#lingered(), limits.lingerMs);
    else this.#flushSoon();
  }

  /** Other URLs of the same member. A connection to one that it still has stays. */
  setUrls(urls: readonly string[]): void {
    if (urls.join() === this.#urls.join()) return;
    this.#urls = urls;
    this.#turn = 0;
    this.#failures = 0;
    const idle = this.#socket === undefined && this.#cancelDial === undefined;
    if (!idle && urls.includes(this.#url)) return;
    // Its 'close' dials again.
    if (this.#socket !== undefined) this.#socket.terminate();
    else this.#dial();
  }

  /** To be called every `pingIntervalMs`. Counts calls, not time: that this process stood still says nothing of the other. */
  tick(nowMs: number): void {
    const socket = this.#socket;
    if (socket === undefined || this.#closing !== undefined) return;
    const { lane, limits } = this.#options;
    const { pingsUnansweredMax, bulkPingsUnansweredMax } = limits;
    if (this.#intervalsUnanswered >= (lane === 'bulk' ? bulkPingsUnansweredMax : pingsUnansweredMax)) {
      this.#options.log.warn({ ...this.#fields, url: this.#url }, 'a member does not answer: cutting the connection');
      socket.terminate();
      return;
    }
    this.#intervalsUnanswered++;
    if (this.#pingedMs === undefined) {
      this.#pingedMs = nowMs;
      socket.ping();
    }
  }

  /** Sends what the connection takes at once, and ends it in order; cuts it after `closeGraceMs`. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearTimeout(this.#redial);
    clearTimeout(this.#linger);
    this.#cancelDial?.();
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#write();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const timer = setTimeout(() => socket.terminate(), this.#options.limits.closeGraceMs);
    socket.close(GOING_AWAY, 'going away');
    await closed;
    clearTimeout(timer);
  }

  #dial(): void {
    clearTimeout(this.#redial);
    this.#cancelDial?.();
    this.#url = this.#urls[this.#turn % this.#urls.length] ?? '';
    const { identity, tls, limits, lane, to } = this.#options;
    this.#cancelDial = dial({ url: this.#url, lane, to }, identity, tls, limits, (result) => {
      this.#cancelDial = undefined;
      if (result instanceof WebSocket) this.#opened(result);
      else this.#failed(result);
    });
  }

  #failed(failure: DialFailure): void {
    const { lane, log, onRemoved } = this.#options;
    this.dialsFailed++;
    // The same sentence every second helps nobody; and of two lanes one tells enough.
    const level = failure.text === this.#reportedFailure || lane === 'bulk' ? 'debug' : 'warn';
    this.#reportedFailure = failure.text;
    log[level]({ ...this.#fields, url: this.#url, reason: failure.text }, 'cannot reach a member');
    const waited = this.#queue.clear();
    if (waited > 0) this.#lose(waited);
    this.#redialLater(false);
    if (failure.removed) onRemoved();
  }

  #opened(socket: WebSocket): void {
    this.#socket = socket;
    this.#openedMs = performance.now();
    this.#unwritten = 0;
    this.#intervalsUnanswered = 0;
    this.#pingedMs = undefined;
    this.#reportedFailure = '';
    socket.on('pong', () => {
      this.#intervalsUnanswered = 0;
      if (this.#pingedMs !== undefined) this.roundTripMs = performance.now() - this.#pingedMs;
      this.#pingedMs = undefined;
    });
    socket.on('message', () => socket.terminate());
    socket.once('close', (code, reason) => this.#closed(code, reason.toString()));
    this.#options.log[this.#options.lane === 'bulk' ? 'debug' : 'info'](
      { ...this.#fields, url: this.#url },
      'connected to a member',
    );
    this.#write();
  }

  #closed(code: number, reason: string): void {
    this.#socket = undefined;
    if (this.#closing !== undefined) return;
    this.disconnects++;
    const { lane, limits, log } = this.#options;
    log[lane === 'bulk' ? 'debug' : 'warn']({ ...this.#fields, code, reason }, 'lost the connection to a member');
    this.#lose(this.#queue.clearBacklog());
    this.#redialLater(performance.now() - this.#openedMs >= limits.stableMs);
  }

  /** `useful`: the last dial led to a connection that held for a while. */
  #redialLater(useful: boolean): void {
    const { redialMinMs, redialMaxMs } = this.#options.limits;
    if (useful) this.#failures = 0;
    else {
      this.#failures++;
      this.#turn++;
    }
    const rounds = Math.ceil(this.#failures / Math.max(1, this.#urls.length)) - 1;
    const longest = Math.min(redialMaxMs, redialMinMs * 2 ** Math.max(0, rounds));
    this.#redial = setTimeout(() => this.#dial(), longest * (0.5 + Math.random() / 2));
  }

  #lose(messages: number): void {
    this.dropped += messages;
    this.#lossDue = true;
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#flushDue) return;
    this.#flushDue = true;
    queueMicrotask(() => {
      this.#flushDue = false;
      this.#write();
      if (!this.#lossDue || this.#closing !== undefined) return;
      this.#lossDue = false;
      this.#options.onLoss();
    });
  }

  #lingered(): void {
    this.#linger = undefined;
    this.#write();
  }

  /** The socket gets no more than it can pass on soon, so that an urgent message is never far from the front. */
  #write(): void {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return;
    while (this.#unwritten < this.#options.limits.writeHighWaterBytes) {
      const frame = this.#queue.takeFrame();
      if (frame === undefined) return;
      const { length } = frame.bytes;
      this.#unwritten += length;
      this.sentMessages += frame.messages;
      this.sentBytes += length;
      socket.send(frame.bytes, (error) => {
        if (socket === this.#socket && !error) this.#written(length);
      });
    }
  }

  #written(bytes: number): void {
    // While the system's buffers are full they move only because the other side reads: as good as a pong, which may
    // itself be waiting behind this much data.
    if (this.#unwritten >= this.#options.limits.writeHighWaterBytes) this.#intervalsUnanswered = 0;
    this.#unwritten -= bytes;
    this.#write();
  }
}
