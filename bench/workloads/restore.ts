/** A follower that was away for long takes a snapshot: how long that takes, and the turns of the event loops meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCaughtUp } from '../catchup.ts';
import { Load } from '../load.ts';
import { type Figures, figuresOf, work } from '../measurement.ts';
import { memoryOf } from '../proc.ts';
import { CONNECTIONS_MAX, VALUE_BYTES } from '../puts.ts';
import type { ClusterUnderTest, MemberUnderTest } from '../servers.ts';
import { leaderOf, statusOf } from '../status.ts';
import { puts } from './put.ts';
import { oneByOne, recorded, type Section } from './section.ts';

const FILLING_CLIENTS = 200;
const CLIENTS = 10;
const PUTS_PER_SECOND = 500;
const SETTLE_MS = 2000;
const START_TIMEOUT_MS = 60_000;
const POLL_MS = 10;
/** Roughly. */
const PUTS_A_SECOND = 6000;

export const restoreSection: Section = {
  name: 'restore',
  estimateSeconds: ({ missedPuts }) => 2 * (missedPuts / PUTS_A_SECOND + 25),
  run: (run) => {
    const what = work('small puts: restore', { nodes: 3, clients: CLIENTS, keys: run.scale.missedPuts });
    return oneByOne(run, 3, what, async (cluster) => {
      await recorded(run, what, cluster.name, 0, () => restore(cluster, run.scale.missedPuts, run.progress));
    });
  },
};

async function restore(
  cluster: ClusterUnderTest,
  missedPuts: number,
  progress: (text: string) => void,
): Promise<Figures> {
  const leader = await leaderOf(cluster.members);
  const follower = cluster.members.find((member) => member !== leader)!;
  const ports = cluster.members.filter((member) => member !== follower).map(({ port }) => port);
  const load = { ports, connections: CONNECTIONS_MAX, kinds: [puts(VALUE_BYTES)] as const };
  progress(`${cluster.name}: ${missedPuts.toLocaleString('en')} puts while a follower is down`);
  await follower.end('SIGKILL');
  const filling = await Load.open({ ...load, clients: FILLING_CLIENTS });
  const small = await Load.open({ ...load, clients: CLIENTS });
  try {
    await filling.run((calls) => calls < missedPuts);
    await sleep(SETTLE_MS);
    leader.beginLoop();
    follower.start();
    const startMs = performance.now();
    let tookSeconds: number | undefined;
    const catchingUp = watchedCatchUp(follower, leader).finally(() => {
      tookSeconds = (performance.now() - startMs) / 1000;
    });
    const goesOn = (): boolean => tookSeconds === undefined;
    const [result] = await Promise.all([small.run(goesOn, { perSecond: PUTS_PER_SECOND }), catchingUp]);
    const loops = [await leader.endLoop(), await follower.endLoop()];
    const figures: Figures = { ...figuresOf(result), tookSeconds: tookSeconds! };
    figures.peakBytes = (await memoryOf(follower.pid)).peakBytes;
    for (const loop of loops) {
      if (loop === undefined) continue;
      figures.loopP999Ms = Math.max(figures.loopP999Ms ?? 0, loop.p999Ms);
      figures.loopMaxMs = Math.max(figures.loopMaxMs ?? 0, loop.maxMs);
    }
    return figures;
  } finally {
    filling.close();
    small.close();
  }
}

/** Its event loop is watched from the moment on at which it answers somebody: before, nobody can feel a long turn. */
async function watchedCatchUp(follower: MemberUnderTest, leader: MemberUnderTest): Promise<void> {
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  while (
    !(await statusOf(follower).then(
      () => true,
      () => false,
    ))
  ) {
    if (performance.now() > deadlineMs)
      throw new Error(`the follower does not answer ${START_TIMEOUT_MS} ms after its start`);
    await sleep(POLL_MS);
  }
  follower.beginLoop();
  await hasCaughtUp(follower, leader);
}
