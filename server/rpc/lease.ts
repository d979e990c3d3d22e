/** etcdserverpb.Lease: grants and revocations are replicated; renewals are answered by the leader's clock alone. */
import { randomBytes } from 'node:crypto';
import { RosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { completed, header, type RpcContext } from './context.ts';
import type { Method, Responder, StreamMethod, UnaryDone, UnaryMethod } from './service.ts';

/** Chances that the server's own random ids collide this often in a row are nil; then something else is wrong. */
const GRANT_TRIES_MAX = 8;

export function leaseMethods(context: RpcContext): Method[] {
  return [grant(context), revoke(context), keepAlive(context), timeToLive(context), leases(context)];
}

/** A positive 63-bit id. */
function randomLeaseId(): bigint {
  const id = randomBytes(8).readBigUInt64BE() & 0x7fff_ffff_ffff_ffffn;
  return id === 0n ? 1n : id;
}

function grant(context: RpcContext): UnaryMethod<m.LeaseGrantRequest, m.LeaseGrantResponse> {
  const propose = (request: m.LeaseGrantRequest, triesLeft: number, done: UnaryDone<m.LeaseGrantResponse>) => {
    // The id is chosen before the request is replicated, so that every replica grants the same one.
    const chosen = request.ID !== 0n ? request : { ...request, ID: randomLeaseId() };
    context.node.propose({ lease_grant: chosen }, (result) => {
      const taken = result instanceof RosterError && result.code === 'LeaseExist' && request.ID === 0n;
      if (taken && triesLeft > 1) propose(request, triesLeft - 1, done);
      else done(completed(context, result as m.LeaseGrantResponse));
    });
  };
  return {
    kind: 'unary',
    path: '/etcdserverpb.Lease/LeaseGrant',
    request: m.LeaseGrantRequest,
    response: m.LeaseGrantResponse,
    handle: (_call, request, done) => propose(request, GRANT_TRIES_MAX, done),
  };
}

function revoke(context: RpcContext): UnaryMethod<m.LeaseRevokeRequest, m.LeaseRevokeResponse> {
  return {
    kind: 'unary',
    path: '/etcdserverpb.Lease/LeaseRevoke',
    request: m.LeaseRevokeRequest,
    response: m.LeaseRevokeResponse,
    handle(_call, request, done) {
      context.node.propose({ lease_revoke: request }, (result) =>
        done(completed(context, result as m.LeaseRevokeResponse)),
      );
    },
  };
}

/** Renewals wait for the read index: a node that no longer leads must not prolong what its successor may expire. */
function renew(context: RpcContext, id: bigint, done: UnaryDone<m.LeaseKeepAliveResponse>): void {
  context.node.linearizableRead((error) => {
    if (error !== undefined) return done(error);
    const answer = { header: header(context, context.machine.store.revision), ID: id, TTL: 0 };
    answer.TTL = context.machine.lessor.renew(id) ?? 0;
    done(answer);
  });
}

function keepAlive(context: RpcContext): StreamMethod<m.LeaseKeepAliveRequest, m.LeaseKeepAliveResponse> {
  return {
    kind: 'stream',
    path: '/etcdserverpb.Lease/LeaseKeepAlive',
    request: m.LeaseKeepAliveRequest,
    response: m.LeaseKeepAliveResponse,
    open(_call, responder) {
      const answers = new OrderedAnswers(responder);
      return {
        message: (request) => renew(context, request.ID, answers.next()),
        halfClose: () => answers.finish(),
        cancel: () => answers.drop(),
      };
    },
  };
}

/** Sends answers in the order of their requests, whatever order they come in. */
class OrderedAnswers<Res extends object> {
  readonly #responder: Responder<Res>;
  #waiting: { answer: Res | RosterError | undefined }[] = [];
  #finishing = false;
  #over = false;

  constructor(responder: Responder<Res>) {
    this.#responder = responder;
  }

  /** The place for the next answer. */
  next(): UnaryDone<Res> {
    const place: { answer: Res | RosterError | undefined } = { answer: undefined };
    this.#waiting.push(place);
    return (answer) => {
      place.answer = answer;
      this.#flush();
    };
  }

  finish(): void {
    this.#finishing = true;
    this.#flush();
  }

  drop(): void {
    this.#over = true;
    this.#waiting = [];
  }

  #flush(): void {
    while (!this.#over && this.#waiting.length > 0) {
      const { answer } = this.#waiting[0]!;
      if (answer === undefined) return;
      this.#waiting.shift();
      if (answer instanceof RosterError) this.#end(answer);
      else this.#responder.send(answer);
    }
    if (this.#finishing && !this.#over) this.#end();
  }

  #end(error?: RosterError): void {
    this.#over = true;
    this.#responder.end(error);
  }
}

function timeToLive(context: RpcContext): UnaryMethod<m.LeaseTimeToLiveRequest, m.LeaseTimeToLiveResponse> {
  return {
    kind: 'unary',
    path: '/etcdserverpb.Lease/LeaseTimeToLive',
    request: m.LeaseTimeToLiveRequest,
    response: m.LeaseTimeToLiveResponse,
    handle(_call, request, done) {
      context.node.linearizableRead((error) => {
        if (error !== undefined) return done(error);
        const found = context.machine.lessor.timeToLive(request.ID);
        done({
          header: header(context, context.machine.store.revision),
          ID: request.ID,
          TTL: found?.remainingSeconds ?? -1,
          grantedTTL: found?.ttlSeconds ?? 0,
          keys: found !== undefined && request.keys ? found.keys() : [],
        });
      });
    },
  };
}

function leases(context: RpcContext): UnaryMethod<m.LeaseLeasesRequest, m.LeaseLeasesResponse> {
  return {
    kind: 'unary',
    path: '/etcdserverpb.Lease/LeaseLeases',
    request: m.LeaseLeasesRequest,
    response: m.LeaseLeasesResponse,
    handle(_call, _request, done) {
      context.node.linearizableRead((error) => {
        if (error !== undefined) return done(error);
        done({
          header: header(context, context.machine.store.revision),
          leases: context.machine.lessor.list().map((ID) => ({ ID })),
        });
      });
    },
  };
}
