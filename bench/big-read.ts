/**
 * `npm run bench -- bigread`: one client lists a large store again and again, in one range, while others make small puts.
 * What the puts feel of it, and how much memory the server takes for it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { encode } from '../core/wire/binary.ts';
import { PutRequest } from '../core/wire/messages.ts';
import { fill } from './fill.ts';
import { Lister, type ListerReport } from './lister.ts';
import { Load, type LoadResult } from './load.ts';
import type { LoopDelay } from './loop-probe.ts';
import { memoryOf } from './proc.ts';
import { PUT_PATH } from './puts.ts';
import { type ClusterUnderTest, type ServerName, serverNames, startServers } from './servers.ts';

const help = `npm run bench -- bigread [options]
  --megabytes 500     what the store holds, and each list returns
  --value-bytes 1024  of each key
  --clients 10        that make small puts
  --rate 500          puts a second in the open loop
  --seconds 15        length of each phase at least; while it lists, it goes on until --lists are complete
  --lists 3           complete lists in each phase at least
  --folder DIR        where the data directories go (default: the system's temporary folder)
  --only roster|etcd  one server alone`;

const MIB = 1024 * 1024;
/** From the filling to the first measurement. */
const SETTLE_MS = 3000;
/** However few lists were complete by then. */
const PHASE_MS_MAX = 180_000;

export interface BigReadOptions {
  readonly megabytes: number;
  readonly valueBytes: number;
  readonly clients: number;
  readonly rate: number;
  readonly seconds: number;
  readonly lists: number;
  readonly folder?: string | undefined;
}

/** One phase, measured with a closed and with an open loop. Milliseconds. */
export interface PutLatencies {
  readonly closed: LoadResult;
  readonly open: LoadResult;
  /** Undefined while nobody lists. */
  readonly listed: ListerReport | undefined;
  /** Of Roster's event loop. */
  readonly loop: LoopDelay | undefined;
  /** The most the server has held so far. */
  readonly peakBytes: number;
}

export async function benchBigRead(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      megabytes: { type: 'string', default: '500' },
      'value-bytes': { type: 'string', default: '1024' },
      clients: { type: 'string', default: '10' },
      rate: { type: 'string', default: '500' },
      seconds: { type: 'string', default: '15' },
      lists: { type: 'string', default: '3' },
      folder: { type: 'string' },
      only: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(help);
  const options: BigReadOptions = {
    megabytes: Number(values.megabytes),
    valueBytes: Number(values['value-bytes']),
    clients: Number(values.clients),
    rate: Number(values.rate),
    seconds: Number(values.seconds),
    lists: Number(values.lists),
    folder: values.folder,
  };
  console.log(
    `${options.megabytes} MB in values of ${options.valueBytes} bytes; ${options.clients} clients make small puts, ` +
      `closed loop and open loop (${options.rate}/s), idle and while another client lists everything\n`,
  );
  for (const name of serverNames) {
    if (values.only !== undefined && values.only !== name) continue;
    const cluster = await startServers(name, 1, options);
    try {
      await compare(cluster, options);
    } finally {
      await cluster.stop();
    }
  }
}

async function compare(cluster: ClusterUnderTest, options: BigReadOptions): Promise<void> {
  const { name } = cluster;
  await fillStore(cluster, options);
  const idle = await putLatencies(cluster, options, undefined);
  tell(name, 'idle', idle);
  const listing = await putLatencies(cluster, options, 'Range');
  tell(name, 'Range', listing, idle);
  if (name === 'roster') tell(name, 'RangeStream', await putLatencies(cluster, options, 'RangeStream'), idle);
  console.log();
}

/** Fills the store and lets it come to rest. */
export async function fillStore(cluster: ClusterUnderTest, options: BigReadOptions): Promise<void> {
  const { megabytes, valueBytes } = options;
  await fill(cluster.members[0]!, { keys: Math.ceil((megabytes * 1e6) / valueBytes), valueBytes });
  await sleep(SETTLE_MS);
}

/** Small puts, in a closed and in an open loop, with or without somebody who lists. */
export async function putLatencies(
  cluster: ClusterUnderTest,
  { clients, rate, seconds, lists, megabytes }: BigReadOptions,
  method: 'Range' | 'RangeStream' | undefined,
): Promise<PutLatencies> {
  const member = cluster.members[0]!;
  const value = Buffer.alloc(64, 'v');
  const request = (client: number): Uint8Array => encode(PutRequest, { key: `put-${client}`, value });
  const load = await Load.open({
    ports: [member.port],
    clients,
    connections: clients,
    kinds: [{ path: PUT_PATH, request }],
  });
  const lister = method === undefined ? undefined : new Lister(member.port, method, megabytes * 1e6);
  try {
    const measure = (perSecond?: number): Promise<LoadResult> => {
      const startMs = performance.now();
      const before = lister?.lists ?? 0;
      const goesOn = (): boolean => {
        const tookMs = performance.now() - startMs;
        if (lister?.failed !== undefined) throw lister.failed;
        const complete = lister === undefined || lister.lists - before >= lists || tookMs > PHASE_MS_MAX;
        return tookMs < seconds * 1000 || !complete;
      };
      return load.run(goesOn, perSecond === undefined ? {} : { perSecond });
    };
    await load.run(1000);
    member.beginLoop();
    const closed = await measure();
    const open = await measure(rate);
    const loop = await member.endLoop();
    const listed = await lister?.stop();
    return { closed, open, listed, loop, peakBytes: (await memoryOf(member.pid)).peakBytes };
  } finally {
    load.close();
    await lister?.stop();
  }
}

function tell(name: ServerName, phase: string, now: PutLatencies, idle?: PutLatencies): void {
  const percentiles = ({ latencyMs }: LoadResult): string =>
    [0.5, 0.99, 0.999].map((p) => latencyMs.percentile(p).toFixed(2)).join(' / ');
  const times = (of: (latencies: PutLatencies) => LoadResult): string =>
    idle === undefined
      ? ''
      : ` (p99 ${(of(now).latencyMs.percentile(0.99) / of(idle).latencyMs.percentile(0.99)).toFixed(1)}x)`;
  console.log(
    `  ${name.padEnd(7)} ${phase.padEnd(12)} p50 / p99 / p99.9 ms: closed ${percentiles(now.closed)}${times((l) => l.closed)}, ` +
      `${now.closed.perSecond.toFixed(0)}/s; open ${percentiles(now.open)}${times((l) => l.open)}, longest ${now.open.latencyMs.maxMs.toFixed(0)} ms; ` +
      `peak memory ${(now.peakBytes / MIB).toFixed(0)} MiB`,
  );
  const indent = ''.padEnd(22);
  if (now.loop !== undefined)
    console.log(
      `${indent} turns of the event loop: p99.9 ${now.loop.p999Ms.toFixed(1)} ms, longest ${now.loop.maxMs.toFixed(0)} ms; ` +
        `${now.loop.fullCollections} garbage collections of the whole heap`,
    );
  if (now.listed === undefined) return;
  const { lists, bytes, seconds, longestSeconds } = now.listed;
  console.log(
    `${indent} ${lists} lists complete, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s, the longest took ${longestSeconds.toFixed(1)} s`,
  );
}
