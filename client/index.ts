/** The face of the package: the client, its types, its errors. */
export { type ErrorCode, GrpcStatus, RosterError } from '../core/errors.ts';
export { type ByteString, byteStringToUtf8, fromByteString } from '../core/util/bytes.ts';
export type {
  AlarmMember,
  Compare,
  DeleteRangeResponse,
  Event,
  KeyValue,
  LeaseGrantResponse,
  LeaseKeepAliveResponse,
  LeaseLeasesResponse,
  LeaseTimeToLiveResponse,
  Member,
  MemberListResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  RequestOp,
  ResponseHeader,
  ResponseOp,
  StatusResponse,
  TxnRequest,
  TxnResponse,
} from '../core/wire/messages.ts';
export { CompareResult, CompareTarget, EventType, FilterType, SortOrder, SortTarget } from '../core/wire/messages.ts';
export type * from './api.ts';
export { type CallTarget, Client, type ClientOptions } from './client.ts';
export { keyBytes, prefixRange } from './key.ts';
export { Gate, type MeetingOptions, meet, type Participant } from './recipes/barrier.ts';
export { type CampaignOptions, campaign, type Leadership, leaderOf, observe } from './recipes/election.ts';
export { acquireLock, type HeldLock, type LockOptions, tryLock, withLock } from './recipes/lock.ts';
export { Queue } from './recipes/queue.ts';
export { type AtomicallyOptions, atomically, type Memory } from './recipes/stm.ts';
export { publish, subscribe, type TopicItem } from './recipes/topic.ts';
export type { TlsOptions } from './tls.ts';
