/**
 * `npm run bench -- catchup`: a follower is down for many writes, more than any log keeps, and comes back while the
 * cluster serves puts. How long until it has caught up, and what the clients of the others feel of it.
 */
import { parseArgs } from 'node:util';
import { Load, type LoadResult } from './load.ts';
import { CONNECTIONS_MAX, randomPuts, VALUE_BYTES } from './puts.ts';
import { type ClusterUnderTest, type MemberUnderTest, type ServerName, serverNames, startServers } from './servers.ts';
import { hashOf, leaderOf, statusOf } from './status.ts';

const help = `npm run bench -- catchup [options]
  --writes 200000     puts while the follower is down
  --clients 10        logical clients while latencies are taken; they call the two other members in turn
  --seconds 10        how long latencies are taken before
  --folder DIR        where the data directories go (default: the system's temporary folder)
  --only roster|etcd  one server alone`;

const CATCHUP_TIMEOUT_MS = 300_000;
const POLL_MS = 50;
/** Logical clients that make the many writes. */
const FILLING_CLIENTS = 200;

interface Settings {
  writes: number;
  clients: number;
  seconds: number;
}

export async function benchCatchup(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      writes: { type: 'string', default: '200000' },
      clients: { type: 'string', default: '10' },
      seconds: { type: 'string', default: '10' },
      folder: { type: 'string' },
      only: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(help);
  const settings = {
    writes: Number(values.writes),
    clients: Number(values.clients),
    seconds: Number(values.seconds),
  };
  console.log(
    `3 nodes, ${settings.clients} clients put ${VALUE_BYTES}-byte values through two of them; the third is down for ${settings.writes} puts\n`,
  );
  for (const name of serverNames) {
    if (values.only !== undefined && values.only !== name) continue;
    const cluster = await startServers(name, 3, { folder: values.folder });
    try {
      await catchUp(cluster, settings);
    } finally {
      await cluster.stop();
    }
  }
}

async function catchUp(cluster: ClusterUnderTest, { writes, clients, seconds }: Settings): Promise<void> {
  const leader = await leaderOf(cluster.members);
  const follower = cluster.members.find((member) => member !== leader)!;
  const ports = cluster.members.filter((member) => member !== follower).map(({ port }) => port);
  const put = { ports, kinds: [randomPuts] as const, connections: CONNECTIONS_MAX };
  const filling = await Load.open({ ...put, clients: FILLING_CLIENTS });
  const load = await Load.open({ ...put, clients });
  try {
    await load.run(2_000);
    const healthy = await load.run(seconds * 1000);
    tell(cluster.name, 'all three up', healthy);
    await follower.end('SIGKILL');
    const filled = await filling.run((calls) => calls < writes);
    console.log(
      `  ${cluster.name.padEnd(7)} ${writes} puts at ${filled.perSecond.toFixed(0)}/s with the follower down`,
    );
    await load.run(2_000);
    const before = await load.run(seconds * 1000);
    tell(cluster.name, 'follower down', before);

    let caughtUp = false;
    const startedMs = performance.now();
    follower.start();
    const [during, tookMs] = await Promise.all([
      load.run(() => !caughtUp),
      hasCaughtUp(follower, leader)
        .then(
          () => performance.now() - startedMs,
          (error: unknown) => error,
        )
        .finally(() => {
          caughtUp = true;
        }),
    ]);
    if (typeof tookMs !== 'number') throw tookMs;
    tell(cluster.name, 'catching up', during);
    const times = (other: LoadResult): string =>
      `${(during.latencyMs.percentile(0.99) / other.latencyMs.percentile(0.99)).toFixed(2)}x`;
    console.log(
      `  ${cluster.name.padEnd(7)} caught up ${(tookMs / 1000).toFixed(1)} s after its start; p99 meanwhile ${times(before)} of just before, ${times(healthy)} of all three up; ${await sameHashes(cluster.members)}\n`,
    );
  } finally {
    filling.close();
    load.close();
  }
}

function tell(name: ServerName, what: string, { perSecond, latencyMs }: LoadResult): void {
  const at = (p: number) => latencyMs.percentile(p).toFixed(2);
  console.log(
    `  ${name.padEnd(7)} ${what.padEnd(13)} ${perSecond.toFixed(0).padStart(7)}/s   p50 ${at(0.5)} ms   p99 ${at(0.99)} ms   p99.9 ${at(0.999)} ms`,
  );
}

/** Resolves when the follower has applied what the leader had applied a moment before. */
export async function hasCaughtUp(follower: MemberUnderTest, leader: MemberUnderTest): Promise<void> {
  const deadline = performance.now() + CATCHUP_TIMEOUT_MS;
  for (;;) {
    const goal = (await statusOf(leader)).raftAppliedIndex;
    const reached = await statusOf(follower).then(
      (status) => status.raftAppliedIndex,
      () => undefined,
    );
    if (reached !== undefined && reached >= goal) return;
    if (performance.now() > deadline)
      throw new Error(`the follower is at ${reached} of ${goal} after ${CATCHUP_TIMEOUT_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function sameHashes(members: readonly MemberUnderTest[]): Promise<string> {
  const { header } = await hashOf(members[0]!, 0);
  const hashes = await Promise.all(members.map((member) => hashOf(member, header!.revision)));
  const same = hashes.every(({ hash }) => hash === hashes[0]!.hash);
  if (!same) throw new Error(`the members' hashes differ: ${hashes.map(({ hash }) => hash).join()}`);
  return 'all three have the same hash';
}
