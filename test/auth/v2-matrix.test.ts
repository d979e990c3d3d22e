import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PermissionType } from '../../core/wire/messages.ts';
import { ACCESS } from '../../server/rpc/access-table.ts';
import { v2Methods } from '../../server/v2/methods.ts';
import { putRequest } from '../apply/harness.ts';
import { Rig } from '../rpc/rig.ts';
import { TestMember } from './member.ts';

/**
 * The v2 door, while auth is on: every kind of request x user x credentials. `reader` may read what begins with `/p`,
 * `writer` may write it, `both` may do both, `exact` may do both with the one key `/p/f`, `inside` with what is in `/p`.
 */
const USERS = ['none', 'reader', 'writer', 'both', 'exact', 'inside', 'root'] as const;
type User = (typeof USERS)[number];

const ALL = USERS;
const ROOT = ['root'] as const;

interface Case {
  readonly method: string;
  readonly path: string;
  readonly who: readonly User[];
  readonly body?: string;
  readonly type?: string;
}

const c = (method: string, path: string, who: readonly User[], body?: string): Case => ({
  method,
  path,
  who,
  ...(body === undefined ? {} : { body }),
});
const keys = (method: string, path: string, who: readonly User[], body?: string) =>
  c(method, `/v2/keys${path}`, who, body);
const json = (method: string, path: string, body: object): Case => ({
  ...c(method, path, ROOT, JSON.stringify(body)),
  type: 'application/json',
});

const READ = ['reader', 'both', 'root'] as const;
const WRITE = ['writer', 'both', 'root'] as const;
const READ_FILE = ['reader', 'both', 'exact', 'inside', 'root'] as const;
const WRITE_FILE = ['writer', 'both', 'exact', 'inside', 'root'] as const;
const BOTH_FILE = ['both', 'exact', 'inside', 'root'] as const;

const CASES: readonly Case[] = [
  keys('GET', '/p/f', READ_FILE),
  keys('HEAD', '/p/f', READ_FILE),
  keys('GET', '/p/f?quorum=true', READ_FILE),
  keys('GET', '/p/none', ['reader', 'both', 'inside', 'root']),
  keys('GET', '/p', READ),
  keys('GET', '/p?recursive=true', READ),
  keys('GET', '/p/', ['reader', 'both', 'inside', 'root']),
  keys('GET', '/p/?recursive=true', ['reader', 'both', 'inside', 'root']),
  keys(
    'GET',
    '/p/f/',
    READ_FILE.filter((user) => user !== 'exact'),
  ),
  keys('GET', '/', ROOT),
  keys('GET', '/?recursive=true', ROOT),
  keys('GET', '/q/f', ROOT),
  keys('GET', '/q', ROOT),
  keys('GET', '/', ROOT),
  keys('GET', '/p/f?wait=true&waitIndex=1', READ_FILE),
  keys('GET', '/p?wait=true&recursive=true&waitIndex=1', READ),
  keys('GET', '/?wait=true&recursive=true&waitIndex=1', ROOT),
  keys('GET', '/q/f?wait=true&waitIndex=1', ROOT),
  keys('PUT', '/p/f', WRITE_FILE, 'value=1'),
  keys('PUT', '/p/f?prevExist=true', WRITE_FILE, 'value=1'),
  keys('PUT', '/p/f', WRITE_FILE, 'value=1&ttl=1000'),
  keys('PUT', '/p/f', WRITE_FILE, 'refresh=true&ttl=1000'),
  keys('PUT', '/p/f?prevValue=no', BOTH_FILE, 'value=1'),
  keys('PUT', '/p/f?prevIndex=1', BOTH_FILE, 'value=1'),
  keys('PUT', '/p/d?dir=true&prevExist=true', ['writer', 'both', 'inside', 'root']),
  keys('PUT', '/p?dir=true&prevExist=true&ttl=1000', WRITE),
  keys('PUT', '/p?prevExist=true', WRITE, 'ttl=1000'),
  keys('PUT', '/q/f', ROOT, 'value=1'),
  keys('PUT', '/pq', ['writer', 'both', 'root'], 'value=1'),
  keys('POST', '/p/d', ['writer', 'both', 'inside', 'root'], 'value=1'),
  keys('POST', '/p', ['writer', 'both', 'inside', 'root'], 'value=1'),
  keys('POST', '/q', ROOT, 'value=1'),
  keys('POST', '/', ROOT, 'value=1'),
  keys('DELETE', '/p/none', ['writer', 'both', 'inside', 'root']),
  keys('DELETE', '/p/f?prevValue=no', BOTH_FILE),
  keys('DELETE', '/p/none?recursive=true', ['writer', 'both', 'inside', 'root']),
  keys('DELETE', '/p/f/x?recursive=true', ['writer', 'both', 'inside', 'root']),
  keys('DELETE', '/?recursive=true', ROOT),
  keys('DELETE', '/q/f', ROOT),
  c('GET', '/v2/machines', ALL),
  c('GET', '/v2/members', ALL),
  c('GET', '/v2/members/leader', ALL),
  json('POST', '/v2/members', { peerURLs: ['nonsense'] }),
  json('PUT', '/v2/members/12', { peerURLs: ['http://127.0.0.1:1'] }),
  c('DELETE', '/v2/members/12', ROOT),
  c('GET', '/v2/stats/self', ALL),
  c('GET', '/v2/stats/leader', ALL),
  c('GET', '/v2/stats/store', ALL),
  c('PUT', '/v2/auth/enable', ROOT),
  c('GET', '/v2/auth/users', ROOT),
  c('GET', '/v2/auth/users/reader', ROOT),
  c('PUT', '/v2/auth/users/reader', ROOT, '{}'),
  c('DELETE', '/v2/auth/users/nobody', ROOT),
  c('GET', '/v2/auth/roles', ROOT),
  c('GET', '/v2/auth/roles/reader', ROOT),
  c('PUT', '/v2/auth/roles/reader', ROOT, '{}'),
  c('DELETE', '/v2/auth/roles/nothing', ROOT),
];

