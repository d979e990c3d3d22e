/**
 * etcdserverpb.Auth. Passwords become hashes here, before anything is replicated; users and roles change where their entry
 * is applied (core/auth), and are read after a read index.
 */
import type { AuthStore } from '../../core/auth/auth-store.ts';
import { ROOT_ROLE } from '../../core/auth/permit.ts';
import { RosterError, rosterError } from '../../core/errors.ts';
import type { ProposedRequest } from '../../core/node/node.ts';
import * as m from '../../core/wire/messages.ts';
import type { MessageType } from '../../core/wire/schema.ts';
import { afterReadIndex, header, proposed, type RpcContext } from './context.ts';
import { authenticate } from './login.ts';
import { type CallContext, type Method, type UnaryDone, unary } from './service.ts';

/** What the root role permits. */
const EVERYTHING: m.Permission = { permType: m.PermissionType.values.READWRITE, key: '', range_end: '\0' };

const path = (name: string) => `/etcdserverpb.Auth/${name}`;

export function authMethods(context: RpcContext): Method[] {
  const changing = <Req extends object, Res extends object>(
    name: string,
    request: MessageType<Req>,
    response: MessageType<Res>,
    entry: (request: Req) => ProposedRequest,
  ): Method => unary(path(name), request, response, (call, asked, done) => proposed(context, call, entry(asked), done));

  return [
    changing('AuthEnable', m.AuthEnableRequest, m.AuthEnableResponse, (auth_enable) => ({ auth_enable })),
    changing('AuthDisable', m.AuthDisableRequest, m.AuthDisableResponse, (auth_disable) => ({ auth_disable })),
    status(context),
    authenticate(context),
    userAdd(context),
    userChangePassword(context),
    changing('UserDelete', m.AuthUserDeleteRequest, m.AuthUserDeleteResponse, (auth_user_delete) => ({
      auth_user_delete,
    })),
    changing('UserGrantRole', m.AuthUserGrantRoleRequest, m.AuthUserGrantRoleResponse, (auth_user_grant_role) => ({
      auth_user_grant_role,
    })),
    changing('UserRevokeRole', m.AuthUserRevokeRoleRequest, m.AuthUserRevokeRoleResponse, (auth_user_revoke_role) => ({
      auth_user_revoke_role,
    })),
    changing('RoleAdd', m.AuthRoleAddRequest, m.AuthRoleAddResponse, (auth_role_add) => ({ auth_role_add })),
    changing('RoleDelete', m.AuthRoleDeleteRequest, m.AuthRoleDeleteResponse, (auth_role_delete) => ({
      auth_role_delete,
    })),
    changing(
      'RoleGrantPermission',
      m.AuthRoleGrantPermissionRequest,
      m.AuthRoleGrantPermissionResponse,
      (auth_role_grant_permission) => ({ auth_role_grant_permission }),
    ),
    changing(
      'RoleRevokePermission',
      m.AuthRoleRevokePermissionRequest,
      m.AuthRoleRevokePermissionResponse,
      (auth_role_revoke_permission) => ({ auth_role_revoke_permission }),
    ),
    ...readMethods(context),
  ];
}

/** For everyone, as the clients that ask for it cannot know yet whether they need a user. */
function status(context: RpcContext): Method {
  const { machine, node } = context;
  return unary(path('AuthStatus'), m.AuthStatusRequest, m.AuthStatusResponse, (_call, _request, done) =>
    node.linearizableRead((error) => {
      if (error !== undefined) return done(error);
      const { enabled, revision: authRevision } = machine.auth;
      done({ header: header(context, machine.store.revision), enabled, authRevision });
    }),
  );
}

// ---- passwords

function userAdd(context: RpcContext): Method {
  return unary(path('UserAdd'), m.AuthUserAddRequest, m.AuthUserAddResponse, (call, request, done) => {
    const { name, options } = request;
    if (options?.no_password === true) {
      const auth_user_add = { name, password_hash: new Uint8Array(0), no_password: true };
      return proposed(context, call, { auth_user_add }, done);
    }
    withHash(context, request.password, done, (password_hash) =>
      proposed(context, call, { auth_user_add: { name, password_hash, no_password: false } }, done),
    );
  });
}

function userChangePassword(context: RpcContext): Method {
  const [request, response] = [m.AuthUserChangePasswordRequest, m.AuthUserChangePasswordResponse];
  return unary(path('UserChangePassword'), request, response, (call, { name, password }, done) =>
    withHash(context, password, done, (password_hash) =>
      proposed(context, call, { auth_user_change_password: { name, password_hash, no_password: false } }, done),
    ),
  );
}

function withHash<Res extends object>(
  context: RpcContext,
  password: string,
  done: UnaryDone<Res>,
  go: (hash: Uint8Array) => void,
): void {
  context.security.passwords.hash(password, (hash) => (hash instanceof RosterError ? done(hash) : go(hash)));
}

// ---- reads

function readMethods(context: RpcContext): Method[] {
  const { machine } = context;
  const reading = <Req extends object, Res extends { header?: m.ResponseHeader | undefined }>(
    call: CallContext,
    request: Req,
    done: UnaryDone<Res>,
    read: (auth: AuthStore) => Omit<Res, 'header'> | RosterError,
  ): void =>
    afterReadIndex(
      context,
      call,
      request,
      false,
      () => {
        const result = read(machine.auth);
        if (result instanceof RosterError) return result;
        return { header: header(context, machine.store.revision), ...result } as Res;
      },
      done,
    );

  return [
    unary(path('UserGet'), m.AuthUserGetRequest, m.AuthUserGetResponse, (call, request, done) =>
      reading(call, request, done, (auth) => {
        const user = auth.user(request.name);
        return user === undefined ? rosterError('UserNotFound') : { roles: user.roles };
      }),
    ),
    unary(path('UserList'), m.AuthUserListRequest, m.AuthUserListResponse, (call, request, done) =>
      reading(call, request, done, (auth) => ({ users: auth.userNames() })),
    ),
    unary(path('RoleGet'), m.AuthRoleGetRequest, m.AuthRoleGetResponse, (call, request, done) =>
      reading(call, request, done, (auth) => {
        const role = auth.role(request.role);
        if (role === undefined) return rosterError('RoleNotFound');
        return { perm: role.name === ROOT_ROLE ? [EVERYTHING] : role.keyPermission };
      }),
    ),
    unary(path('RoleList'), m.AuthRoleListRequest, m.AuthRoleListResponse, (call, request, done) =>
      reading(call, request, done, (auth) => ({ roles: auth.roleNames() })),
    ),
  ];
}
