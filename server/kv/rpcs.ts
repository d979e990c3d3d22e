/** The RPCs that this door is made of, with everything that stands before them, as promises. */
import { RosterError } from '../../core/errors.ts';
import { assert } from '../../core/util/assert.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import type { CallContext, Method, StreamMethod, UnaryMethod } from '../rpc/service.ts';

export class Rpcs {
  readonly #methods: ReadonlyMap<string, Method>;

  constructor(methods: readonly Method[]) {
    this.#methods = new Map(methods.map((method) => [method.path, method]));
  }

  range(call: CallContext, request: Partial<m.RangeRequest>): Promise<m.RangeResponse> {
    return this.#unary('/etcdserverpb.KV/Range', call, { ...defaults(m.RangeRequest), ...request });
  }

  put(call: CallContext, request: m.PutRequest): Promise<m.PutResponse> {
    return this.#unary('/etcdserverpb.KV/Put', call, request);
  }

  deleteRange(call: CallContext, request: m.DeleteRangeRequest): Promise<m.DeleteRangeResponse> {
    return this.#unary('/etcdserverpb.KV/DeleteRange', call, request);
  }

  txn(call: CallContext, request: m.TxnRequest): Promise<m.TxnResponse> {
    return this.#unary('/etcdserverpb.KV/Txn', call, request);
  }

  grant(call: CallContext, request: m.LeaseGrantRequest): Promise<m.LeaseGrantResponse> {
    return this.#unary('/etcdserverpb.Lease/LeaseGrant', call, request);
  }

  revoke(call: CallContext, ID: bigint): Promise<m.LeaseRevokeResponse> {
    return this.#unary('/etcdserverpb.Lease/LeaseRevoke', call, { ID });
  }

  async login(call: CallContext, name: string, password: string): Promise<string> {
    const path = '/etcdserverpb.Auth/Authenticate';
    const { token } = await this.#unary<m.AuthenticateResponse>(path, call, { name, password });
    return token;
  }

  get rangeStream(): StreamMethod<m.RangeRequest, m.RangeStreamResponse> {
    return this.#stream('/etcdserverpb.KV/RangeStream');
  }

  get watch(): StreamMethod<m.WatchRequest, m.WatchResponse> {
    return this.#stream('/etcdserverpb.Watch/Watch');
  }

  /** Rejects with the RosterError that it was refused with. */
  #unary<Res extends object>(path: string, call: CallContext, request: object): Promise<Res> {
    const method = this.#methods.get(path);
    assert(method?.kind === 'unary', `there is a method ${path}`);
    return new Promise((resolve, reject) => {
      (method as UnaryMethod).handle(call, request, (result) => {
        if (result instanceof RosterError) reject(result);
        else resolve(result as Res);
      });
    });
  }

  #stream<Req extends object, Res extends object>(path: string): StreamMethod<Req, Res> {
    const method = this.#methods.get(path);
    assert(method?.kind === 'stream', `there is a stream ${path}`);
    return method;
  }
}
