import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { putRequest, rangeRequest } from '../apply/harness.ts';
import { freePort } from '../support/ports.ts';
import { type Outcome, TestMember } from './member.ts';

/** Three members in this process, each asked in turn. */
const AUTH = '/etcdserverpb.Auth/';
const KV = '/etcdserverpb.KV/';

let folder: string;
const members: TestMember[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'roster-auth-cluster-'));
  const urls = await Promise.all([1, 2, 3].map(async () => `http://127.0.0.1:${await freePort()}`));
  const initial = urls.map((url, i) => `m${i}=${url}`).join(',');
  for (const [i, url] of urls.entries()) {
    const flags = ['--name', `m${i}`, '--listen-peer-urls', url, '--initial-advertise-peer-urls', url];
    members.push(new TestMember(join(folder, `m${i}`), [...flags, '--initial-cluster', initial]));
  }
  await Promise.all(members.map((member) => member.start()));
}, 60_000);
afterAll(async () => {
  await Promise.all(members.map((member) => member.pause()));
  await rm(folder, { recursive: true, force: true });
});

const said = (outcome: Outcome) => ('message' in outcome ? 'ok' : outcome.text);

it('a token is good on every member at once, and so is every change of auth', async () => {
  const [a, b, c] = members as [TestMember, TestMember, TestMember];
  await a.ok(`${AUTH}UserAdd`, { name: 'root', password: 'secret' });
  await b.ok(`${AUTH}UserGrantRole`, { user: 'root', role: 'root' });
  await c.ok(`${AUTH}UserAdd`, { name: 'u', password: 'u' });
  await a.ok(`${AUTH}RoleAdd`, { name: 'r' });
  await b.ok(`${AUTH}UserGrantRole`, { user: 'u', role: 'r' });
  await c.ok(`${AUTH}AuthEnable`);
  for (let round = 0; round < 12; round++) {
    const at = (i: number) => members[(round + i) % 3]!;
    const root = { token: await at(0).login('root', 'secret') };
    const u = { token: await at(1).login('u', 'u') };
    expect(said(await at(1).grpc(`${KV}Put`, putRequest('k', String(round)), root))).toBe('ok');
    expect(said(await at(2).grpc(`${KV}Range`, rangeRequest('k'), u))).toBe('etcdserver: permission denied');
    const perm = { permType: 0, key: 'k', range_end: '' };
    await at(0).ok(`${AUTH}RoleGrantPermission`, { name: 'r', perm }, root);
    expect(said(await at(2).grpc(`${KV}Range`, rangeRequest('k'), u)), 'the moment it is granted').toBe('ok');
    await at(1).ok(`${AUTH}RoleRevokePermission`, { role: 'r', key: 'k' }, root);
    expect(said(await at(0).grpc(`${KV}Range`, rangeRequest('k'), u)), 'the moment it is revoked').toBe(
      'etcdserver: permission denied',
    );
    await at(2).ok(`${AUTH}UserChangePassword`, { name: 'u', password: 'u' }, root);
    expect(said(await at(0).grpc(`${KV}Range`, rangeRequest('k'), u))).toBe('etcdserver: invalid auth token');
  }
  const old = { token: await a.login('root', 'secret') };
  await Promise.all(members.map((member) => member.pause()));
  await Promise.all(members.map((member) => member.start()));
  for (const member of members) expect(said(await member.grpc(`${KV}Range`, rangeRequest('k'), old))).toBe('ok');
}, 120_000);
