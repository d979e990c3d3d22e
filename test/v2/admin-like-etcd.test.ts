import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { startRoster } from '../support/roster.ts';
import { type Answer, Side } from './side.ts';

/** /v2/members, /v2/machines, /v2/stats and /v2/auth, asked of Debian's `etcd --enable-v2` and of Roster, in one order. */

const etcd = findPeer('etcd');

interface AdminStep {
  readonly method: string;
  readonly path: string;
  readonly body?: string;
  readonly type?: string;
  readonly user?: string;
  /** Where they differ, and why; then each must answer as given. */
  readonly differs?: { readonly why: string; readonly theirs: number; readonly ours: number };
}

const step = (method: string, path: string, body?: unknown, more: Partial<AdminStep> = {}): AdminStep => ({
  method,
  path,
  ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  ...more,
});
const users = (method: string, name: string, body?: object | string, more?: Partial<AdminStep>) =>
  step(method, `/v2/auth/users${name}`, body, more);
const roles = (method: string, name: string, body?: object | string, more?: Partial<AdminStep>) =>
  step(method, `/v2/auth/roles${name}`, body, more);
const enable = (method: string, more?: Partial<AdminStep>) => step(method, '/v2/auth/enable', undefined, more);
const members = (method: string, name: string, body?: object | string, more?: Partial<AdminStep>) =>
  step(method, `/v2/members${name}`, body, { user: 'root:secret', type: 'application/json', ...more });
const kv = (read: readonly string[], write: readonly string[]) => ({ kv: { read, write } });
const ROOT = { user: 'root:secret' };
const ALICE = { user: 'alice:y' };

const STEPS: readonly AdminStep[] = [
  enable('GET'),
  users('GET', ''),
  roles('GET', ''),
  roles('GET', '/root'),
  users('GET', '/alice'),
  users('PUT', '/alice', { user: 'alice' }),
  users('PUT', '/alice', { user: 'bob', password: 'x' }),
  users('PUT', '/alice', 'garbage'),
  users('PUT', '/alice', { user: 'alice', password: 'x' }),
  users('PUT', '/alice', { user: 'alice', password: 'y' }),
  users('PUT', '/alice', { user: 'alice' }),
  roles('PUT', '/dev', { role: 'dev', permissions: kv(['/a/*', '/x'], ['/a/*']) }),
  roles('PUT', '/dev', { role: 'dev', permissions: kv(['/a/*', '/x'], ['/a/*']) }),
  roles('PUT', '/dev', { role: 'other' }),
  roles('PUT', '/dev', 'garbage'),
  roles('PUT', '/dev', { role: 'dev', grant: kv(['/b*'], ['/x']) }),
  roles('PUT', '/dev', { role: 'dev', grant: kv(['/b*'], []) }),
  roles('PUT', '/dev', { role: 'dev', revoke: kv(['/b*'], []) }),
  roles('PUT', '/dev', { role: 'dev', revoke: kv(['/nope'], []) }),
  roles('PUT', '/dev', { role: 'dev', permissions: kv(['/q'], []), revoke: kv(['/b*'], []) }),
  roles('PUT', '/none', { role: 'none', grant: kv(['/b*'], []) }),
  roles('PUT', '/root', { role: 'root', grant: kv(['/b*'], []) }),
  roles('PUT', '/empty', { role: 'empty' }),
  roles('DELETE', '/root'),
  roles('DELETE', '/empty'),
  roles('DELETE', '/empty'),
  roles('GET', '/dev'),
  roles('GET', '/nope'),
  roles('GET', ''),
  roles('GET', '/'),
  roles('GET', '/a/b'),
  users('PUT', '/alice', { user: 'alice', grant: ['dev'] }),
  users('PUT', '/alice', { user: 'alice', grant: ['dev'] }),
  users(
    'PUT',
    '/alice',
    { user: 'alice', grant: ['nope'] },
    {
      differs: { why: 'a role must be there to be granted', theirs: 200, ours: 404 },
    },
  ),
  users(
    'PUT',
    '/alice',
    { user: 'alice', revoke: ['nope'] },
    {
      differs: { why: 'there is nothing to revoke, then', theirs: 200, ours: 400 },
    },
  ),
  users('PUT', '/alice', { user: 'alice', roles: ['dev'], revoke: ['dev'] }),
  users('PUT', '/alice', { user: 'alice', password: 'y', roles: ['dev'] }),
  users('PUT', '/carl', { user: 'carl', password: 'y', roles: ['dev'] }),
  users('PUT', '/nobody', { user: 'nobody', revoke: ['dev'] }),
  users('GET', '/alice'),
  users('GET', ''),
  users('DELETE', '/carl'),
  users('DELETE', '/carl'),
  enable('PUT'),
  users('PUT', '/root', { user: 'root', password: 'secret' }),
  users('GET', '/root'),
  enable('POST'),
  enable('PUT'),
  enable('GET'),
  enable('PUT'),
  enable('PUT', ROOT),
  enable('PUT', { user: 'root:wrong' }),
  roles('GET', ''),
  roles('GET', '/dev', undefined, ROOT),
  roles('GET', '', undefined, ALICE),
  users('GET', '', undefined, { user: 'root:wrong' }),
  step('PUT', '/v2/keys/a/x', 'value=1', ALICE),
  step('PUT', '/v2/keys/a/x', 'value=1', { user: 'alice:wrong' }),
  step('PUT', '/v2/keys/a/x', 'value=1', { user: 'nobody:y' }),
  step('PUT', '/v2/keys/z', 'value=1', ALICE),
  step('PUT', '/v2/keys/x', 'value=1', ALICE),
  step('GET', '/v2/keys/x', undefined, ALICE),
  step('GET', '/v2/keys/a/x', undefined, ALICE),
  step('GET', '/v2/keys/a?recursive=true', undefined, ALICE),
  step('GET', '/v2/keys/a/?recursive=true', undefined, ALICE),
  step('DELETE', '/v2/keys/a/y', undefined, ALICE),
  step('DELETE', '/v2/keys/a?recursive=true', undefined, ALICE),
  step('GET', '/v2/keys/?recursive=true', undefined, ALICE),
  step('GET', '/v2/keys/a/x?wait=true&waitIndex=99999&quorum=true', undefined, ALICE),
  step('GET', '/v2/keys/z?wait=true', undefined, ALICE),
  step('GET', '/v2/keys/a?wait=true&recursive=true', undefined, ALICE),
  step('PUT', '/v2/keys/a/x', 'value=2', ROOT),
  step('PUT', '/v2/keys/a/guest', 'value=2', {
    differs: { why: 'there is no guest: nobody may what no role of his permits', theirs: 201, ours: 401 },
  }),
  members('POST', '', { peerURLs: ['http://127.0.0.1:1'] }, { user: 'alice:y' }),
  members('POST', '', { peerURLs: ['http://127.0.0.1:1'] }, { type: 'application/x-www-form-urlencoded' }),
  members('DELETE', '/zz'),
  members('DELETE', '/12'),
  members('GET', '/nonsense'),
  members('PUT', '/12', { peerURLs: ['http://127.0.0.1:1'] }),
  members('POST', '', {}),
  members('GET', ''),
  members('GET', '/'),
  members('GET', '/leader'),
  members('PATCH', ''),
  users('DELETE', '/root', undefined, ROOT),
  enable('DELETE', ALICE),
  enable('DELETE', ROOT),
  enable('DELETE'),
  users('DELETE', '/root'),
  users('DELETE', '/nobody'),
  users('PATCH', '/nobody'),
  users('PUT', '/'),
  step('GET', '/v2/auth/nonsense'),
  step('GET', '/v2/machines'),
  step('HEAD', '/v2/machines'),
  step('POST', '/v2/machines', ''),
  step('GET', '/v2/stats/self'),
  step('GET', '/v2/stats/leader'),
  step('GET', '/v2/stats/store'),
  step('POST', '/v2/stats/self', ''),
  step('GET', '/v2/stats/nonsense'),
  step('GET', '/v2/'),
  step('GET', '/v2/nonsense'),
];

