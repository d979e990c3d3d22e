/**
 * What small puts feel of large works: compaction of a million revisions, a snapshot, lists of everything. And how long
 * the turns of Roster's event loop are meanwhile.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { encode } from '../../core/wire/binary.ts';
import { CompactionRequest, PutRequest, SnapshotRequest } from '../../core/wire/messages.ts';
import { fill } from '../fill.ts';
import { callHeaders, GrpcConnection } from '../grpc-connection.ts';
import { Lister } from '../lister.ts';
import { Load } from '../load.ts';
import { type Figures, figuresOf, type Work, work } from '../measurement.ts';
import { memoryOf } from '../proc.ts';
import { CONNECTIONS_MAX, PUT_PATH, VALUE_BYTES } from '../puts.ts';
import type { ClusterUnderTest, MemberUnderTest } from '../servers.ts';
import { callOnce, statusOf } from '../status.ts';
import { puts } from './put.ts';
import { clusterCpuSeconds, oneByOne, recorded, type Section, type SectionRun, within } from './section.ts';

const CLIENTS = 10;
/** Open loop: a server that stands still does not stop the clock. */
const PUTS_PER_SECOND = 500;
const WRITING_CLIENTS = 200;
/** Overwritten until there are enough revisions. */
const OVERWRITTEN_KEYS = 10_000;
const BIG_VALUE_BYTES = 1024;
const SETTLE_MS = 3000;
const PHASE_TIMEOUT_MS = 600_000;
const COMPACTION_LOOK_MS = 500;
/** Lists and snapshots in one phase, at least. */
const TIMES = 2;
/** Roughly. */
const WRITES_PER_SECOND = 12_000;

const smallPut = { path: PUT_PATH, request: smallPutRequest };

function smallPutRequest(client: number): Uint8Array {
  return encode(PutRequest, { key: `small-${client}`, value: Buffer.alloc(64, 'v') });
}

/** What goes on beside the puts; resolves when it is done. */
type Beside = (member: MemberUnderTest) => Promise<unknown>;

export const calmSection: Section = {
  name: 'calm',
  estimateSeconds: ({ revisions, seconds }) => 2 * (revisions / WRITES_PER_SECOND + 4 * (2 * seconds + 5) + 20),
  run: (run) => oneByOne(run, 1, calmWork('idle', run), (cluster) => measure(run, cluster)),
};

function calmWork(phase: string, { scale }: SectionRun): Work {
  const keys = phase === 'compaction' ? scale.revisions : scale.bigKeys;
  return work(`small puts: ${phase}`, { clients: CLIENTS, keys, valueBytes: 64 });
}

async function measure(run: SectionRun, cluster: ClusterUnderTest): Promise<void> {
  const { scale, progress } = run;
  const member = cluster.members[0]!;
  progress(`${cluster.name}: ${scale.revisions.toLocaleString('en')} revisions are written`);
  await fill(member, { keys: scale.bigKeys, valueBytes: BIG_VALUE_BYTES });
  const ports = [member.port];
  const writing = { ports, clients: WRITING_CLIENTS, connections: CONNECTIONS_MAX };
  const writer = await Load.open({ ...writing, kinds: [puts(VALUE_BYTES, OVERWRITTEN_KEYS)] });
  const load = await Load.open({ ports, clients: CLIENTS, connections: CLIENTS, kinds: [smallPut] });
  try {
    await writer.run((calls) => calls < scale.revisions);
    await sleep(SETTLE_MS);
    await load.run(1000);
    const phases: readonly (readonly [string, Beside | undefined])[] = [
      ['idle', undefined],
      ['list of everything', (of) => listed(of, scale.bigKeys)],
      ['snapshot', repeated(snapshot)],
      ['compaction', compacted],
    ];
    for (const [phase, beside] of phases) {
      progress(`${cluster.name}: small puts, ${phase}`);
      await recorded(run, calmWork(phase, run), cluster.name, 0, () =>
        within(PHASE_TIMEOUT_MS, phase, measurePhase(cluster, load, scale.seconds, beside)),
      );
      await sleep(SETTLE_MS);
    }
  } finally {
    writer.close();
    load.close();
  }
}

/** `tookSeconds` is of what goes on beside; the puts go on as long, and `seconds` at least. */
async function measurePhase(
  cluster: ClusterUnderTest,
  load: Load,
  seconds: number,
  beside: Beside | undefined,
): Promise<Figures> {
  const member = cluster.members[0]!;
  const cpuBefore = await clusterCpuSeconds(cluster);
  member.beginLoop();
  const startMs = performance.now();
  let tookSeconds: number | undefined;
  const working = (beside?.(member) ?? Promise.resolve()).finally(() => {
    tookSeconds = (performance.now() - startMs) / 1000;
  });
  // What only waits for the time to pass goes on for all of it; a compaction is looked at until it is done.
  const minimumMs = beside === compacted ? 0 : seconds * 2000;
  const goesOn = (): boolean => tookSeconds === undefined || performance.now() - startMs < minimumMs;
  const [result] = await Promise.all([load.run(goesOn, { perSecond: PUTS_PER_SECOND }), working]);
  const loop = await member.endLoop();
  const figures = figuresOf(result, (await clusterCpuSeconds(cluster)) - cpuBefore);
  figures.peakBytes = (await memoryOf(member.pid)).peakBytes;
  if (beside !== undefined && tookSeconds !== undefined) figures.tookSeconds = tookSeconds;
  if (loop !== undefined) Object.assign(figures, { loopP999Ms: loop.p999Ms, loopMaxMs: loop.maxMs });
  return figures;
}

function repeated(once: Beside): Beside {
  return async (member) => {
    for (let i = 0; i < TIMES; i++) await once(member);
  };
}

/** Up to the newest revision, as the compaction that comes by itself: nobody waits for it, and it is done when it says so. */
async function compacted(member: MemberUnderTest): Promise<void> {
  const before = await compactions(member);
  const revision = (await statusOf(member)).header!.revision;
  await callOnce(member, 'KV/Compact', encode(CompactionRequest, { revision, physical: false }));
  while ((await compactions(member)) === before) await sleep(COMPACTION_LOOK_MS);
}

async function compactions({ port }: MemberUnderTest): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const count = /^etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count (\d+)$/m.exec(text)?.[1];
  if (count === undefined) throw new Error('the server does not count its compactions');
  return Number(count);
}

async function listed({ port }: MemberUnderTest, keys: number): Promise<void> {
  const lister = new Lister(port, 'Range', keys * BIG_VALUE_BYTES);
  try {
    while (lister.lists < TIMES) {
      if (lister.failed !== undefined) throw lister.failed;
      await sleep(20);
    }
  } finally {
    await lister.stop();
  }
}

async function snapshot({ port }: MemberUnderTest): Promise<void> {
  const connection = await GrpcConnection.open(port);
  try {
    await new Promise<void>((resolve, reject) => {
      connection.onError = reject;
      const headers = callHeaders('/etcdserverpb.Maintenance/Snapshot', `127.0.0.1:${port}`);
      connection.callCounted(headers, encode(SnapshotRequest, {}), (status, bytes, text) => {
        if (status !== 0) reject(new Error(`Snapshot answered gRPC status ${status}: ${text}`));
        else if (bytes === 0) reject(new Error('Snapshot answered nothing'));
        else resolve();
      });
    });
  } finally {
    connection.close();
  }
}
