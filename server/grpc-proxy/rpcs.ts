/** The RPCs that go through as they are, and those that go through with something done to them: paths and messages. */
import { methods, type Method as Rpc } from '../../client/methods.ts';
import * as m from '../../core/wire/messages.ts';
import type { MessageType } from '../../core/wire/schema.ts';

function rpc<Req extends object, Res extends object>(
  path: string,
  request: MessageType<Req>,
  response: MessageType<Res>,
  repeatable: boolean,
): Rpc<Req, Res> {
  return { path: `/etcdserverpb.${path}`, request, response, repeatable };
}

const reads = true;
const writes = false;

export const rangeStream = rpc('KV/RangeStream', m.RangeRequest, m.RangeStreamResponse, reads);
export const snapshot = rpc('Maintenance/Snapshot', m.SnapshotRequest, m.SnapshotResponse, reads);
export const memberList = methods.memberList;

// biome-ignore lint/suspicious/noExplicitAny: a table holds RPCs of every type
type AnyRpc = Rpc<any, any>;

/** Nothing of the key space is in them, and nothing of the proxy. */
export const passedThrough: readonly AnyRpc[] = [
  methods.leaseGrant,
  methods.leaseRevoke,
  methods.leaseLeases,
  rpc('Cluster/MemberAdd', m.MemberAddRequest, m.MemberAddResponse, writes),
  rpc('Cluster/MemberRemove', m.MemberRemoveRequest, m.MemberRemoveResponse, writes),
  rpc('Cluster/MemberUpdate', m.MemberUpdateRequest, m.MemberUpdateResponse, writes),
  rpc('Cluster/MemberPromote', m.MemberPromoteRequest, m.MemberPromoteResponse, writes),
  methods.alarm,
  methods.status,
  rpc('Maintenance/Defragment', m.DefragmentRequest, m.DefragmentResponse, writes),
  rpc('Maintenance/Hash', m.HashRequest, m.HashResponse, reads),
  rpc('Maintenance/HashKV', m.HashKVRequest, m.HashKVResponse, reads),
  rpc('Maintenance/MoveLeader', m.MoveLeaderRequest, m.MoveLeaderResponse, writes),
  rpc('Maintenance/Downgrade', m.DowngradeRequest, m.DowngradeResponse, writes),
  rpc('Auth/AuthEnable', m.AuthEnableRequest, m.AuthEnableResponse, writes),
  rpc('Auth/AuthDisable', m.AuthDisableRequest, m.AuthDisableResponse, writes),
  rpc('Auth/AuthStatus', m.AuthStatusRequest, m.AuthStatusResponse, reads),
  rpc('Auth/Authenticate', m.AuthenticateRequest, m.AuthenticateResponse, reads),
  rpc('Auth/UserAdd', m.AuthUserAddRequest, m.AuthUserAddResponse, writes),
  rpc('Auth/UserGet', m.AuthUserGetRequest, m.AuthUserGetResponse, reads),
  rpc('Auth/UserList', m.AuthUserListRequest, m.AuthUserListResponse, reads),
  rpc('Auth/UserDelete', m.AuthUserDeleteRequest, m.AuthUserDeleteResponse, writes),
  rpc('Auth/UserChangePassword', m.AuthUserChangePasswordRequest, m.AuthUserChangePasswordResponse, writes),
  rpc('Auth/UserGrantRole', m.AuthUserGrantRoleRequest, m.AuthUserGrantRoleResponse, writes),
  rpc('Auth/UserRevokeRole', m.AuthUserRevokeRoleRequest, m.AuthUserRevokeRoleResponse, writes),
  rpc('Auth/RoleAdd', m.AuthRoleAddRequest, m.AuthRoleAddResponse, writes),
  rpc('Auth/RoleGet', m.AuthRoleGetRequest, m.AuthRoleGetResponse, reads),
  rpc('Auth/RoleList', m.AuthRoleListRequest, m.AuthRoleListResponse, reads),
  rpc('Auth/RoleDelete', m.AuthRoleDeleteRequest, m.AuthRoleDeleteResponse, writes),
  rpc('Auth/RoleGrantPermission', m.AuthRoleGrantPermissionRequest, m.AuthRoleGrantPermissionResponse, writes),
  rpc('Auth/RoleRevokePermission', m.AuthRoleRevokePermissionRequest, m.AuthRoleRevokePermissionResponse, writes),
];
