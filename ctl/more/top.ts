/** top: what the members do, measured between two looks at their status and metrics. Draws over itself on a terminal. */
import type { Command } from 'commander';
import { sleep } from '../../client/wait.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { parseGoDuration } from '../go-text.ts';
import { getText } from '../http.ts';
import { unsupported } from '../output/print.ts';
import { tableLines } from '../output/table.ts';
import { humanBytes } from '../output/text.ts';
import { endpointsOf } from '../v3/endpoint.ts';
import { integer } from '../v3/numbers.ts';

interface TopFlags {
  interval: string;
  count: number;
  cluster?: boolean;
}

/** One look at one member. */
interface Look {
  atMs: number;
  role: string;
  version: string;
  dbBytes: number;
  raftIndex: number;
  /** Sums of the server, by name; empty when it has no metrics. */
  totals: ReadonlyMap<string, number>;
}

const INTERVAL_MS_MIN = 100;

export function addTopCommand(program: Command, context: Context): void {
  program
    .command('top')
    .description('Shows what the members do, again and again')
    .option('--cluster', 'use all endpoints from the cluster member list')
    .option('--interval <duration>', 'between two looks', '2s')
    .option('--count <n>', 'end after so many; 0: when interrupted', integer('count'), 0)
    .addHelpText('after', '\nExample:\n  $ rosterctl top --cluster --interval 1s')
    .action((flags: TopFlags) => top(context, flags));
}

async function top(context: Context, flags: TopFlags): Promise<void> {
  const interval = parseGoDuration(flags.interval);
  if (interval === undefined || interval < INTERVAL_MS_MIN) {
    throw new CommandError(`--interval is a duration of at least ${INTERVAL_MS_MIN}ms, such as 2s`, Exit.BAD_ARGUMENTS);
  }
  const { format } = context.globals;
  if (!['simple', 'table', 'json'].includes(format)) throw unsupported(format);
  const endpoints = await endpointsOf(context, flags.cluster === true);
  const { signal, stdout } = context.io;
  let before = await lookAtAll(context, endpoints);
  for (let shown = 1; !signal.aborted; shown++) {
    await sleep(interval, signal);
    if (signal.aborted) break;
    const now = await lookAtAll(context, endpoints);
    const rows = endpoints.map((endpoint) => rowOf(endpoint, before.get(endpoint), now.get(endpoint)));
    before = now;
    if (format === 'json')
      context.print(JSON.stringify(rows.map((row) => Object.fromEntries(row.map((cell, i) => [HEAD[i], cell])))));
    else {
      const clear = (stdout as { isTTY?: boolean }).isTTY === true ? '\x1b[H\x1b[J' : '';
      stdout.write(`${clear}${tableLines(HEAD, rows).join('\n')}\n`);
    }
    if (shown === flags.count) return;
  }
  context.exitCode = Exit.OK;
}

const HEAD = ['endpoint', 'role', 'version', 'db size', 'entries/s', 'requests/s', 'in/s', 'out/s', 'watchers'];

async function lookAtAll(context: Context, endpoints: readonly string[]): Promise<Map<string, Look | string>> {
  const looks = await Promise.all(
    endpoints.map((endpoint) => lookAt(context, endpoint).catch((error: Error) => error.message)),
  );
  return new Map(endpoints.map((endpoint, i) => [endpoint, looks[i]!]));
}

async function lookAt(context: Context, endpoint: string): Promise<Look> {
  const status = await context.client.status(endpoint, context.call);
  const text = await getText(context, endpoint, '/metrics').catch(() => '');
  const role = status.isLearner ? 'learner' : status.leader === status.header?.member_id ? 'leader' : 'follower';
  return {
    atMs: performance.now(),
    role: status.leader === 0n ? 'no leader' : role,
    version: status.version,
    dbBytes: status.dbSize,
    raftIndex: status.raftIndex,
    totals: totalsOf(text),
  };
}

const METRICS: Readonly<Record<string, RegExp>> = {
  requests: /^grpc_server_started_total(?:\{.*\})? (\S+)$/gm,
  received: /^etcd_network_client_grpc_received_bytes_total (\S+)$/gm,
  sent: /^etcd_network_client_grpc_sent_bytes_total (\S+)$/gm,
  watchers: /^etcd_debugging_mvcc_watcher_total (\S+)$/gm,
};

function totalsOf(text: string): Map<string, number> {
  const totals = new Map<string, number>();
  for (const [name, pattern] of Object.entries(METRICS)) {
    const numbers = [...text.matchAll(pattern)].map((match) => Number(match[1]));
    if (numbers.length > 0)
      totals.set(
        name,
        numbers.reduce((sum, one) => sum + one, 0),
      );
  }
  return totals;
}

function rowOf(endpoint: string, before: Look | string | undefined, now: Look | string | undefined): string[] {
  if (now === undefined || typeof now === 'string') return [endpoint, 'unreachable', '', '', '', '', '', '', ''];
  const then = before === undefined || typeof before === 'string' ? now : before;
  const seconds = Math.max((now.atMs - then.atMs) / 1_000, 0.001);
  const rate = (value: number, old: number) => Math.max(value - old, 0) / seconds;
  const total = (name: string, spell: (value: number) => string) => {
    const value = now.totals.get(name);
    return value === undefined ? '-' : spell(rate(value, then.totals.get(name) ?? value));
  };
  const whole = (value: number) => String(Math.round(value));
  const bytes = (value: number) => humanBytes(Math.round(value));
  return [
    endpoint,
    now.role,
    now.version,
    humanBytes(now.dbBytes),
    whole(rate(now.raftIndex, then.raftIndex)),
    total('requests', whole),
    total('received', bytes),
    total('sent', bytes),
    now.totals.has('watchers') ? whole(now.totals.get('watchers')!) : '-',
  ];
}
