/**
 * `npm run bench -- put`: durable puts of 256-byte values against Debian's etcd and this build, in turn, on the same
 * machine, with the same load generator; one member each, or clusters of several.
 */
import { parseArgs } from 'node:util';
import { median } from './histogram.ts';
import { type LoadOptions, type LoadResult, runLoad } from './load.ts';
import { CONNECTIONS_MAX, KEY_SPACE, randomPuts, VALUE_BYTES, WARM_UP, warmUp } from './puts.ts';
import { type ClusterUnderTest, serverNames, startServers } from './servers.ts';
import { leaderOf } from './status.ts';

const help = `npm run bench -- put [options]
  --nodes 1              members of each cluster, all on this machine
  --target members       with several nodes: each client calls all members in turn; or only the leader: leader
  --clients 1,100,1000   logical clients, one run each
  --seconds 5            length of one run
  --rounds 5             runs of each server, alternating
  --folder DIR           where the data directories go (default: the system's temporary folder)
  --only roster|etcd     one server alone, for profiling`;

export async function benchPut(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      nodes: { type: 'string', default: '1' },
      target: { type: 'string', default: 'members' },
      clients: { type: 'string', default: '1,100,1000' },
      seconds: { type: 'string', default: '5' },
      rounds: { type: 'string', default: '5' },
      folder: { type: 'string' },
      only: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(help);
  if (values.target !== 'members' && values.target !== 'leader')
    throw new Error(`--target is members or leader\n${help}`);
  const names = serverNames.filter((name) => values.only === undefined || values.only === name);
  const nodes = Number(values.nodes);
  const clusters: ClusterUnderTest[] = [];
  try {
    for (const name of names) clusters.push(await startServers(name, nodes, { folder: values.folder }));
    console.log(
      `put, ${VALUE_BYTES}-byte values, ${KEY_SPACE} keys, ${nodeText(nodes, values.target)}, ` +
        `${values.rounds} rounds of ${values.seconds} s each, in turn, after ${WARM_UP.seconds} s of ${WARM_UP.clients} clients\n`,
    );
    for (const cluster of clusters) await warmUp(cluster);
    const rounds = { count: Number(values.rounds), seconds: Number(values.seconds) };
    for (const clients of values.clients.split(',').map(Number)) {
      report(await compare(clusters, values.target, clients, rounds), clients);
    }
  } finally {
    for (const cluster of clusters) await cluster.stop();
  }
}

function nodeText(nodes: number, target: 'members' | 'leader'): string {
  if (nodes === 1) return '1 node';
  return `${nodes} nodes, ${target === 'leader' ? 'every call to the leader' : 'each client calls all members in turn'}`;
}

type Results = ReadonlyMap<string, readonly LoadResult[]>;

async function compare(
  clusters: readonly ClusterUnderTest[],
  target: 'members' | 'leader',
  clients: number,
  rounds: { count: number; seconds: number },
): Promise<Results> {
  const results = new Map<string, LoadResult[]>(clusters.map(({ name }) => [name, []]));
  const load = async ({ members }: ClusterUnderTest, seconds: number): Promise<LoadResult> => {
    const called = target === 'leader' ? [await leaderOf(members)] : members;
    const options: LoadOptions = {
      ports: called.map(({ port }) => port),
      clients,
      connections: CONNECTIONS_MAX,
      kinds: [randomPuts],
    };
    return runLoad({ ...options, seconds });
  };
  for (const cluster of clusters) await load(cluster, Math.min(2, rounds.seconds));
  for (let round = 0; round < rounds.count; round++) {
    for (const cluster of clusters) results.get(cluster.name)!.push(await load(cluster, rounds.seconds));
  }
  return results;
}

function report(results: Results, clients: number): void {
  console.log(`${clients} client${clients === 1 ? '' : 's'}`);
  for (const [name, runs] of results) {
    const rates = runs.map((run) => run.perSecond);
    const at = (p: number) => median(runs.map((run) => run.latencyMs.percentile(p))).toFixed(2);
    console.log(
      `  ${name.padEnd(7)} ${median(rates).toFixed(0).padStart(7)}/s (${Math.min(...rates).toFixed(0)}-${Math.max(...rates).toFixed(0)})` +
        `   p50 ${at(0.5)} ms   p99 ${at(0.99)} ms   p99.9 ${at(0.999)} ms`,
    );
  }
  const etcd = results.get('etcd');
  const roster = results.get('roster');
  if (etcd === undefined || roster === undefined) return;
  const ratios = roster.map((run, i) => run.perSecond / etcd[i]!.perSecond);
  const tails = roster.map((run, i) => run.latencyMs.percentile(0.99) / etcd[i]!.latencyMs.percentile(0.99));
  console.log(
    `  ratio   throughput ${median(ratios).toFixed(2)}x (${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)})` +
      `   p99 ${median(tails).toFixed(2)}x of etcd's\n`,
  );
}
