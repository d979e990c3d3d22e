/**
 * The etcd v3 client: what registrator, renderer and command line ask of a store, over gRPC. Owns which call may be
 * repeated and for how long; endpoints, watches and leases each have a file of their own.
 */
import { GrpcStatus, otherError, RosterError } from '../core/errors.ts';
import type {
  AlarmMember,
  DeleteRangeRequest,
  DeleteRangeResponse,
  KeyValue,
  LeaseGrantResponse,
  LeaseKeepAliveResponse,
  LeaseLeasesResponse,
  LeaseTimeToLiveResponse,
  MemberListResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  RequestOp,
  StatusResponse,
  TxnRequest,
  TxnResponse,
} from '../core/wire/messages.ts';
import type { CallOptions, EtcdClient, KeptLease, Key, WatchItem, WatchOptions } from './api.ts';
import { type ConnectionOptions, cancelled, type Endpoint } from './endpoint.ts';
import { EndpointSet } from './endpoint-set.ts';
import { keyBytes, prefixRange } from './key.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import type { Identity } from './login.ts';
import { type Method, methods } from './methods.ts';
import type { TlsOptions } from './tls.ts';
import { Backoff, onAbort, sleep } from './wait.ts';
import { Watch } from './watch.ts';
import { WatchHub } from './watch-hub.ts';

export interface ClientOptions extends Identity {
  /** `host:port` or `http://`, `https://` URLs; 2379 when no port is given. */
  endpoints: readonly string[];
  /** Milliseconds a call may take in all. Default 5,000. */
  timeoutMs?: number;
  /** Milliseconds a call looks for an endpoint that answers before it gives up. Default 2,000. */
  dialTimeoutMs?: number;
  /** With this, endpoints without a scheme are reached over TLS. */
  tls?: TlsOptions;
  connection?: ConnectionOptions;
}

/** Where one call goes: to whichever endpoint answers, or to the one named. */
export interface CallTarget extends CallOptions {
  endpoint?: string;
}

/** Pairs asked for at a time by `getPrefix`. */
export const PAGE_PAIRS = 1_000;
/** How often `getPrefix` begins anew because compaction overtook it. */
export const LISTING_ATTEMPTS_MAX = 5;

export class Client implements EtcdClient {
  readonly #endpoints: EndpointSet;
  readonly #timeoutMs: number;
  readonly #dialTimeoutMs: number;
  readonly #watches: WatchHub;
  readonly #leases: LeaseKeeper;
  #closed = false;

  constructor(options: ClientOptions) {
    this.#endpoints = new EndpointSet(options.endpoints, options.tls, options.connection, options);
    this.#timeoutMs = options.timeoutMs ?? 5_000;
    this.#dialTimeoutMs = options.dialTimeoutMs ?? 2_000;
    this.#watches = new WatchHub(this.#endpoints);
    this.#leases = new LeaseKeeper(this.#endpoints, (id, options) => this.#revokeKept(id, options));
  }

  // ---- keys

  range(request: Partial<RangeRequest>, options?: CallTarget): Promise<RangeResponse> {
    return this.#call(methods.range, request, options);
  }

  async get(key: Key, options?: CallTarget): Promise<KeyValue | undefined> {
    return (await this.range({ key: keyBytes(key) }, options)).kvs[0];
  }

