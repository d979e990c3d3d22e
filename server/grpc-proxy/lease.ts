/**
 * etcdserverpb.Lease through the proxy: keep-alives of all callers with the same token go over one stream to the store, and
 * whoever renews a lease that is being renewed shares the answer. No answer is ever given from memory.
 */
import type { LastingStream } from '../../client/lasting-stream.ts';
import { methods } from '../../client/methods.ts';
import { GrpcStatus, type RosterError } from '../../core/errors.ts';
import type * as m from '../../core/wire/messages.ts';
import { OrderedAnswers } from '../rpc/lease.ts';
import { type CallContext, type Method, type Responder, type UnaryDone, unary } from '../rpc/service.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { type Caller, callerOf, settle, tooMany } from './caller.ts';
import { callFor } from './forward.ts';
import type { Namespace } from './namespace.ts';

/** Renewals that callers with the same token wait for at once. */
export const RENEWALS_MAX = 100_000;
/** A renewal that the store has not answered for so long fails. */
const RENEWAL_PATIENCE_MS = 5000;

export interface LeaseCounts {
  /** Renewals asked for by clients, and those that were sent to the store. */
  asked: number;
  sent: number;
}

export interface LeaseWorld {
  readonly upstream: Upstream;
  readonly namespace: Namespace;
  readonly leases: LeaseCounts;
}

export function leaseMethods(world: LeaseWorld): Method[] {
  const { upstream, namespace } = world;
  const keepers = new Map<string, Renewals>();
  const { leaseKeepAlive, leaseTimeToLive } = methods;
  return [
    unary(leaseTimeToLive.path, leaseTimeToLive.request, leaseTimeToLive.response, (call, request, done) =>
      settle(
        callFor(upstream, leaseTimeToLive, call, request).then((response) => namespace.leaseAnswer(response)),
        done,
      ),
    ),
    {
      kind: 'stream',
      path: leaseKeepAlive.path,
      request: leaseKeepAlive.request,
      response: leaseKeepAlive.response,
      open(call: CallContext, responder: Responder<m.LeaseKeepAliveResponse>) {
        const caller = callerOf(call);
        const renewals = keepers.get(caller.id) ?? new Renewals(world, caller, () => keepers.delete(caller.id));
        keepers.set(caller.id, renewals);
        renewals.calls++;
        let open = true;
        const close = () => {
          if (open) renewals.closed();
          open = false;
        };
        // Once all is answered after the client's half-close, or with an error.
        const end = (error?: RosterError) => {
          close();
          responder.end(error);
        };
        const send = (response: m.LeaseKeepAliveResponse) => responder.send(response);
        const answers = new OrderedAnswers<m.LeaseKeepAliveResponse>({ send, end, onDrain: undefined });
        return {
          message: (request: m.LeaseKeepAliveRequest) => renewals.renew(request.ID, answers.next()),
          halfClose: () => answers.finish(),
          cancel: () => {
            answers.drop();
            close();
          },
        };
      },
    },
  ];
}

interface Renewal {
  readonly waiting: UnaryDone<m.LeaseKeepAliveResponse>[];
  readonly sinceMs: number;
}

class Renewals {
  /** Streams of clients that are open. */
  calls = 0;
  readonly #world: LeaseWorld;
  readonly #stream: LastingStream<m.LeaseKeepAliveRequest, m.LeaseKeepAliveResponse>;
  readonly #onEnd: () => void;
  readonly #pending = new Map<bigint, Renewal>();
  #waiting = 0;

  constructor(world: LeaseWorld, { metadata }: Caller, onEnd: () => void) {
    this.#world = world;
    this.#onEnd = onEnd;
    const owner = {
      opened: () => {
        for (const ID of this.#pending.keys()) this.#send(ID);
      },
      message: (response: m.LeaseKeepAliveResponse) => this.#answered(response),
      broken: (error: RosterError) => this.#broken(error),
    };
    this.#stream = world.upstream.lasting(methods.leaseKeepAlive, owner, { metadata });
  }

  renew(ID: bigint, done: UnaryDone<m.LeaseKeepAliveResponse>): void {
    this.#world.leases.asked++;
    if (this.#waiting >= RENEWALS_MAX) {
      done(tooMany('renewals wait for the store', RENEWALS_MAX));
      return;
    }
    this.#waiting++;
    const pending = this.#pending.get(ID);
    if (pending !== undefined) {
      pending.waiting.push(done);
      return;
    }
    this.#pending.set(ID, { waiting: [done], sinceMs: performance.now() });
    this.#stream.start();
    this.#send(ID);
  }

  closed(): void {
    this.calls--;
    this.#endWhenIdle();
  }

  #send(ID: bigint): void {
    if (this.#stream.send({ ID })) this.#world.leases.sent++;
  }

  #answered(response: m.LeaseKeepAliveResponse): void {
    this.#settle(response.ID, response);
    this.#endWhenIdle();
  }

  /** The store's last word is for all that wait; otherwise another stream is tried for a while. */
  #broken(error: RosterError): void {
    const passing = error.status === GrpcStatus.UNAVAILABLE;
    const before = performance.now() - RENEWAL_PATIENCE_MS;
    for (const [ID, { sinceMs }] of [...this.#pending]) if (!passing || sinceMs < before) this.#settle(ID, error);
    this.#endWhenIdle();
  }

  #settle(ID: bigint, result: m.LeaseKeepAliveResponse | RosterError): void {
    const renewal = this.#pending.get(ID);
    if (renewal === undefined) return;
    this.#pending.delete(ID);
    this.#waiting -= renewal.waiting.length;
    for (const done of renewal.waiting) done(result);
  }

  #endWhenIdle(): void {
    if (this.calls > 0 || this.#pending.size > 0) return;
    this.#stream.stop();
    this.#onEnd();
  }
}
