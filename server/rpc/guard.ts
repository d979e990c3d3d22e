/**
 * What holds for every RPC, whatever it does: a learner answers hardly any, and a client that demands a leader (metadata
 * `hasleader: true`) is refused while there is none; its open streams end when there has been none for a while. The one
 * place for this; knows methods by path only.
 */
import { type RosterError, rosterError } from '../../core/errors.ts';
import type { RangeRequest } from '../../core/wire/messages.ts';
import type { RpcContext } from './context.ts';
import type { CallContext, Method, Responder, StreamHandler, StreamMethod, UnaryMethod } from './service.ts';

/** Election timeouts without a leader after which streams that demand one end (etcd: maxNoLeaderCnt). */
export const LEADERLESS_ELECTIONS_MAX = 3;
/** Unless {@link RpcLimits} says otherwise: etcd's. */
const ELECTION_MS = 1000;

const RANGE = '/etcdserverpb.KV/Range';
/** A learner answers these, and serializable reads (etcd: isRPCSupportedForLearner). */
const FOR_LEARNERS = ['/etcdserverpb.Maintenance/Status', '/etcdserverpb.Maintenance/Snapshot'];

export function guarded(context: RpcContext, methods: readonly Method[]): Method[] {
  const guard = new Guard(context);
  return methods.map((method) => (method.kind === 'unary' ? guard.unary(method) : guard.stream(method)));
}

class Guard {
  readonly #context: RpcContext;
  readonly #leaderWatch: LeaderWatch;

  constructor(context: RpcContext) {
    this.#context = context;
    this.#leaderWatch = new LeaderWatch(context);
  }

  unary(method: UnaryMethod): UnaryMethod {
    const forLearners = FOR_LEARNERS.includes(method.path);
    const isRange = method.path === RANGE;
    return {
      ...method,
      handle: (call, request, done) => {
        const forLearner = forLearners || (isRange && (request as RangeRequest).serializable);
        const refusal = this.#refusal(call, forLearner);
        if (refusal === undefined) method.handle(call, request, done);
        else done(refusal);
      },
    };
  }

  stream(method: StreamMethod): StreamMethod {
    const forLearners = FOR_LEARNERS.includes(method.path);
    return {
      ...method,
      open: (call, responder) => {
        const refusal = this.#refusal(call, forLearners);
        if (refusal !== undefined) {
          responder.end(refusal);
          return DEAF;
        }
        if (!demandsLeader(call)) return method.open(call, responder);
        const stream = new LedStream(responder, this.#leaderWatch);
        return stream.begin(method.open(call, stream));
      },
    };
  }

  #refusal(call: CallContext, forLearner: boolean): RosterError | undefined {
    if (!forLearner && this.#context.isLearner()) return rosterError('NotSupportedForLearner');
    if (demandsLeader(call) && !hasLeader(this.#context)) return rosterError('NoLeader');
    return undefined;
  }
}

const DEAF: StreamHandler<object> = { message: () => {}, halfClose: () => {}, cancel: () => {} };

function demandsLeader(call: CallContext): boolean {
  return call.metadata('hasleader') === 'true';
}

function hasLeader(context: RpcContext): boolean {
  return context.node.status().leader !== 0n;
}

/** Ends the streams that demand a leader when there is none for long. Looks once per election timeout, if there are any. */
class LeaderWatch {
  readonly #context: RpcContext;
  readonly #streams = new Set<LedStream>();
  #timer: NodeJS.Timeout | undefined;
  #leaderless = 0;

  constructor(context: RpcContext) {
    this.#context = context;
  }

  add(stream: LedStream): void {
    this.#streams.add(stream);
    if (this.#timer !== undefined) return;
    this.#leaderless = 0;
    this.#timer = setInterval(() => this.#look(), this.#context.limits.electionMs ?? ELECTION_MS);
    this.#timer.unref();
  }

  delete(stream: LedStream): void {
    this.#streams.delete(stream);
    if (this.#streams.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    this.#leaderless = hasLeader(this.#context) ? 0 : this.#leaderless + 1;
    if (this.#leaderless < LEADERLESS_ELECTIONS_MAX) return;
    for (const stream of [...this.#streams]) stream.leaderLost();
  }
}

/** Stands between a stream that demands a leader and its method, so that either side and the loss of it can end the call. */
class LedStream implements Responder<object>, StreamHandler<object> {
  readonly #responder: Responder<object>;
  readonly #watch: LeaderWatch;
  #handler: StreamHandler<object> | undefined;
  #over = false;

  constructor(responder: Responder<object>, watch: LeaderWatch) {
    this.#responder = responder;
    this.#watch = watch;
  }

  /** `handler` is the method's; it may have ended the call already. */
  begin(handler: StreamHandler<object>): this {
    this.#handler = handler;
    if (!this.#over) this.#watch.add(this);
    return this;
  }

  leaderLost(): void {
    this.cancel();
    this.#responder.end(rosterError('NoLeader'));
  }

  // ---- for the method

  get onDrain(): (() => void) | undefined {
    return this.#responder.onDrain;
  }

  set onDrain(run: (() => void) | undefined) {
    this.#responder.onDrain = run;
  }

  send(response: object): boolean {
    return this.#responder.send(response);
  }

  end(error?: RosterError): void {
    this.#finish();
    this.#responder.end(error);
  }

  // ---- for the transport

  message(request: object): void {
    if (!this.#over) this.#handler?.message(request);
  }

  halfClose(): void {
    if (!this.#over) this.#handler?.halfClose();
  }

  cancel(): void {
    if (this.#over) return;
    this.#finish();
    this.#handler?.cancel();
  }

  #finish(): void {
    this.#over = true;
    this.#watch.delete(this);
  }
}
