/** The RPCs this client calls: path, message types, and whether a call may be sent twice. */
import {
  AlarmRequest,
  AlarmResponse,
  CompactionRequest,
  CompactionResponse,
  DeleteRangeRequest,
  DeleteRangeResponse,
  LeaseGrantRequest,
  LeaseGrantResponse,
  LeaseKeepAliveRequest,
  LeaseKeepAliveResponse,
  LeaseLeasesRequest,
  LeaseLeasesResponse,
  LeaseRevokeRequest,
  LeaseRevokeResponse,
  LeaseTimeToLiveRequest,
  LeaseTimeToLiveResponse,
  MemberListRequest,
  MemberListResponse,
  PutRequest,
  PutResponse,
  RangeRequest,
  RangeResponse,
  StatusRequest,
  StatusResponse,
  TxnRequest,
  TxnResponse,
  WatchRequest,
  WatchResponse,
} from '../core/wire/messages.ts';
import type { MessageType } from '../core/wire/schema.ts';

export interface Method<Req extends object, Res extends object> {
  readonly path: string;
  readonly request: MessageType<Req>;
  readonly response: MessageType<Res>;
  /** Sent again, elsewhere, after an answer was lost. False where the second time would do something else. */
  readonly repeatable: boolean;
}

function method<Req extends object, Res extends object>(
  path: string,
  request: MessageType<Req>,
  response: MessageType<Res>,
  repeatable: boolean,
): Method<Req, Res> {
  return { path: `/etcdserverpb.${path}`, request, response, repeatable };
}

// As etcd's clientv3 does, granting counts as repeatable: a lease granted twice runs out once.
export const methods = {
  range: method('KV/Range', RangeRequest, RangeResponse, true),
  put: method('KV/Put', PutRequest, PutResponse, false),
  deleteRange: method('KV/DeleteRange', DeleteRangeRequest, DeleteRangeResponse, false),
  txn: method('KV/Txn', TxnRequest, TxnResponse, false),
  readOnlyTxn: method('KV/Txn', TxnRequest, TxnResponse, true),
  compact: method('KV/Compact', CompactionRequest, CompactionResponse, false),
  watch: method('Watch/Watch', WatchRequest, WatchResponse, true),
  leaseGrant: method('Lease/LeaseGrant', LeaseGrantRequest, LeaseGrantResponse, true),
  leaseRevoke: method('Lease/LeaseRevoke', LeaseRevokeRequest, LeaseRevokeResponse, true),
  leaseKeepAlive: method('Lease/LeaseKeepAlive', LeaseKeepAliveRequest, LeaseKeepAliveResponse, true),
  leaseTimeToLive: method('Lease/LeaseTimeToLive', LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, true),
  leaseLeases: method('Lease/LeaseLeases', LeaseLeasesRequest, LeaseLeasesResponse, true),
  memberList: method('Cluster/MemberList', MemberListRequest, MemberListResponse, true),
  status: method('Maintenance/Status', StatusRequest, StatusResponse, true),
  alarm: method('Maintenance/Alarm', AlarmRequest, AlarmResponse, false),
} as const;
