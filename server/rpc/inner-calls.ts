/**
 * Calls that the server makes of its own methods on behalf of a caller: with the caller's metadata, so that whatever is
 * refused to the caller is refused here, and through whatever stands before those methods. Owns the watches of a wait.
 */
import { GrpcStatus, otherError, RosterError, rosterError } from '../../core/errors.ts';
import { assert } from '../../core/util/assert.ts';
import type { ByteString } from '../../core/util/bytes.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import type { CallContext, Method, Responder, StreamHandler, StreamMethod, UnaryDone, UnaryMethod } from './service.ts';

const WATCH = '/etcdserverpb.Watch/Watch';

/** The methods that others are made of, with all that stands before them. */
export class InnerMethods {
  readonly #unary = new Map<string, UnaryMethod>();
  readonly watch: StreamMethod<m.WatchRequest, m.WatchResponse>;
  /** Callers whose calls are under way. */
  readonly callers = new Set<InnerCalls>();
  readonly #stopping: AbortSignal | undefined;

  /** `stopping` fires when the server stops: waits end then. */
  constructor(methods: readonly Method[], stopping: AbortSignal | undefined) {
    for (const method of methods) if (method.kind === 'unary') this.#unary.set(method.path, method);
    const watch = methods.find(({ path }) => path === WATCH);
    assert(watch?.kind === 'stream', 'there is a Watch');
    this.watch = watch;
    this.#stopping = stopping;
    stopping?.addEventListener('abort', () => {
      for (const calls of [...this.callers]) calls.end(rosterError('Stopped'));
    });
  }

  get stopped(): boolean {
    return this.#stopping?.aborted === true;
  }

  unary(path: string): UnaryMethod {
    const method = this.#unary.get(path);
    assert(method !== undefined, `there is a method ${path}`);
    return method;
  }
}

/** The calls of one caller. */
export class InnerCalls {
  readonly #methods: InnerMethods;
  readonly #call: CallContext;
  readonly #ended = new AbortController();
  /** Whoever began to wait is told why it ended. */
  #reason: RosterError = rosterError('Canceled');

  constructor(methods: InnerMethods, call: CallContext) {
    this.#methods = methods;
    // What has to be undone once the caller has gone must still be possible.
    const { remote, commonName } = call;
    const base = { metadata: (name: string) => call.metadata(name), cancelled: false, onCancel: () => {} };
    this.#call = { ...base, remote, commonName };
    call.onCancel(() => this.end(rosterError('Canceled')));
    if (methods.stopped) this.end(rosterError('Stopped'));
    else if (!call.cancelled) methods.callers.add(this);
  }

  /** Waits under way reject with `reason`, and so do later ones. To be called at the end of the call, for whatever reason. */
  end(reason: RosterError = rosterError('Canceled')): void {
    if (this.#ended.signal.aborted) return;
    this.#reason = reason;
    this.#methods.callers.delete(this);
    this.#ended.abort();
  }

  /** Throws why when the caller has gone. */
  check(): void {
    if (this.#ended.signal.aborted) throw this.#reason;
  }

  txn(request: Partial<m.TxnRequest>): Promise<m.TxnResponse> {
    return this.#unary('/etcdserverpb.KV/Txn', { ...defaults(m.TxnRequest), ...request });
  }

  range(request: Partial<m.RangeRequest>): Promise<m.RangeResponse> {
    return this.#unary('/etcdserverpb.KV/Range', { ...defaults(m.RangeRequest), ...request });
  }

  deleteKey(key: ByteString): Promise<m.DeleteRangeResponse> {
    return this.#unary('/etcdserverpb.KV/DeleteRange', { ...defaults(m.DeleteRangeRequest), key });
  }

  grant(TTL: bigint): Promise<m.LeaseGrantResponse> {
    return this.#unary('/etcdserverpb.Lease/LeaseGrant', { ID: 0n, TTL });
  }

  revoke(ID: bigint): Promise<m.LeaseRevokeResponse> {
    return this.#unary('/etcdserverpb.Lease/LeaseRevoke', { ID });
  }

  /** A watch, to be closed. */
  watch(create: Partial<m.WatchCreateRequest>): InnerWatch {
    const request = { ...defaults(m.WatchCreateRequest), ...create };
    return new InnerWatch(this.#methods.watch, this.#call, request, this.#ended.signal, () => this.#reason);
  }

  #unary<Res extends object>(path: string, request: object): Promise<Res> {
    return new Promise((resolve, reject) => {
      this.#methods.unary(path).handle(this.#call, request, (result) => {
        if (result instanceof RosterError) reject(result);
        else resolve(result as Res);
      });
    });
  }
}

/** The events of one watch, taken one answer at a time: while one waits to be taken, the store holds back the rest. */
export class InnerWatch implements Responder<m.WatchResponse> {
  onDrain: (() => void) | undefined;
  readonly #handler: StreamHandler<m.WatchRequest>;
  readonly #signal: AbortSignal;
  readonly #reason: () => RosterError;
  readonly #answers: m.WatchResponse[] = [];
  readonly #abort = () => this.#end(this.#reason());
  #ended: RosterError | undefined;
  #wake: (() => void) | undefined;
  #over = false;

  constructor(
    method: StreamMethod<m.WatchRequest, m.WatchResponse>,
    call: CallContext,
    request: m.WatchCreateRequest,
    signal: AbortSignal,
    reason: () => RosterError,
  ) {
    this.#signal = signal;
    this.#reason = reason;
    this.#handler = method.open(call, this);
    if (signal.aborted) this.#abort();
    else {
      signal.addEventListener('abort', this.#abort, { once: true });
      if (this.#ended === undefined) this.#handler.message({ create_request: request });
    }
  }

  /**
   * The next events; none when a compaction has taken away what was to be watched. Rejects when the watch was refused, or
   * the wait is over.
   */
  async next(): Promise<m.WatchResponse> {
    for (;;) {
      const answer = this.#answers.shift();
      if (answer === undefined) {
        if (this.#ended !== undefined) throw this.#ended;
        this.onDrain?.();
        if (this.#answers.length === 0 && this.#ended === undefined) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      } else if (answer.canceled && answer.compact_revision === 0) {
        throw otherError(GrpcStatus.UNKNOWN, answer.cancel_reason);
      } else if (answer.canceled || answer.events.length > 0) return answer;
    }
  }

  close(): void {
    this.#signal.removeEventListener('abort', this.#abort);
    if (this.#over) return;
    this.#over = true;
    this.#handler.cancel();
  }

  // ---- for the method

  send(response: m.WatchResponse): boolean {
    if (this.#over) return true;
    this.#answers.push(response);
    this.#wakeUp();
    return false;
  }

  end(error: RosterError = rosterError('Stopped')): void {
    this.#over = true;
    this.#end(error);
  }

  #end(error: RosterError): void {
    this.#ended ??= error;
    this.#wakeUp();
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

/**
 * Answers with what `work` comes to. etcd runs these services as clients of itself and hands on what they meet as plain
 * errors: whatever it was, its text travels with the status UNKNOWN.
 */
export function answerWith<Res extends object>(work: Promise<Res>, done: UnaryDone<Res>): void {
  const run = async () => done(await work.catch(asPlain));
  void run();
}

/** See {@link answerWith}. Throws what is no operational error. */
export function asPlain(error: unknown): RosterError {
  if (!(error instanceof RosterError)) throw error;
  if (error.code === 'Canceled' || error.code === 'Stopped') return error;
  return otherError(GrpcStatus.UNKNOWN, error.message, { cause: error });
}
