import { closeSync, existsSync, openSync, readdirSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningCluster, type RunningMember, startCluster } from '../support/roster.ts';

/** Three real members. The tests follow each other: each goes on where the one before has left the cluster. */
const base64 = (text: string) => Buffer.from(text).toString('base64');

// Short times, a log that is cut early.
const FLAGS = ['--heartbeat-interval', '50', '--election-timeout', '500', '--backend-batch-interval', '100ms'].concat([
  '--snapshot-catchup-entries',
  '20',
]);
const TIMEOUT_MS = 120_000;

let cluster: RunningCluster;
beforeAll(async () => {
  cluster = await startCluster(3, FLAGS);
}, TIMEOUT_MS);
afterAll(() => cluster.stop());

interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: JSON
  body: any;
}

async function call(member: RunningMember, path: string, body: object): Promise<Answer> {
  const response = await fetch(`http://${member.endpoint}/v3/${path}`, { method: 'POST', body: JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
}

async function put(member: RunningMember, key: string, value: string): Promise<void> {
  expect(await call(member, 'kv/put', { key: base64(key), value: base64(value) })).toMatchObject({ status: 200 });
}

async function get(member: RunningMember, key: string, serializable = false): Promise<string | undefined> {
  const { status, body } = await call(member, 'kv/range', { key: base64(key), serializable });
  expect([status, body]).toMatchObject([200, {}]);
  const value = (body as { kvs?: { value: string }[] }).kvs?.[0]?.value;
  return value === undefined ? undefined : Buffer.from(value, 'base64').toString();
}

const status = async (member: RunningMember) => (await call(member, 'maintenance/status', {})).body;
const health = async (member: RunningMember) => {
  const response = await fetch(`http://${member.endpoint}/health`);
  return { status: response.status, text: await response.text() };
};
const membersOf = async (member: RunningMember) =>
  (await call(member, 'cluster/member/list', { linearizable: true })).body.members as {
    ID: string;
    name?: string;
    clientURLs?: string[];
    isLearner?: boolean;
  }[];

/** The member that leads, and the others. */
async function leader(among: readonly RunningMember[] = cluster.members) {
  let found: RunningMember | undefined;
  await expect
    .poll(
      async () => {
        const all = await Promise.all(among.map((member) => status(member)));
        const index = all.findIndex((one) => one.leader !== undefined && one.leader === one.header.member_id);
        found = among[index];
        return found;
      },
      { timeout: 30_000 },
    )
    .toBeDefined();
  return { lead: found!, others: among.filter((member) => member !== found) };
}

async function sameEverywhere(members: readonly RunningMember[] = cluster.members): Promise<void> {
  await expect
    .poll(
      async () => {
        const hashes = await Promise.all(members.map((member) => call(member, 'maintenance/hashkv', {})));
        return new Set(hashes.map(({ body }) => `${body.hash} at ${body.header.revision}`)).size;
      },
      { timeout: 30_000 },
    )
    .toBe(1);
}

describe('three members', { timeout: TIMEOUT_MS }, () => {
  it('are one store, whoever is asked', async () => {
    const { others } = await leader();
    await put(others[0]!, 'k', 'by a follower');
    for (const member of cluster.members) expect(await get(member, 'k')).toBe('by a follower');
    const { ID } = (await call(others[1]!, 'lease/grant', { TTL: 600 })).body;
    expect((await call(others[0]!, 'lease/keepalive', { ID })).body).toMatchObject({ result: { TTL: '600' } });
    expect((await call(others[0]!, 'kv/lease/timetolive', { ID })).body).toMatchObject({ grantedTTL: '600' });
  });

  it('know each other by name and agree on a version', async () => {
    for (const member of cluster.members) {
      const members = await membersOf(member);
      expect(members.map(({ name }) => name).sort()).toEqual(['m1', 'm2', 'm3']);
      expect(members.flatMap(({ clientURLs }) => clientURLs).sort()).toEqual(
        cluster.endpoints.map((endpoint) => `http://${endpoint}`).sort(),
      );
      const version = await (await fetch(`http://${member.endpoint}/version`)).json();
      expect(version).toMatchObject({ etcdserver: '3.7.1', etcdcluster: '3.7.0' });
      const ofPeer = await fetch(`${member.peerUrl}/members`);
      expect(await ofPeer.json()).toHaveLength(3);
    }
  });

  it('tell of each other in their metrics', async () => {
    const { lead, others } = await leader();
    const metrics = async (member: RunningMember) => (await fetch(`http://${member.endpoint}/metrics`)).text();
    expect(await metrics(lead)).toMatch(/^etcd_server_is_leader 1$/m);
    const text = await metrics(others[0]!);
    expect(text).toMatch(/^etcd_server_is_leader 0$/m);
    expect(text).toMatch(/^etcd_server_has_leader 1$/m);
    expect(text).toMatch(/^etcd_server_leader_changes_seen_total [1-9]/m);
    expect(text).toMatch(/^etcd_cluster_version\{cluster_version="3.7"\} 1$/m);
    expect(text.match(/^etcd_network_active_peers\{.*\} 1$/gm)).toHaveLength(2);
    expect(text).toMatch(/^etcd_network_peer_sent_bytes_total\{To="[0-9a-f]+"\} [1-9]/m);
    expect(text).toMatch(/^etcd_network_peer_received_bytes_total\{From="[0-9a-f]+"\} [1-9]/m);
  });

  it('lose no write of others when the leader is stopped in order, and it comes back', async () => {
    const { lead, others } = await leader();
    let stopped = false;
    const gone = lead.terminate().then((code) => {
      stopped = true;
      return code;
    });
    let written = 0;
    while (!stopped || written < 10) await put(others[written % 2]!, `stop/${written++}`, 'x');
    expect(await gone).toBe(0);
    expect(lead.log).not.toContain('not handed over');
    await leader(others);
    await lead.start();
    expect(await get(lead, `stop/${written - 1}`)).toBe('x');
  });

  it('go on when the leader is killed, and it catches up when it comes back', async () => {
    const { lead, others } = await leader();
    await lead.kill();
    await put(others[0]!, 'after', 'the kill');
    expect(await get(others[1]!, 'after')).toBe('the kill');
    await lead.start();
    expect(await get(lead, 'after')).toBe('the kill');
    await sameEverywhere();
  });

  it('give a member with a damaged log back what it has lost, and its vote', async () => {
    const { lead, others } = await leader();
    const [victim, other] = [others[0]!, others[1]!];
    for (let n = 0; n < 30; n++) await put(victim, `rot/${n}`, `${n}`);
    await victim.kill();
    const wal = join(victim.dataDir, 'member', 'wal');
    const segment = readdirSync(wal).sort()[0]!;
    const file = openSync(join(wal, segment), 'r+');
    // In the first record: later ones prove that it had been durable.
    writeSync(file, Buffer.from([0xff, 0xff, 0xff, 0xff]), 0, 4, 100);
    closeSync(file);
    await victim.start();
    expect(victim.log).toContain('the log is damaged: its files are set aside');
    expect(readdirSync(wal)).toContain(`${segment}.damaged-1`);
    await sameEverywhere();
    await other.kill();
    await put(victim, 'rot/after', 'by two');
    expect(await get(lead, 'rot/after')).toBe('by two');
    await other.start();
    await sameEverywhere();
  });

  it('bring a member up to date by a snapshot when the log is cut', async () => {
    const { others } = await leader();
    const [down, up] = others;
    await down!.kill();
    for (let i = 0; i < 200; i++) await put(up!, `snap/${i % 50}`, String(i));
    // A commit of the backend cuts the log.
    await new Promise((resolve) => setTimeout(resolve, 500));
    await put(up!, 'snap/last', 'x');
    await down!.start();
    expect(await get(down!, 'snap/last')).toBe('x');
    expect(await get(down!, 'snap/49', true)).toBe('199');
    expect(existsSync(join(down!.dataDir, 'member', 'db.current')), 'a received database has taken its place').toBe(
      true,
    );
    await sameEverywhere();
    // And it goes on from there over a start.
    await down!.kill();
    await down!.start();
    await put(down!, 'snap/again', 'y');
    await sameEverywhere();
  });

  it('refuse a member of another cluster', async () => {
    const stranger = await cluster.place('stranger');
    cluster.members.pop();
    // It believes to found a cluster with the members of this one.
    stranger.launch(['--initial-cluster-state', 'new']);
    try {
      await expect.poll(() => stranger.log, { timeout: 30_000 }).toContain('cluster id mismatch');
      await put(cluster.members[0]!, 'stranger', 'none');
      expect(await membersOf(cluster.members[0]!)).toHaveLength(3);
    } finally {
      await stranger.kill();
    }
  });

  it('take in a learner, give it the vote, and remove it, whereupon it stops', async () => {
    const [first] = cluster.members;
    const fourth = await cluster.place('m4');
    await expect(fourth.start(), 'not added yet').rejects.toThrow('m4 is not a member of the cluster');
    const added = await call(first!, 'cluster/member/add', { peerURLs: [fourth.peerUrl], isLearner: true });
    expect(added.status).toBe(200);
    const { ID } = added.body.member as { ID: string };
    await fourth.start();
    expect(await status(fourth)).toMatchObject({ isLearner: true, header: { member_id: ID } });
    expect((await call(fourth, 'kv/put', { key: base64('x') })).body).toMatchObject({
      message: 'etcdserver: rpc not supported for learner',
    });
    await expect
      .poll(async () => (await call(first!, 'cluster/member/promote', { ID })).status, { timeout: 30_000 })
      .toBe(200);
    await expect.poll(async () => (await status(fourth)).isLearner).toBeUndefined();
    await put(fourth, 'by', 'the fourth');
    // A start goes by the directory, whatever the flags say of a cluster that is not there any more.
    await fourth.kill();
    await fourth.start(['--initial-cluster', `m4=${fourth.peerUrl}`, '--initial-cluster-state', 'new']);
    expect(await get(fourth, 'by')).toBe('the fourth');
    expect((await call(first!, 'cluster/member/remove', { ID })).status).toBe(200);
    expect(await fourth.gone).toBe(0);
    expect(fourth.log).toContain('this member has been removed from the cluster');
    // And it never comes back under this id.
    fourth.launch();
    expect(await fourth.gone).toBe(0);
    expect(fourth.log).toContain('this member has been removed from the cluster');
    cluster.members.pop();
    expect(await membersOf(first!)).toHaveLength(3);
  });

  it("answer with etcd's errors when the majority is gone", async () => {
    const { lead, others } = await leader();
    await put(lead, 'left', 'behind');
    await sameEverywhere();
    const [last, other] = others;
    await Promise.all([lead.kill(), other!.kill()]);
    await expect.poll(() => health(last!), { timeout: 30_000 }).toMatchObject({ status: 503 });
    expect(await health(last!)).toEqual({ status: 503, text: '{"health":"false","reason":"RAFT NO LEADER"}\n' });
    expect(await status(last!)).toMatchObject({ errors: ['etcdserver: no leader'] });
    expect(await get(last!, 'left', true)).toBe('behind');
    const [write, read] = await Promise.all([
      call(last!, 'kv/put', { key: base64('x'), value: base64('y') }),
      call(last!, 'kv/range', { key: base64('left') }),
    ]);
    expect(write).toMatchObject({ status: 503, body: { code: 14 } });
    expect(write.body.message).toMatch(/^etcdserver: (request timed out|no leader)/);
    expect(read.body.message).toMatch(/^etcdserver: (request timed out|no leader)/);
    // A start without a majority does not hang: it says what it waits for, and serves who wants no more than that.
    await last!.kill();
    last!.launch();
    await expect.poll(() => health(last!).catch(() => undefined), { timeout: 30_000 }).toMatchObject({ status: 503 });
    expect(last!.log).toContain('waiting for a leader');
    expect(await get(last!, 'left', true)).toBe('behind');
    expect(await last!.terminate()).toBe(0);
    cluster.members.splice(0, 3, last!);
  });

  it('end as one member with --force-new-cluster, once', async () => {
    const [last] = cluster.members;
    await last!.start(['--force-new-cluster']);
    expect(last!.log).toContain('FORCING A NEW CLUSTER');
    expect(await get(last!, 'left')).toBe('behind');
    expect(await membersOf(last!)).toHaveLength(1);
    await put(last!, 'on', 'its own');
    const peer = 'http://127.0.0.1:9';
    expect((await call(last!, 'cluster/member/add', { peerURLs: [peer], isLearner: true })).status).toBe(200);
    await last!.kill();
    await last!.start(['--force-new-cluster']);
    expect(last!.log).toContain('--force-new-cluster is ignored');
    expect(await membersOf(last!)).toHaveLength(2);
    expect(await get(last!, 'on')).toBe('its own');
    await last!.kill();
    await last!.start();
    expect(await membersOf(last!)).toHaveLength(2);
    await last!.kill();
    await last!.start(['--force-new-cluster']);
    expect(await membersOf(last!)).toHaveLength(1);
    expect(await get(last!, 'on')).toBe('its own');
  });
});
