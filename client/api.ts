/**
 * What Roster's own programs (registrator, renderer, command line) ask of a store: plain etcd v3, so that any etcd
 * will do. Implemented by client.ts. Keys given as `string` are UTF-8 text; raw bytes are given as Uint8Array.
 */
import type {
  DeleteRangeResponse,
  Event,
  KeyValue,
  MemberListResponse,
  PutResponse,
  RangeRequest,
  RangeResponse,
  ResponseHeader,
  StatusResponse,
  TxnRequest,
  TxnResponse,
  WatchCreateRequest,
} from '../core/wire/messages.ts';

export type Key = string | Uint8Array;

export interface CallOptions {
  signal?: AbortSignal;
  /** Milliseconds for this call; the client's default otherwise. */
  timeoutMs?: number;
}

/** One item of a watch: whole revisions, in order, none missing, none twice - across reconnects too. */
export type WatchItem =
  | { kind: 'events'; revision: number; events: Event[]; header?: ResponseHeader }
  /** The server has compacted past the place where the watch stood: list again and watch from there. The watch is over. */
  | { kind: 'compacted'; compactRevision: number }
  /** No events up to and including `revision` are outstanding (progress_notify). */
  | { kind: 'progress'; revision: number };

export interface WatchOptions extends Partial<Omit<WatchCreateRequest, 'key' | 'range_end' | 'watch_id'>> {
  prefix?: boolean;
  rangeEnd?: Key;
  signal?: AbortSignal;
  /** Items are the server's responses, with their header, instead of one item a revision: catching up, one holds many. */
  whole?: boolean;
  /** Called whenever the stream is (re-)created on the server. */
  onCreated?: (revision: number) => void;
}

/** A lease kept alive until closed, revoked or lost. */
export interface KeptLease {
  readonly id: bigint;
  readonly ttlSeconds: number;
  /** Fires once when the server no longer knows the lease, or it cannot have survived (no answer for a whole TTL). */
  readonly lost: AbortSignal;
  /** Stops the keep-alive and revokes; keys attached to it vanish. */
  revoke(options?: CallOptions): Promise<void>;
  /** Stops the keep-alive only: the lease runs out by itself. */
  close(): void;
}

/** Every promise rejects with a RosterError that carries the server's code and text, or UNAVAILABLE with the endpoint's name. */
export interface EtcdClient {
  range(request: Partial<RangeRequest>, options?: CallOptions): Promise<RangeResponse>;
  get(key: Key, options?: CallOptions): Promise<KeyValue | undefined>;
  /** All pairs under a prefix at one revision, in pages; `header.revision` is where a watch goes on (+1). */
  getPrefix(prefix: Key, options?: CallOptions): Promise<{ kvs: KeyValue[]; revision: number }>;
  put(key: Key, value: string | Uint8Array, options?: CallOptions & { lease?: bigint }): Promise<PutResponse>;
  delete(key: Key, options?: CallOptions & { prefix?: boolean }): Promise<DeleteRangeResponse>;
  txn(request: Partial<TxnRequest>, options?: CallOptions): Promise<TxnResponse>;
  compact(revision: number, options?: CallOptions & { physical?: boolean }): Promise<void>;
  /** Reconnects and resumes by revision for ever, until `signal` fires, `return()` is called, or the key space is compacted. */
  watch(key: Key, options?: WatchOptions): AsyncIterableIterator<WatchItem>;
  /** Grants a lease and keeps it alive in the background (one stream per client, every TTL/3). */
  keepLease(ttlSeconds: number, options?: CallOptions): Promise<KeptLease>;
  status(endpoint: string, options?: CallOptions): Promise<StatusResponse>;
  memberList(options?: CallOptions): Promise<MemberListResponse>;
  close(): void;
}
