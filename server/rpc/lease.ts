/** etcdserverpb.Lease: grants and revocations are replicated; renewals and remaining times are the leader's to tell. */
import { randomBytes } from 'node:crypto';
import { RosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { afterReadIndex, completed, header, proposed, type RpcContext } from './context.ts';
import { type CallContext, type Method, type Responder, type StreamMethod, type UnaryDone, unary } from './service.ts';

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

function grant(context: RpcContext): Method {
  const propose = (
    call: CallContext,
    request: m.LeaseGrantRequest,
    triesLeft: number,
    done: UnaryDone<m.LeaseGrantResponse>,
  ) => {
    // The id is chosen before the request is replicated, so that every replica grants the same one.
    const chosen = request.ID !== 0n ? request : { ...request, ID: randomLeaseId() };
    proposed<m.LeaseGrantResponse>(context, call, { lease_grant: chosen }, (result) => {
      const taken = result instanceof RosterError && result.code === 'LeaseExist' && request.ID === 0n;
      if (taken && triesLeft > 1) propose(call, request, triesLeft - 1, done);
      else done(result);
    });
  };
  return unary('/etcdserverpb.Lease/LeaseGrant', m.LeaseGrantRequest, m.LeaseGrantResponse, (call, request, done) =>
    propose(call, request, GRANT_TRIES_MAX, done),
  );
}

function revoke(context: RpcContext): Method {
  return unary('/etcdserverpb.Lease/LeaseRevoke', m.LeaseRevokeRequest, m.LeaseRevokeResponse, (call, request, done) =>
    proposed(context, call, { lease_revoke: request }, done),
  );
}

/** The header is as before the renewal, as with etcd. TTL 0: there is no such lease, or its time is up. */
function renew(context: RpcContext, ID: bigint, done: UnaryDone<m.LeaseKeepAliveResponse>): void {
  const before = header(context, context.machine.store.revision);
  context.node.renewLease(ID, (result) =>
    done(result instanceof RosterError ? result : { header: before, ID, TTL: result }),
  );
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
export class OrderedAnswers<Res extends object> {
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

function timeToLive(context: RpcContext): Method {
  const path = '/etcdserverpb.Lease/LeaseTimeToLive';
  return unary(path, m.LeaseTimeToLiveRequest, m.LeaseTimeToLiveResponse, (_call, { ID, keys }, done) =>
    context.node.leaseTimeToLive(ID, keys, (result) => done(completed(context, result))),
  );
}

function leases(context: RpcContext): Method {
  const { machine } = context;
  const read = (): m.LeaseLeasesResponse => ({
    header: header(context, machine.store.revision),
    leases: machine.lessor.list().map((ID) => ({ ID })),
  });
  return unary('/etcdserverpb.Lease/LeaseLeases', m.LeaseLeasesRequest, m.LeaseLeasesResponse, (call, request, done) =>
    afterReadIndex(context, call, request, false, read, done),
  );
}
