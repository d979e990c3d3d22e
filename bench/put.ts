/**
 * `npm run bench -- put`: durable puts of 256-byte values against Debian's etcd and this build, in turn, on the same
 * machine, with the same load generator.
 */
import { parseArgs } from 'node:util';
import { encode } from '../core/wire/binary.ts';
import { PutRequest } from '../core/wire/messages.ts';
import { median } from './histogram.ts';
import { type LoadResult, runLoad } from './load.ts';
import { type ServerUnderTest, startServer } from './servers.ts';

const KEY_SPACE = 100_000;
const VALUE_BYTES = 256;
/** As in etcd's own published benchmark: 100 connections for many clients. */
const CONNECTIONS_MAX = 100;

const help = `npm run bench -- put [options]
  --clients 1,100,1000   logical clients, one run each
  --seconds 5            length of one run
  --rounds 5             runs of each server, alternating
  --folder DIR           where the data directories go (default: the system's temporary folder)
  --only roster|etcd     one server alone, for profiling`;

export async function benchPut(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      clients: { type: 'string', default: '1,100,1000' },
      seconds: { type: 'string', default: '5' },
      rounds: { type: 'string', default: '5' },
      folder: { type: 'string' },
      only: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(help);
  const names = (['etcd', 'roster'] as const).filter((name) => values.only === undefined || values.only === name);
  const servers: ServerUnderTest[] = [];
  try {
    for (const name of names) servers.push(await startServer(name, values.folder));
    console.log(
      `put, ${VALUE_BYTES}-byte values, ${KEY_SPACE} keys, ${values.rounds} rounds of ${values.seconds} s each, in turn\n`,
    );
    for (const clients of values.clients.split(',').map(Number)) {
      await compare(servers, clients, Number(values.seconds), Number(values.rounds));
    }
  } finally {
    for (const server of servers) await server.stop();
  }
}

const value = Buffer.alloc(VALUE_BYTES, 'v');

function randomPut(): Uint8Array {
  const key = `key-${String(Math.floor(Math.random() * KEY_SPACE)).padStart(6, '0')}`;
  return encode(PutRequest, { key, value });
}

async function compare(
  servers: readonly ServerUnderTest[],
  clients: number,
  seconds: number,
  rounds: number,
): Promise<void> {
  const results = new Map<string, LoadResult[]>(servers.map(({ name }) => [name, []]));
  const load = (server: ServerUnderTest, length: number) =>
    runLoad({
      port: server.port,
      clients,
      connections: CONNECTIONS_MAX,
      seconds: length,
      path: '/etcdserverpb.KV/Put',
      request: randomPut,
    });
  for (const server of servers) await load(server, Math.min(2, seconds));
  for (let round = 0; round < rounds; round++) {
    for (const server of servers) results.get(server.name)!.push(await load(server, seconds));
  }
  report(results, clients);
}

function report(results: ReadonlyMap<string, readonly LoadResult[]>, clients: number): void {
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