/** Without what names a server or counts its life; JSON as it is read. */
function plain({ status, headers, text }: Answer): object {
  // Clients take an answer for the cluster's by its id.
  const ofCluster = headers['x-etcd-cluster-id'] !== undefined;
  const base = { status, type: headers['content-type'], allow: headers.allow, ofCluster };
  if (!text.startsWith('{')) return { ...base, text: text.replace(/127\.0\.0\.1:\d+/g, 'a server') };
  return { ...base, body: JSON.parse(text, maskField) as unknown };
}

function maskField(this: unknown, name: string, value: unknown): unknown {
  const named = ['id', 'leader', 'startTime', 'uptime', 'modifiedIndex', 'createdIndex', 'index'].includes(name);
  if (named) return typeof value;
  // What two servers have done by now is not the same, and is the suite's to compare.
  if (/(?:Success|Fail|Count)$/.test(name)) return typeof value;
  return typeof value === 'string' ? value.replace(/(?:127\.0\.0\.1|localhost):\d+/g, 'a server') : value;
}

describe.skipIf(etcd === undefined)('the rest of v2, like etcd', () => {
  const sides: Side[] = [];
  const stops: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    const cost = ['--bcrypt-cost', '4'];
    const servers = await Promise.all([
      startEtcd(etcd, ['--enable-v2', ...cost]),
      startRoster([...cost, '--listen-peer-urls', 'http://127.0.0.1:0']),
    ]);
    for (const [i, server] of servers.entries()) {
      stops.push(() => server.stop());
      sides.push(new Side(i === 0 ? 'etcd' : 'roster', server.endpoint));
    }
  });

  afterAll(async () => {
    for (const side of sides) side.close();
    await Promise.all(stops.map((stop) => stop()));
  });

  it.each(STEPS.map((each) => [`${each.method} ${each.path} ${each.body ?? ''} ${each.user ?? ''}`, each] as const))(
    '%s',
    async (_name, { method, path, body, type, user, differs }) => {
      const headers: Record<string, string> = {
        ...(type === undefined ? {} : { 'Content-Type': type }),
        ...(user === undefined ? {} : { Authorization: `Basic ${Buffer.from(user).toString('base64')}` }),
      };
      const [theirs, ours] = await Promise.all(sides.map((side) => side.ask(method, path, body, headers)));
      if (differs === undefined) expect(plain(ours!)).toEqual(plain(theirs!));
      else expect([theirs!.status, ours!.status], differs.why).toEqual([differs.theirs, differs.ours]);
    },
  );
});
