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
export type { TlsOptions } from './tls.ts';
