import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import { type RunningDns, startDns } from '../support/dns.ts';
import { type RunningEtcd, startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import {
  type RunningCluster,
  type RunningMember,
  type RunningRoster,
  startCluster,
  startRoster,
} from '../support/roster.ts';

/** Founders that are told nothing of each other find each other: real processes throughout. */

const TIMEOUT_MS = 120_000;
const QUICK = ['--heartbeat-interval', '50', '--election-timeout', '500'];

let cluster: RunningCluster | undefined;
afterEach(async () => {
  await cluster?.stop();
  cluster = undefined;
});

async function membersAt(member: RunningMember) {
  const client = new Client({ endpoints: [member.endpoint] });
  try {
    return (await client.memberList()).members;
  } finally {
    client.close();
  }
}

describe('three founders by DNS', () => {
  let dns: RunningDns;
  beforeAll(async () => {
    dns = await startDns();
  });
  afterAll(() => dns.stop());

  it(
    'become one cluster, with the URLs of the records',
    async () => {
      dns.a.set('here.example.org', ['127.0.0.1']);
      cluster = await startCluster(3, (members) => {
        const port = ({ peerUrl }: RunningMember) => Number(new URL(peerUrl).port);
        dns.srv.set(
          '_etcd-server-green._tcp.example.org',
          members.map((member) => ({ host: '127.0.0.1', port: port(member) })),
        );
        return [
          ...QUICK,
          '--initial-cluster=',
          '--discovery-srv',
          'example.org',
          '--discovery-srv-name',
          'green',
        ].concat(['--discovery-dns-servers', dns.address]);
      });
      const { members } = cluster;
      const listed = await membersAt(members[0]!);
      expect(listed.map(({ name }) => name).sort()).toEqual(['m1', 'm2', 'm3']);
      expect(listed.flatMap(({ peerURLs }) => peerURLs).sort()).toEqual(members.map(({ peerUrl }) => peerUrl).sort());
      // The data directory says it from now on.
      const before = dns.asked.length;
      await members[2]!.kill();
      await members[2]!.start();
      expect(dns.asked.length).toBe(before);
      // Who is added later finds the others the same way.
      const fourth = await cluster.place('m4');
      const added = await fetch(`http://${members[0]!.endpoint}/v3/cluster/member/add`, {
        method: 'POST',
        body: JSON.stringify({ peerURLs: [fourth.peerUrl] }),
      });
      expect(added.status).toBe(200);
      await fourth.start();
      expect((await membersAt(fourth)).map(({ name }) => name).sort()).toEqual(['m1', 'm2', 'm3', 'm4']);
    },
    TIMEOUT_MS,
  );

  it('a member without records does not start, and says why', async () => {
    const args = ['--discovery-srv', 'none.example.org', '--discovery-dns-servers', dns.address];
    const failed = await startRoster(args).then(
      () => 'it has started',
      (error: Error) => error.message,
    );
    expect(failed).toContain('there are no SRV records _etcd-server-ssl._tcp.none.example.org');
  });
});

const etcd = findPeer('etcd');

describe.each([
  ['Roster', () => startRoster()],
  ...(etcd === undefined ? [] : [['etcd', () => startEtcd(etcd)] as const]),
] as const)(
  'three founders by a discovery service that is %s',
  (_, start: () => Promise<RunningRoster | RunningEtcd>) => {
    let service: RunningRoster | RunningEtcd;
    let client: Client;
    beforeAll(async () => {
      service = await start();
      client = new Client({ endpoints: [service.endpoint] });
    }, TIMEOUT_MS);
    afterAll(async () => {
      client.close();
      await service.stop();
    });

    const flags = (token: string) =>
      [...QUICK, '--initial-cluster=', '--discovery-token', token].concat([
        '--discovery-endpoints',
        `http://${service.endpoint}`,
      ]);

    it(
      'become one cluster; a fourth is too late',
      async () => {
        await client.put('/_etcd/registry/blue/_config/size', '3');
        cluster = await startCluster(3, () => flags('blue'));
        const listed = await membersAt(cluster.members[1]!);
        expect(listed.map(({ name }) => name).sort()).toEqual(['m1', 'm2', 'm3']);
        const { kvs } = await client.getPrefix('/_etcd/registry/blue/members/');
        expect(kvs.map(({ value }) => Buffer.from(value).toString()).sort()).toEqual(
          cluster.members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).sort(),
        );
        expect(kvs.map(({ key }) => key.split('/').at(-1)).sort()).toEqual(
          listed.map(({ ID }) => ID.toString(16)).sort(),
        );
        const late = await cluster.place('late');
        late.launch(['--initial-cluster-state', 'new']);
        expect(await late.gone).toBe(1);
        expect(late.log).toContain('discovery: cluster is full');
      },
      TIMEOUT_MS,
    );

    it('says what is wrong with the size', async () => {
      const failed = (token: string) =>
        startRoster(flags(token)).then(
          () => 'it has started',
          (error: Error) => error.message,
        );
      expect(await failed('green')).toContain('discovery: size key not found: put the number of founders into /_etcd');
      await client.put('/_etcd/registry/red/_config/size', 'three');
      expect(await failed('red')).toContain('discovery: size key is bad');
    });
  },
);