let member: TestMember;
const tokens = new Map<string, string>();
let cells = 0;

interface Reply {
  readonly status: number;
  readonly text: string;
}

/** Of a wait that has begun: the head alone. */
function ask({ method, path, body, type }: Case, headers: Record<string, string>): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const form = body === undefined ? {} : { 'Content-Type': type ?? 'application/x-www-form-urlencoded' };
    const request = httpRequest(
      `http://${member.endpoint}${path}`,
      { method, headers: { ...form, ...headers }, agent: false },
      (response) => {
        const done = (text: string) => resolve({ status: response.statusCode!, text });
        if (path.includes('wait=true') && response.statusCode === 200) {
          response.destroy();
          return done('');
        }
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => done(text));
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

const basic = (user: string, password: string) => ({ Authorization: `Basic ${btoa(`${user}:${password}`)}` });

beforeAll(async () => {
  member = await TestMember.start();
  const change = (name: string, request: object, headers = {}) =>
    member.ok(`/etcdserverpb.Auth/${name}`, request, headers);
  const { READ: read, WRITE: write, READWRITE: readWrite } = PermissionType.values;
  const ranges: [string, number, string, string][] = [
    ['reader', read, '/p', '/q'],
    ['writer', write, '/p', '/q'],
    ['exact', readWrite, '/p/f', ''],
    ['inside', readWrite, '/p/', '/p0'],
  ];
  for (const [name, permType, key, range_end] of ranges) {
    await change('RoleAdd', { name });
    await change('RoleGrantPermission', { name, perm: { permType, key, range_end } });
  }
  await change('RoleAdd', { name: 'root' });
  for (const name of [...USERS, 'changed']) {
    await change('UserAdd', { name, password: `${name}'s` });
    const roles =
      name === 'none' ? [] : name === 'both' ? ['reader', 'writer'] : name === 'changed' ? ['root'] : [name];
    for (const role of roles) await change('UserGrantRole', { user: name, role });
  }
  for (const key of ['/p/f', '/p/d/x', '/q/f']) await member.ok('/etcdserverpb.KV/Put', putRequest(key, 'v'));
  await change('AuthEnable', {});
  for (const name of USERS) tokens.set(name, await member.login(name, `${name}'s`));
  // Right once, so remembered as right.
  expect((await ask(keys('GET', '/p/f', ALL), basic('changed', "changed's"))).status).toBe(200);
  await change('UserChangePassword', { name: 'changed', password: 'new' }, { token: tokens.get('root')! });
});
afterAll(async () => {
  await member.stop();
});

const BAD: readonly (readonly [string, () => Record<string, string>])[] = [
  ['none', () => ({})],
  ['a wrong password', () => basic('root', 'wrong')],
  ['an empty password', () => basic('root', '')],
  ['a user who is none', () => basic('stranger', 'x')],
  ['an empty user', () => basic('', '')],
  ['a password of before', () => basic('changed', "changed's")],
  ['no colon', () => ({ Authorization: `Basic ${btoa('root')}` })],
  ['another scheme', () => ({ Authorization: 'Digest x' })],
  ['a token that is none', () => ({ Authorization: 'aaaa.1' })],
  ['an empty header', () => ({ Authorization: '' })],
];

describe('the v2 door', () => {
  it.each(CASES.map((each) => [`${each.method} ${each.path} ${each.body ?? ''}`, each] as const))(
    '%s',
    async (_name, each) => {
      for (const user of USERS) {
        const credentials = [basic(user, `${user}'s`), { Authorization: tokens.get(user)! }];
        for (const headers of credentials) {
          const { status } = await ask(each, headers);
          expect(status === 401 ? 'refused' : 'may', user).toBe(each.who.includes(user) ? 'may' : 'refused');
          cells++;
        }
      }
      for (const [what, headers] of BAD) {
        const { status, text } = await ask(each, headers());
        // Too many wrong ones are not even looked at.
        const refused = status === 401 || (status === 500 && text.includes('too many requests'));
        expect(refused, `${what}: ${status} ${text}`).toBe(true);
        cells++;
      }
    },
  );

  it('lets who is nobody ask whether auth is on, and no more', async () => {
    expect(await ask(c('GET', '/v2/auth/enable', ALL), {})).toMatchObject({ status: 200, text: '{"enabled":true}\n' });
  });

  it('tells who may write and not read nothing of what was there', async () => {
    const asWriter = basic('writer', "writer's");
    const put = (body: string, query = '') => ask(keys('PUT', `/p/secret${query}`, ALL, body), asWriter);
    await ask(keys('PUT', '/p/secret', ALL, 'value=hush'), basic('root', "root's"));
    for (const { status, text } of [
      await put('refresh=true&ttl=1000'),
      await put('refresh=true&ttl=1000', '?prevExist=true'),
      await put('ttl=1000&value=mine', '?prevExist=true'),
      await ask(keys('DELETE', '/p/secret', ALL), asWriter),
    ]) {
      expect(status).toBeLessThan(300);
      expect(text).not.toContain('hush');
      expect(text).not.toContain('prevNode');
    }
  });

  it('ends a wait when the leave to wait ends', async () => {
    const ended = new Promise<void>((resolve, reject) => {
      const request = httpRequest(
        `http://${member.endpoint}/v2/keys/p?wait=true&recursive=true&stream=true`,
        { headers: basic('both', "both's"), agent: false },
        (response) => {
          response.resume().on('end', resolve);
          const token = tokens.get('root')!;
          member
            .ok('/etcdserverpb.Auth/UserRevokeRole', { name: 'both', role: 'reader' }, { token })
            .catch((error: unknown) => reject(error as Error));
        },
      );
      request.on('error', reject);
      request.end();
    });
    await ended;
  });

  it('has a row in the access table for each of its methods', () => {
    const rig = new Rig();
    const paths = Object.values(v2Methods(rig.context)).map(({ path }) => path);
    expect(paths.filter((path) => !ACCESS.has(path))).toEqual([]);
    expect(cells).toBe(CASES.length * (2 * USERS.length + BAD.length));
    process.stdout.write(`v2 auth matrix: ${cells} cells\n`);
  });
});