  async getPrefix(prefix: Key, options?: CallOptions): Promise<{ kvs: KeyValue[]; revision: number }> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#list(prefix, options);
      } catch (error) {
        // Compaction passed the revision the pages were read at: what was read so far is stale, begin anew.
        if (!(error instanceof RosterError) || error.code !== 'Compacted' || attempt === LISTING_ATTEMPTS_MAX)
          throw error;
      }
    }
  }

  put(key: Key, value: string | Uint8Array, options?: CallTarget & { lease?: bigint }): Promise<PutResponse> {
    const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
    return this.putRequest({ key: keyBytes(key), value: bytes, lease: options?.lease ?? 0n }, options);
  }

  /** A put with all its fields. */
  putRequest(request: Partial<PutRequest>, options?: CallTarget): Promise<PutResponse> {
    return this.#call(methods.put, request, options);
  }

  delete(key: Key, options?: CallTarget & { prefix?: boolean }): Promise<DeleteRangeResponse> {
    return this.deleteRange(options?.prefix ? prefixRange(key) : { key: keyBytes(key) }, options);
  }

  /** A deletion with all its fields. */
  deleteRange(request: Partial<DeleteRangeRequest>, options?: CallTarget): Promise<DeleteRangeResponse> {
    return this.#call(methods.deleteRange, request, options);
  }

  txn(request: Partial<TxnRequest>, options?: CallTarget): Promise<TxnResponse> {
    return this.#call(onlyReads(request) ? methods.readOnlyTxn : methods.txn, request, options);
  }

  async compact(revision: number, options?: CallTarget & { physical?: boolean }): Promise<void> {
    await this.#call(methods.compact, { revision, physical: options?.physical ?? false }, options);
  }

  watch(key: Key, options: WatchOptions = {}): AsyncIterableIterator<WatchItem> {
    const { prefix, rangeEnd, signal, whole, onCreated, ...request } = options;
    const range = prefix ? prefixRange(key) : { key: keyBytes(key), range_end: keyBytes(rangeEnd ?? '') };
    this.#refuseWhenClosed();
    const watch = new Watch(this.#watches, { ...request, ...range }, onCreated, whole);
    this.#watches.add(watch);
    watch.onEnd = onAbort(signal, () => void watch.return());
    return watch;
  }

  /** Asks the server how far the watches of this client are: each gets an item, when none of them is behind. */
  requestProgress(): void {
    this.#watches.requestProgress();
  }

  // ---- leases

  async keepLease(ttlSeconds: number, options?: CallOptions): Promise<KeptLease> {
    this.#leases.refuseWhenFull();
    const granted = await this.leaseGrant(ttlSeconds, options);
    this.#refuseWhenClosed();
    return this.#leases.keep(granted.ID, granted.TTL);
  }

  /** Grants a lease and leaves it to the caller to keep. `id` 0 lets the server choose one. */
  async leaseGrant(ttlSeconds: number, options?: CallTarget & { id?: bigint }): Promise<LeaseGrantResponse> {
    if (!Number.isSafeInteger(ttlSeconds)) {
      throw otherError(GrpcStatus.INVALID_ARGUMENT, `a TTL is a whole number of seconds, not ${ttlSeconds}`);
    }
    return this.#call(methods.leaseGrant, { TTL: BigInt(ttlSeconds), ID: options?.id ?? 0n }, options);
  }

  async leaseRevoke(id: bigint, options?: CallTarget): Promise<void> {
    await this.#call(methods.leaseRevoke, { ID: id }, options);
  }

  /** TTL -1 in the answer: there is no such lease. */
  leaseTimeToLive(id: bigint, options?: CallTarget & { keys?: boolean }): Promise<LeaseTimeToLiveResponse> {
    return this.#call(methods.leaseTimeToLive, { ID: id, keys: options?.keys ?? false }, options);
  }

  leases(options?: CallTarget): Promise<LeaseLeasesResponse> {
    return this.#call(methods.leaseLeases, {}, options);
  }

  /** Renews a lease once. TTL 0 in the answer: there is no such lease. */
  async leaseKeepAliveOnce(id: bigint, options?: CallTarget): Promise<LeaseKeepAliveResponse> {
    const deadline = Date.now() + (options?.timeoutMs ?? this.#timeoutMs);
    const endpoint = await this.#endpointFor(deadline, options);
    const signal = options?.signal;
    const stream = endpoint.stream(methods.leaseKeepAlive, { deadline });
    const forget = onAbort(signal, () => stream.cancel());
    try {
      return await new Promise<LeaseKeepAliveResponse>((resolve, reject) => {
        stream.on('data', resolve);
        stream.on('error', (error: Error) => reject(signal?.aborted ? cancelled(signal) : endpoint.errorOf(error)));
        stream.on('end', () => reject(otherError(GrpcStatus.UNAVAILABLE, `${endpoint.name}: the stream ended`)));
        stream.write({ ID: id });
      });
    } finally {
      forget();
      stream.cancel();
    }
  }

  // ---- cluster

  status(endpoint: string, options?: CallOptions): Promise<StatusResponse> {
    return this.#call(methods.status, {}, { ...options, endpoint });
  }

  memberList(options?: CallTarget & { serializable?: boolean }): Promise<MemberListResponse> {
    return this.#call(methods.memberList, { linearizable: options?.serializable !== true }, options);
  }

  /** The alarms raised anywhere in the cluster. */
  async alarms(options?: CallTarget): Promise<AlarmMember[]> {
    return (await this.#call(methods.alarm, {}, options)).alarms;
  }

  /** Ends every watch, stops every keep-alive (leases run out by themselves), cancels every call. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watches.close();
    this.#leases.close();
    this.#endpoints.close();
  }

  // ---- calling

  /** Any RPC of methods.ts that has one answer. */
  call<Req extends object, Res extends object>(
    method: Method<Req, Res>,
    request: Partial<Req>,
    options?: CallTarget,
  ): Promise<Res> {
    return this.#call(method, request, options);
  }

  /** Any RPC of methods.ts that has many: they come for as long as the server has more, with no limit of time. */
  async *answers<Req extends object, Res extends object>(
    method: Method<Req, Res>,
    request: Partial<Req>,
    options?: CallTarget,
  ): AsyncGenerator<Res, void> {
    const endpoint = await this.#endpointFor(Date.now() + this.#dialTimeoutMs, options);
    yield* endpoint.answers(method, request, options?.signal);
  }

  async #call<Req extends object, Res extends object>(
    method: Method<Req, Res>,
    request: Partial<Req>,
    options: CallTarget | undefined,
  ): Promise<Res> {
    const started = Date.now();
    const deadline = started + (options?.timeoutMs ?? this.#timeoutMs);
    const backoff = new Backoff();
    let renewed = false;
    for (;;) {
      const endpoint = await this.#endpointFor(Math.min(deadline, started + this.#dialTimeoutMs), options);
      try {
        return await endpoint.unary(method, request, deadline, options?.signal);
      } catch (error) {
        if (this.#closed) throw otherError(GrpcStatus.CANCELLED, 'the client is closed', { cause: error });
        if (!(error instanceof RosterError)) throw error;
        if (!renewed && this.#endpoints.login.renewable(error)) {
          renewed = true;
          continue;
        }
        if (error.status !== GrpcStatus.UNAVAILABLE) throw error;
        this.#endpoints.failed(endpoint);
        const pause = backoff.next();
        if (!method.repeatable || Date.now() + pause >= started + this.#dialTimeoutMs) throw error;
        await sleep(pause, options?.signal);
      }
    }
  }

  #endpointFor(deadline: number, options: CallTarget | undefined): Promise<Endpoint> {
    this.#refuseWhenClosed();
    const only = options?.endpoint === undefined ? undefined : this.#endpoints.named(options.endpoint);
    return this.#endpoints.connected(deadline, options?.signal, only);
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw otherError(GrpcStatus.CANCELLED, 'the client is closed');
  }

  async #list(prefix: Key, options: CallOptions | undefined): Promise<{ kvs: KeyValue[]; revision: number }> {
    const { key, range_end } = prefixRange(prefix);
    const kvs: KeyValue[] = [];
    let revision = 0;
    let from = key;
    for (;;) {
      const page = await this.range({ key: from, range_end, limit: PAGE_PAIRS, revision }, options);
      if (revision === 0) revision = page.header?.revision ?? 0;
      for (const pair of page.kvs) kvs.push(pair);
      const last = page.kvs.at(-1);
      if (!page.more || last === undefined) return { kvs, revision };
      from = `${last.key}\0`;
    }
  }

  async #revokeKept(id: bigint, options: CallOptions | undefined): Promise<void> {
    try {
      await this.leaseRevoke(id, options);
    } catch (error) {
      if (!(error instanceof RosterError) || error.code !== 'LeaseNotFound') throw error;
    }
  }
}

function onlyReads(request: Partial<TxnRequest>): boolean {
  const reads = (op: RequestOp): boolean =>
    op.request_range !== undefined || (op.request_txn !== undefined && onlyReads(op.request_txn));
  return (request.success ?? []).every(reads) && (request.failure ?? []).every(reads);
}
