/**
 * check perf and check datascale: loads of a fixed size, and whether the cluster bore them, by etcdctl's limits. Owns the
 * load and the verdict; removes the keys it wrote.
 */
import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import type { Client } from '../../client/index.ts';
import { prefixRange } from '../../client/key.ts';
import { methods } from '../../client/methods.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { goQuote } from '../go-text.ts';
import { ProgressBar } from '../output/progress-bar.ts';
import { Pace, Results } from './load.ts';
import { residentBytes } from './memory-metric.ts';
import { integer } from './numbers.ts';

interface CheckFlags {
  load: string;
  prefix: string;
  autoCompact?: boolean;
  autoDefrag?: boolean;
}

interface PerfFlags extends CheckFlags {
  duration: number;
}

const ALIASES: Readonly<Record<string, string>> = { small: 's', medium: 'm', large: 'l', xLarge: 'xl' };
/** Writes a second, and clients that send them. */
const PERF = {
  s: { rate: 150, clients: 50 },
  m: { rate: 1_000, clients: 200 },
  l: { rate: 8_000, clients: 500 },
  xl: { rate: 15_000, clients: 1_000 },
} as const;
/** Pairs of 1 KiB. */
const SCALE = {
  s: { pairs: 10_000, clients: 50 },
  m: { pairs: 100_000, clients: 200 },
  l: { pairs: 1_000_000, clients: 500 },
  xl: { pairs: 3_000_000, clients: 1_000 },
} as const;
/** Clients share connections: what is measured is the server. */
const CONNECTIONS_MAX = 10;
const SLOWEST_SECONDS_MAX = 0.5;
const STDDEV_SECONDS_MAX = 0.1;
const RATE_SHARE_MIN = 0.9;
const CLEANUP_MS = 30_000;

export function addCheckCommands(program: Command, context: Context): void {
  const check = program.command('check').description('Checks properties of the cluster: performance, memory');
  const common = (command: Command, prefix: string) =>
    command
      .option('--load <load>', 's(small), m(medium), l(large) or xl(xLarge)', 's')
      .option('--prefix <prefix>', 'where the keys are written', prefix)
      .option('--auto-compact', 'compact the store when done')
      .option('--auto-defrag', 'defragment the store when done');
  common(check.command('perf').description('Check the performance of the cluster'), '/etcdctl-check-perf/')
    .option('--duration <seconds>', 'how long the load lasts', integer('duration'), 60)
    .action((flags: PerfFlags) => perf(context, flags));
  common(
    check.command('datascale').description('Check the memory a server needs to hold data'),
    '/etcdctl-check-datascale/',
  ).action((flags: CheckFlags) => datascale(context, flags));
}

function loadOf<T>(loads: Readonly<Record<string, T>>, name: string): T {
  const load = loads[ALIASES[name] ?? name];
  if (load === undefined) throw new CommandError(`unknown load option ${name}`, Exit.BAD_FEATURE);
  return load;
}

async function refuseUsed(context: Context, prefix: string): Promise<void> {
  const { count } = await context.client.range({ ...prefixRange(prefix), count_only: true }, context.call);
  if (count === 0) return;
  const text = `prefix ${goQuote(prefix)} has keys. Delete with rosterctl del --prefix ${prefix} first`;
  throw new CommandError(text, Exit.INVALID_INPUT);
}

async function withClients(context: Context, count: number, work: (clients: Client[]) => Promise<void>) {
  const clients = Array.from({ length: Math.min(count, CONNECTIONS_MAX) }, () => context.clientOf());
  try {
    await work(clients);
  } finally {
    for (const client of clients) client.close();
  }
}

/** As many writers as `count`, each sending until `go` says that there is no more to send. */
async function write(
  context: Context,
  clients: readonly Client[],
  count: number,
  { prefix, keyBytes, valueBytes }: { prefix: string; keyBytes: number; valueBytes: number },
  go: () => Promise<boolean>,
): Promise<Results> {
  const results = new Results();
  const value = Buffer.alloc(valueBytes);
  const writer = async (client: Client): Promise<void> => {
    while ((await go()) && !context.io.signal.aborted) {
      const key = Buffer.alloc(keyBytes);
      randomBytes(9).copy(key);
      const started = performance.now();
      const error = await client.put(Buffer.concat([Buffer.from(prefix), key]), value, context.call).then(
        () => undefined,
        (reason: Error) => reason.message,
      );
      results.add((performance.now() - started) / 1_000, error);
    }
  };
  await Promise.all(Array.from({ length: count }, (_, i) => writer(clients[i % clients.length]!)));
  return results;
}

