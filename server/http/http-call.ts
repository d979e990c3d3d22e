/**
 * One RPC that came as an HTTP request: its metadata, its deadline, and when its caller has gone. What becomes metadata is
 * what grpc-gateway makes of headers; a certificate counts for nothing here. Answers nothing.
 */
import type { Context } from 'hono';
import { GrpcStatus, otherError, type RosterError } from '../../core/errors.ts';
import { parseTimeout } from '../grpc/deadlines.ts';
import type { Admission, CallContext } from '../rpc/service.ts';

/** Longest time a timer can be set for. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export class HttpCall implements CallContext {
  cancelled = false;
  admission: Admission | undefined = undefined;
  readonly remote: string;
  readonly #context: Context;
  #listeners: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(context: Context) {
    this.#context = context;
    const environment = context.env as { incoming?: { socket?: { remoteAddress?: string } } } | undefined;
    this.remote = environment?.incoming?.socket?.remoteAddress ?? '';
    const { signal } = context.req.raw;
    if (signal.aborted) this.cancelled = true;
    else signal.addEventListener('abort', () => this.cancel(), { once: true });
  }

  /** `Authorization` is forwarded as it is; everything else needs the prefix. */
  metadata(name: string): string | undefined {
    const prefixed = this.#context.req.header(`grpc-metadata-${name}`);
    return name === 'authorization' ? (this.#context.req.header(name) ?? prefixed) : prefixed;
  }

  onCancel(listener: () => void): void {
    if (this.cancelled) listener();
    else this.#listeners.push(listener);
  }

  /** Cancels the call and says why, once the time that the header `Grpc-Timeout` gives is up. Throws when it is no time. */
  limit(expired: (error: RosterError) => void): void {
    const timeout = this.#context.req.header('grpc-timeout');
    if (timeout === undefined || timeout === '') return;
    const afterMs = parseTimeout(timeout);
    if (typeof afterMs === 'string') {
      throw otherError(GrpcStatus.INVALID_ARGUMENT, `invalid grpc-timeout: ${timeout}`);
    }
    this.#timer = setTimeout(
      () => {
        expired(otherError(GrpcStatus.DEADLINE_EXCEEDED, 'context deadline exceeded'));
        this.cancel();
      },
      Math.min(Math.max(Math.ceil(afterMs), 0), TIMER_MS_MAX),
    );
    this.onCancel(() => this.over());
  }

  /** The call has been answered. */
  over(): void {
    clearTimeout(this.#timer);
    this.#listeners = [];
  }

  cancel(): void {
    if (this.cancelled) return;
    this.cancelled = true;
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener();
  }
}
