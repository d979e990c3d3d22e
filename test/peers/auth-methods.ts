/** The RPCs of the auth service, and every path of the JSON gateway that etcd 3.4 and 3.7 share. */
import { type Method, methods } from '../../client/methods.ts';
import * as m from '../../core/wire/messages.ts';
import type { MessageType } from '../../core/wire/schema.ts';
import type { UnaryOperation } from './operations.ts';

function auth<Req extends object, Res extends object>(
  name: string,
  request: MessageType<Req>,
  response: MessageType<Res>,
): Method<Req, Res> {
  return { path: `/etcdserverpb.Auth/${name}`, request, response, repeatable: false };
}

const authMethods = {
  authEnable: auth('AuthEnable', m.AuthEnableRequest, m.AuthEnableResponse),
  authDisable: auth('AuthDisable', m.AuthDisableRequest, m.AuthDisableResponse),
  authenticate: auth('Authenticate', m.AuthenticateRequest, m.AuthenticateResponse),
  userAdd: auth('UserAdd', m.AuthUserAddRequest, m.AuthUserAddResponse),
  userGet: auth('UserGet', m.AuthUserGetRequest, m.AuthUserGetResponse),
  userList: auth('UserList', m.AuthUserListRequest, m.AuthUserListResponse),
  userDelete: auth('UserDelete', m.AuthUserDeleteRequest, m.AuthUserDeleteResponse),
  userChangePassword: auth('UserChangePassword', m.AuthUserChangePasswordRequest, m.AuthUserChangePasswordResponse),
  userGrantRole: auth('UserGrantRole', m.AuthUserGrantRoleRequest, m.AuthUserGrantRoleResponse),
  userRevokeRole: auth('UserRevokeRole', m.AuthUserRevokeRoleRequest, m.AuthUserRevokeRoleResponse),
  roleAdd: auth('RoleAdd', m.AuthRoleAddRequest, m.AuthRoleAddResponse),
  roleGet: auth('RoleGet', m.AuthRoleGetRequest, m.AuthRoleGetResponse),
  roleList: auth('RoleList', m.AuthRoleListRequest, m.AuthRoleListResponse),
  roleDelete: auth('RoleDelete', m.AuthRoleDeleteRequest, m.AuthRoleDeleteResponse),
  roleGrantPermission: auth('RoleGrantPermission', m.AuthRoleGrantPermissionRequest, m.AuthRoleGrantPermissionResponse),
  roleRevokePermission: auth(
    'RoleRevokePermission',
    m.AuthRoleRevokePermissionRequest,
    m.AuthRoleRevokePermissionResponse,
  ),
} as const;

const unary = { ...methods, ...authMethods };

/** What an operation calls. */
export function methodOf(op: UnaryOperation['op']): Method<object, object> {
  return unary[op] as unknown as Method<object, object>;
}

/** By the path of the RPC. */
export const JSON_PATHS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    range: '/v3/kv/range',
    put: '/v3/kv/put',
    deleteRange: '/v3/kv/deleterange',
    txn: '/v3/kv/txn',
    compact: '/v3/kv/compaction',
    leaseGrant: '/v3/lease/grant',
    leaseRevoke: '/v3/kv/lease/revoke',
    leaseTimeToLive: '/v3/kv/lease/timetolive',
    leaseLeases: '/v3/kv/lease/leases',
    authEnable: '/v3/auth/enable',
    authDisable: '/v3/auth/disable',
    authenticate: '/v3/auth/authenticate',
    userAdd: '/v3/auth/user/add',
    userGet: '/v3/auth/user/get',
    userList: '/v3/auth/user/list',
    userDelete: '/v3/auth/user/delete',
    userChangePassword: '/v3/auth/user/changepw',
    userGrantRole: '/v3/auth/user/grant',
    userRevokeRole: '/v3/auth/user/revoke',
    roleAdd: '/v3/auth/role/add',
    roleGet: '/v3/auth/role/get',
    roleList: '/v3/auth/role/list',
    roleDelete: '/v3/auth/role/delete',
    roleGrantPermission: '/v3/auth/role/grant',
    roleRevokePermission: '/v3/auth/role/revoke',
  }).map(([op, path]) => [methodOf(op as UnaryOperation['op']).path, path]),
);