async function cleanUp(context: Context, { prefix, autoCompact, autoDefrag }: CheckFlags): Promise<void> {
  const { client, call, globals } = context;
  const { header } = await client.delete(prefix, { prefix: true, timeoutMs: CLEANUP_MS, ...call });
  if (autoCompact) {
    await client.compact(header?.revision ?? 0, { physical: true, timeoutMs: CLEANUP_MS, ...call });
    context.print(`Compacted with revision ${header?.revision ?? 0}`);
  }
  for (const endpoint of autoDefrag ? globals.endpoints : []) {
    await client.call(methods.defragment, {}, { endpoint, timeoutMs: CLEANUP_MS, ...call });
    context.print(`Defragmented ${goQuote(endpoint)}`);
  }
}

async function perf(context: Context, flags: PerfFlags): Promise<void> {
  const { rate, clients: count } = loadOf(PERF, flags.load);
  await refuseUsed(context, flags.prefix);
  await withClients(context, count, async (clients) => {
    const bar = new ProgressBar(context.io.stderr, 'writing');
    const pace = new Pace(rate, flags.duration);
    const seconds = (value: number) => `${Math.round(value)}s`;
    const results = await write(
      context,
      clients,
      count,
      { prefix: flags.prefix, keyBytes: 256, valueBytes: 1024 },
      () => {
        bar.show(pace.elapsedSeconds, flags.duration, seconds);
        return pace.next(context.io.signal);
      },
    );
    const { elapsedSeconds } = pace;
    bar.end();
    await cleanUp(context, flags);
    const passed = [
      tellErrors(context, results),
      tellRate(context, results.count / elapsedSeconds, rate),
      tellLimit(
        context,
        results.slowest,
        SLOWEST_SECONDS_MAX,
        'Slowest request took',
        'Slowest request took too long:',
      ),
      tellLimit(context, results.stddev, STDDEV_SECONDS_MAX, 'Stddev is', 'Stddev too high:'),
    ];
    const ok = passed.every(Boolean);
    context.print(ok ? 'PASS' : 'FAIL');
    if (!ok) throw new CommandError('');
  });
}

function tellErrors(context: Context, { errors }: Results): boolean {
  if (errors.size === 0) return true;
  context.print('FAIL: too many errors');
  for (const [text, times] of errors) context.print(`FAIL: ERROR(${text}) -> ${times}`);
  return false;
}

function tellRate(context: Context, rate: number, wanted: number): boolean {
  const ok = rate / wanted > RATE_SHARE_MIN;
  const whole = Math.floor(rate) + 1;
  context.print(ok ? `PASS: Throughput is ${whole} writes/s` : `FAIL: Throughput too low: ${whole} writes/s`);
  return ok;
}

function tellLimit(context: Context, seconds: number, limit: number, good: string, bad: string): boolean {
  const ok = seconds <= limit;
  context.print(ok ? `PASS: ${good} ${seconds.toFixed(6)}s` : `${bad} ${seconds.toFixed(6)}s`);
  return ok;
}

async function datascale(context: Context, flags: CheckFlags): Promise<void> {
  const { pairs, clients: count } = loadOf(SCALE, flags.load);
  await refuseUsed(context, flags.prefix);
  const before = await residentBytes(context);
  context.print(
    `Start data scale check for work load [${pairs} key-value pairs, 1024 bytes per key-value, ${count} concurrent clients].`,
  );
  await withClients(context, count, async (clients) => {
    const bar = new ProgressBar(context.io.stderr, 'writing');
    let sent = 0;
    const results = await write(
      context,
      clients,
      count,
      { prefix: flags.prefix, keyBytes: 512, valueBytes: 512 },
      async () => {
        bar.show(sent, pairs, String);
        return sent++ < pairs;
      },
    );
    bar.end();
    const after = await residentBytes(context);
    await cleanUp(context, flags);
    if (!tellErrors(context, results)) throw new CommandError('');
    const megabytes = ((after - before) / (1024 * 1024)).toFixed(2);
    context.print(`PASS: Approximate system memory used : ${megabytes} MB.`);
  });
}
