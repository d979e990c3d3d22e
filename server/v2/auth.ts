/** /v2/auth: the switch, and the way to users and roles, all of them those of v3. Decides who may before it tells anything. */
import type { Context } from 'hono';
import { RosterError } from '../../core/errors.ts';
import type { AuthStatusResponse } from '../../core/wire/messages.ts';
import { type Admin, type Asked, HttpRefusal, notFound } from './admin.ts';
import { targetOf } from './call.ts';
import { FormError, unescapedPath } from './form.ts';
import { listRoles, ofRole } from './roles.ts';
import { listUsers, ofUser } from './users.ts';

const AUTH = '/etcdserverpb.Auth/';
const PREFIX = '/v2/auth/';

export class AuthHandler {
  readonly #admin: Admin;

  constructor(admin: Admin) {
    this.#admin = admin;
  }

  async handle(c: Context): Promise<Response> {
    const path = unescapedPath(targetOf(c).path.slice(PREFIX.length));
    const [kind, name = '', ...more] =
      path instanceof FormError ? [] : Buffer.from(path, 'latin1').toString().split('/');
    if (kind === 'enable' && name === '') {
      return this.#admin.run(c, ['GET', 'PUT', 'DELETE'], (asked) => this.#switch(asked));
    }
    if (kind !== 'users' && kind !== 'roles') return notFound();
    if (more.length > 0) return this.#admin.refused(new HttpRefusal(400, 'Invalid path', false));
    if (name === '') return this.#admin.run(c, ['GET'], (asked) => this.#asRoot(asked, LISTS[kind]));
    return this.#admin.run(c, ['GET', 'PUT', 'DELETE'], (asked) =>
      this.#asRoot(asked, (each) => ONES[kind](each, name)),
    );
  }

  /** What there is, is not for everybody to know. */
  async #asRoot<T>(asked: Asked, work: (asked: Asked) => Promise<T>): Promise<T | RosterError> {
    const allowed = await this.#admin.handle(this.#admin.v2.admin, asked.call, {});
    return allowed instanceof RosterError ? allowed : work(asked);
  }

  async #switch(asked: Asked): Promise<Response | HttpRefusal | RosterError> {
    const status = await asked.rpc<AuthStatusResponse>(`${AUTH}AuthStatus`);
    if (status instanceof RosterError) return status;
    if (asked.method === 'GET') return asked.json({ enabled: status.enabled });
    return this.#asRoot(asked, () => (asked.method === 'PUT' ? enable(asked, status) : disable(asked, status)));
  }
}

const LISTS = { users: listUsers, roles: listRoles };
const ONES = { users: ofUser, roles: ofRole };

async function enable(asked: Asked, { enabled }: AuthStatusResponse): Promise<Response | HttpRefusal | RosterError> {
  if (enabled) return new HttpRefusal(409, 'auth: already enabled');
  const result = await asked.rpc(`${AUTH}AuthEnable`);
  if (!(result instanceof RosterError)) return asked.done();
  return result.code === 'RootUserNotExist' || result.code === 'RootRoleNotExist'
    ? new HttpRefusal(409, 'auth: No root user available, please create one')
    : result;
}

async function disable(asked: Asked, { enabled }: AuthStatusResponse): Promise<Response | HttpRefusal | RosterError> {
  if (!enabled) return new HttpRefusal(409, 'auth: already disabled');
  const result = await asked.rpc(`${AUTH}AuthDisable`);
  return result instanceof RosterError ? result : asked.done();
}