describe('a founder that waits', () => {
  it(
    'for a service that is not there yet, and for others, and stops when it is told to',
    async () => {
      const service = await startRoster();
      const client = new Client({ endpoints: [service.endpoint] });
      try {
        await client.put('/_etcd/registry/slow/_config/size', '2');
        await service.kill();
        cluster = await startCluster(0);
        const waiting = await cluster.place('one');
        const flags = ['--initial-cluster-state', 'new', '--initial-cluster=', '--discovery-token', 'slow'];
        waiting.launch([...flags, '--discovery-endpoints', service.endpoint]);
        await expect.poll(() => waiting.log, { timeout: 30_000 }).toContain('the discovery service does not answer');
        await service.start();
        await expect.poll(() => waiting.log, { timeout: 30_000 }).toContain('waiting for the other founders');
        expect(await waiting.terminate()).toBe(0);
        expect(waiting.log).not.toContain('serving clients');
      } finally {
        client.close();
        await service.stop();
      }
    },
    TIMEOUT_MS,
  );
});

describe('a discovery service with auth', () => {
  it(
    'takes the user of the flags, and refuses others for good',
    async () => {
      const service = await startRoster();
      const post = async (path: string, body: object) => {
        const response = await fetch(`http://${service.endpoint}/v3/${path}`, {
          method: 'POST',
          body: JSON.stringify(body),
        });
        expect(response.status).toBe(200);
      };
      const base64 = (text: string) => Buffer.from(text).toString('base64');
      try {
        await post('kv/put', { key: base64('/_etcd/registry/own/_config/size'), value: base64('1') });
        await post('auth/user/add', { name: 'root', password: 'pass:word' });
        await post('auth/role/add', { name: 'root' });
        await post('auth/user/grant', { user: 'root', role: 'root' });
        await post('auth/enable', {});
        cluster = await startCluster(0);
        const flags = ['--initial-cluster-state', 'new', '--initial-cluster=', '--discovery-token', 'own'].concat([
          '--discovery-endpoints',
          `http://${service.endpoint}`,
        ]);
        const nobody = await cluster.place('nobody');
        nobody.launch(flags);
        expect(await nobody.gone).toBe(1);
        expect(nobody.log).toContain('etcdserver: user name is empty');
        const wrong = await cluster.place('wrong');
        wrong.launch([...flags, '--discovery-user', 'root:word']);
        expect(await wrong.gone).toBe(1);
        expect(wrong.log).toContain('authentication failed, invalid user ID or password');
        const right = await cluster.place('right');
        await right.start([...flags, '--discovery-user', 'root:pass:word']);
        expect((await membersAt(right)).map(({ name }) => name)).toEqual(['right']);
      } finally {
        await service.stop();
      }
    },
    TIMEOUT_MS,
  );
});
