/**
 * Keepalive both ways: whether the client's pings are too many (grpc-go's enforcement policy), and when the server itself
 * has to ask whether the client is still there. Decides; sends nothing.
 */
import type { Http2Limits } from './limits.ts';

/** Pings too soon that are let pass; one more closes the connection. */
const STRIKES_MAX = 2;

export class Keepalive {
  readonly #limits: Http2Limits;
  #strikes = 0;
  #lastPingMs = Number.NEGATIVE_INFINITY;
  #heardMs: number;
  #askedMs: number | undefined;

  constructor(limits: Http2Limits, nowMs: number) {
    this.#limits = limits;
    this.#heardMs = nowMs;
  }

  /** A ping of the client. False: there have been too many. `replied`: we sent HEADERS or DATA since the last one. */
  ping(nowMs: number, replied: boolean, streams: number): boolean {
    const sinceMs = nowMs - this.#lastPingMs;
    this.#lastPingMs = nowMs;
    if (replied) {
      this.#strikes = 0;
      return true;
    }
    if (sinceMs < (streams > 0 ? this.#limits.keepaliveMinTimeMs : this.#limits.keepaliveIdleMinTimeMs))
      this.#strikes++;
    return this.#strikes <= STRIKES_MAX;
  }

  /** Something came from the client by `nowMs`. */
  heard(nowMs: number): void {
    this.#heardMs = nowMs;
    this.#askedMs = undefined;
  }

  /** What the silence so far calls for. `ask` is said once per silence. */
  check(nowMs: number): 'nothing' | 'ask' | 'give up' {
    if (this.#askedMs !== undefined) {
      return nowMs - this.#askedMs >= this.#limits.keepaliveTimeoutMs ? 'give up' : 'nothing';
    }
    if (nowMs - this.#heardMs < this.#limits.keepaliveTimeMs) return 'nothing';
    this.#askedMs = nowMs;
    return 'ask';
  }
}
