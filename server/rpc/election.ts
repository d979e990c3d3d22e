/**
 * v3electionpb.Election: the leader is who made the oldest key under the name, and its value what it proclaims. Campaign is
 * answered when the caller leads; a caller that goes away while waiting withdraws.
 */
import type { RosterError } from '../../core/errors.ts';
import { bytesEqual, prefixEnd } from '../../core/util/bytes.ts';
import * as m from '../../core/wire/messages.ts';
import { awaitTurn, claimKey, getOp, madeAt, oldest, plainError, putOp, session, undo, withdraw } from './candidacy.ts';
import { answerWith, asPlain, InnerCalls, type InnerMethods } from './inner-calls.ts';
import type { CallContext, Method, Responder, StreamHandler, StreamMethod, UnaryDone } from './service.ts';
import { unary } from './service.ts';

const LEADER_MISSING = '"leader" field must be provided';
const NOT_LEADER = 'election: not leader';

export function electionMethods(inner: InnerMethods): Method[] {
  const run = <Res extends object>(
    call: CallContext,
    work: (calls: InnerCalls) => Promise<Res>,
    done: UnaryDone<Res>,
  ) => {
    const calls = new InnerCalls(inner, call);
    answerWith(
      work(calls).finally(() => calls.end()),
      done,
    );
  };
  const path = (name: string) => `/v3electionpb.Election/${name}`;
  return [
    unary(path('Campaign'), m.CampaignRequest, m.CampaignResponse, (call, request, done) =>
      run(call, (calls) => campaign(calls, request), done),
    ),
    unary(path('Proclaim'), m.ProclaimRequest, m.ProclaimResponse, (call, request, done) =>
      run(call, (calls) => proclaim(calls, request), done),
    ),
    unary(path('Leader'), m.LeaderRequest, m.LeaderResponse, (call, request, done) =>
      run(call, (calls) => leader(calls, request), done),
    ),
    observeMethod(inner, path('Observe')),
    unary(path('Resign'), m.ResignRequest, m.ResignResponse, (call, request, done) =>
      run(call, (calls) => resign(calls, request), done),
    ),
  ];
}

async function campaign(calls: InnerCalls, request: m.CampaignRequest): Promise<m.CampaignResponse> {
  const { name, value } = request;
  const { lease, own } = await session(calls, request.lease);
  const prefix = `${name}/`;
  const key = claimKey(prefix, lease);
  const revoke = () => (own ? calls.revoke(lease) : Promise.resolve());
  const made = await calls
    .txn({ compare: [madeAt(key, 0)], success: [putOp(key, value, lease)], failure: [getOp({ key })] })
    .catch(async (error: unknown) => {
      await undo(revoke);
      throw error;
    });
  const { succeeded, responses, header } = made;
  const known = responses[0]!.response_range?.kvs[0];
  const claim = { key, revision: succeeded ? header!.revision : known!.create_revision };
  const leaderKey = { name, key, rev: claim.revision, lease };
  try {
    calls.check();
    if (known !== undefined && !bytesEqual(known.value, value)) await proclaim(calls, { leader: leaderKey, value });
    if (!(await awaitTurn(calls, prefix, claim))) throw plainError(NOT_LEADER);
    calls.check();
    return { header, leader: leaderKey };
  } catch (error) {
    await undo(() => withdraw(calls, claim), revoke);
    throw error;
  }
}

async function proclaim(calls: InnerCalls, { leader: by, value }: m.ProclaimRequest): Promise<m.ProclaimResponse> {
  if (by === undefined) throw plainError(LEADER_MISSING);
  const { key, rev, lease } = by;
  const { succeeded, header } = await calls.txn({ compare: [madeAt(key, rev)], success: [putOp(key, value, lease)] });
  if (!succeeded) throw plainError(NOT_LEADER);
  return { header };
}

async function leader(calls: InnerCalls, { name }: m.LeaderRequest): Promise<m.LeaderResponse> {
  const { kvs, header } = await calls.range(oldest(`${name}/`));
  if (kvs[0] === undefined) throw plainError('election: no leader');
  return { header, kv: kvs[0] };
}

/** Who leads no more has nothing to resign from: that is success, too. */
async function resign(calls: InnerCalls, { leader: by }: m.ResignRequest): Promise<m.ResignResponse> {
  if (by === undefined) throw plainError(LEADER_MISSING);
  const { header } = await withdraw(calls, { key: by.key, revision: by.rev });
  return { header };
}

function observeMethod(inner: InnerMethods, path: string): StreamMethod<m.LeaderRequest, m.LeaderResponse> {
  return {
    kind: 'stream',
    single: true,
    path,
    request: m.LeaderRequest,
    response: m.LeaderResponse,
    open: (call, responder) => new Observation(new InnerCalls(inner, call), responder),
  };
}

/** Sends the leader, what it proclaims, and the next leader, one at a time and as fast as the client takes them. */
class Observation implements StreamHandler<m.LeaderRequest> {
  readonly #calls: InnerCalls;
  readonly #responder: Responder<m.LeaderResponse>;
  #begun = false;
  #drained: (() => void) | undefined;
  #over = false;

  constructor(calls: InnerCalls, responder: Responder<m.LeaderResponse>) {
    this.#calls = calls;
    this.#responder = responder;
    responder.onDrain = () => {
      const drained = this.#drained;
      this.#drained = undefined;
      drained?.();
    };
  }

  message({ name }: m.LeaderRequest): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#run(`${name}/`).catch((error: unknown) => {
      const reason: RosterError = asPlain(error);
      if (this.#over) return;
      this.#over = true;
      this.#calls.end();
      this.#responder.end(reason);
    });
  }

  halfClose(): void {}

  cancel(): void {
    this.#over = true;
    this.#calls.end();
    this.#drained?.();
  }

  async #run(prefix: string): Promise<void> {
    while (!this.#over) {
      const { kvs, header } = await this.#calls.range(oldest(prefix));
      const kv = kvs[0];
      if (kv === undefined) await this.#untilPut(prefix, header!.revision + 1);
      else {
        await this.#send({ header, kv });
        await this.#follow(kv.key, header!.revision + 1);
      }
    }
  }

  /** Until something may be under the prefix. */
  async #untilPut(prefix: string, start_revision: number): Promise<void> {
    const range_end = prefixEnd(prefix);
    const watch = this.#calls.watch({
      key: prefix,
      range_end,
      start_revision,
      filters: [m.FilterType.values.NODELETE],
    });
    try {
      await watch.next();
    } finally {
      watch.close();
    }
  }

  /** Sends what the leader proclaims, until it leads no more. */
  async #follow(key: string, start_revision: number): Promise<void> {
    const watch = this.#calls.watch({ key, start_revision });
    try {
      for (;;) {
        const { events, header, canceled } = await watch.next();
        for (const { type, kv } of events) {
          if (type === m.EventType.values.DELETE) return;
          await this.#send({ header: { ...header!, revision: kv!.mod_revision }, kv });
        }
        if (canceled) return;
      }
    } finally {
      watch.close();
    }
  }

  async #send(response: m.LeaderResponse): Promise<void> {
    this.#calls.check();
    if (this.#over || this.#responder.send(response)) return;
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
    });
  }
}
