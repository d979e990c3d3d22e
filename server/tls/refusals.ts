/**
 * The log of refused handshakes: each reason with its address once, then at most once a minute with how often it happened.
 * Holds a bounded number of both, so that strangers can fill neither memory nor disk.
 */
import type { Logger } from '../config/log.ts';

export interface Refusal {
  readonly remote: string;
  readonly reason: string;
  /** Of the certificate that was shown, if there was one. */
  readonly subject?: string;
  readonly issuer?: string;
  /** Nobody's fault: a port scan, a health check. Logged with level debug. */
  readonly harmless?: boolean;
}

/** A line for the same reason and address comes this often at most. */
export const REPEAT_INTERVAL_MS = 60_000;
/** Pairs of reason and address that are remembered; the oldest is forgotten. */
export const PAIRS_MAX = 256;
/** Lines in one interval, whatever they are about; what is beyond is counted, and told with the next line. */
export const LINES_MAX = 100;

export class RefusalLog {
  readonly #log: Logger;
  readonly #message: string;
  readonly #nowMs: () => number;
  /** By reason and address: when it was logged, and how often it happened since. */
  readonly #pairs = new Map<string, { loggedMs: number; since: number }>();
  #intervalMs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #unsaid = 0;

  constructor(log: Logger, endpoint: 'client' | 'peer', nowMs: () => number = () => performance.now()) {
    this.#log = log;
    // etcd's words.
    this.#message = `rejected connection on ${endpoint} endpoint`;
    this.#nowMs = nowMs;
  }

  add(refusal: Refusal): void {
    const { harmless = false, ...fields } = refusal;
    if (harmless) {
      this.#log.debug(fields, this.#message);
      return;
    }
    const nowMs = this.#nowMs();
    const key = `${refusal.remote} ${refusal.reason}`;
    const known = this.#pairs.get(key);
    if (known !== undefined && nowMs - known.loggedMs < REPEAT_INTERVAL_MS) {
      known.since++;
      return;
    }
    if (nowMs - this.#intervalMs >= REPEAT_INTERVAL_MS) {
      this.#intervalMs = nowMs;
      this.#lines = 0;
    }
    if (this.#lines >= LINES_MAX) {
      this.#unsaid++;
      return;
    }
    this.#lines++;
    const more = { ...(known?.since ? { 'times-before': known.since } : {}), ...this.#takeUnsaid() };
    this.#log.warn({ ...fields, ...more }, this.#message);
    this.#pairs.delete(key);
    this.#pairs.set(key, { loggedMs: nowMs, since: 0 });
    if (this.#pairs.size > PAIRS_MAX) this.#pairs.delete(this.#pairs.keys().next().value!);
  }

  #takeUnsaid(): { 'others-not-logged'?: number } {
    const unsaid = this.#unsaid;
    this.#unsaid = 0;
    return unsaid === 0 ? {} : { 'others-not-logged': unsaid };
  }
}
