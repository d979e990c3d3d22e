/**
 * What holds for every RPC, whatever it does: a learner answers hardly any; a client that demands a leader (metadata
 * `hasleader: true`) is refused while there is none, and its open streams end when there has been none for a while; one
 * that says what it is must say so in UTF-8; while auth is on, nobody gets what access-table.ts does not give him. The one
 * place for this; knows methods by path only.
 */
import { RosterError, rosterError } from '../../core/errors.ts';
import { assert } from '../../core/util/assert.ts';
import { fromByteString, utf8ToText } from '../../core/util/bytes.ts';
import type { RangeRequest } from '../../core/wire/messages.ts';
import { ACCESS, type Rule } from './access-table.ts';
import { CallAdmission } from './admission.ts';
import { Between } from './between.ts';
import { CheckedStream } from './checked-stream.ts';
import type { RpcContext } from './context.ts';
import type {
  Admission,
  CallContext,
  CheckDone,
  Method,
  Responder,
  StreamHandler,
  StreamMethod,
  UnaryDone,
  UnaryMethod,
} from './service.ts';

/** Election timeouts without a leader after which streams that demand one end (etcd: maxNoLeaderCnt). */
export const LEADERLESS_ELECTIONS_MAX = 3;
/** Unless {@link RpcLimits} says otherwise: etcd's. */
const ELECTION_MS = 1000;

/** What a client says it is (etcd's clients: their version). It is counted, whatever it says. */
export const CLIENT_API_VERSION = 'client-api-version';

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
    const rule = ruleOf(method);
    const forLearners = FOR_LEARNERS.includes(method.path);
    const isRange = method.path === RANGE;
    return {
      ...method,
      handle: (call, request, done) => {
        const forLearner = forLearners || (isRange && (request as RangeRequest).serializable);
        const refusal = this.#refusal(call, forLearner);
        if (refusal !== undefined) done(refusal);
        else if (rule.when === 'never' || !this.#context.machine.auth.enabled) method.handle(call, request, done);
        else this.#admit(method, rule, call, request, done);
      },
    };
  }

  /** While auth is on. */
  #admit(method: UnaryMethod, rule: Rule, call: CallContext, request: object, done: UnaryDone<object>): void {
    const admission = new CallAdmission(this.#context, call, rule);
    call.admission = admission;
    const answer: UnaryDone<object> = (result) => {
      if (result instanceof RosterError) return done(result);
      assert(admission.decided, `${method.path} answered somebody of whom nobody had asked whether he may`);
      admission.checkAnswer(result, (refusal) => done(refusal ?? result));
    };
    if (rule.when === 'handler') method.handle(call, request, answer);
    else {
      this.#check(rule, admission, request, (refusal) => {
        if (refusal === undefined) method.handle(call, request, answer);
        else done(refusal);
      });
    }
  }

  #check({ when }: Rule, admission: Admission, request: object, done: CheckDone): void {
    if (when === 'local') admission.check(request, done);
    else if (when === 'confirmed') admission.checkConfirmed(request, done);
    else {
      this.#context.node.linearizableRead((error) =>
        error === undefined ? admission.check(request, done) : done(error),
      );
    }
  }

  stream(method: StreamMethod): StreamMethod {
    const rule = ruleOf(method);
    const forLearners = FOR_LEARNERS.includes(method.path);
    return {
      ...method,
      open: (call, responder) => {
        const refusal = this.#refusal(call, forLearners);
        if (refusal !== undefined) {
          responder.end(refusal);
          return DEAF;
        }
        if (!demandsLeader(call)) return this.#open(method, rule, call, responder);
        const stream = new LedStream(responder, this.#leaderWatch);
        return stream.begin(this.#open(method, rule, call, stream));
      },
    };
  }

  /** Auth may be turned on while the stream is open: each message is looked at in any case. */
  #open(method: StreamMethod, rule: Rule, call: CallContext, responder: Responder<object>): StreamHandler<object> {
    if (rule.when === 'never') return method.open(call, responder);
    const admission = new CallAdmission(this.#context, call, rule);
    call.admission = admission;
    if (rule.when === 'handler') return method.open(call, responder);
    const { auth } = this.#context.machine;
    const stream = new CheckedStream(responder, (request, done) => {
      if (auth.enabled) this.#check(rule, admission, request, done);
      else done(undefined);
    });
    return stream.begin(method.open(call, stream));
  }

  #refusal(call: CallContext, forLearner: boolean): RosterError | undefined {
    if (!forLearner && this.#context.isLearner()) return rosterError('NotSupportedForLearner');
    if (!isUtf8Text(call.metadata(CLIENT_API_VERSION))) return rosterError('InvalidClientAPIVersion');
    if (demandsLeader(call) && !hasLeader(this.#context)) return rosterError('NoLeader');
    return undefined;
  }
}

function ruleOf({ path }: Method): Rule {
  const rule = ACCESS.get(path);
  assert(rule !== undefined, `${path} is not in the table that says what it needs (access-table.ts)`);
  return rule;
}

const DEAF: StreamHandler<object> = { message: () => {}, halfClose: () => {}, cancel: () => {} };

/** Headers are bytes, each a character here. */
function isUtf8Text(text: string | undefined): boolean {
  return text === undefined || /^[ -~]*$/.test(text) || utf8ToText(fromByteString(text)) !== undefined;
}

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

/** A stream that demands a leader, and ends when it is lost. */
class LedStream extends Between {
  readonly #watch: LeaderWatch;

  constructor(responder: Responder<object>, watch: LeaderWatch) {
    super(responder);
    this.#watch = watch;
  }

  override begin(handler: StreamHandler<object>): this {
    super.begin(handler);
    if (!this.over) this.#watch.add(this);
    return this;
  }

  leaderLost(): void {
    this.refuse(rosterError('NoLeader'));
  }

  protected override finished(): void {
    this.#watch.delete(this);
  }
}
