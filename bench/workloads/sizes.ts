/** What a store of many keys costs: memory, disk, and the time to start with it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { encode } from '../../core/wire/binary.ts';
import { RangeRequest } from '../../core/wire/messages.ts';
import { fill, filledKey } from '../fill.ts';
import { type Figures, work } from '../measurement.ts';
import { diskBytesOf, memoryOf } from '../proc.ts';
import { VALUE_BYTES } from '../puts.ts';
import type { ClusterUnderTest, MemberUnderTest } from '../servers.ts';
import { callOnce } from '../status.ts';
import { oneByOne, recorded, type Section, type SectionRun } from './section.ts';

const SETTLE_MS = 3000;
const POLL_MS = 5;
const START_TIMEOUT_MS = 300_000;
const STARTS = 3;
/** Roughly, to fill and to start. */
const KEYS_PER_SECOND = 15_000;
const SECONDS_EACH = 25;

export const sizesSection: Section = {
  name: 'sizes',
  estimateSeconds: ({ sizes }) => 2 * sizes.reduce((sum, keys) => sum + keys / KEYS_PER_SECOND + SECONDS_EACH, 0),
  async run(run) {
    for (const keys of run.scale.sizes) {
      const what = work('stored keys', { keys, valueBytes: VALUE_BYTES });
      run.progress(`${keys.toLocaleString('en')} keys in the store`);
      await oneByOne(run, 1, what, (cluster) => measureSize(run, cluster, keys));
    }
  },
};

async function measureSize(run: SectionRun, cluster: ClusterUnderTest, keys: number): Promise<void> {
  const { name } = cluster;
  const member = cluster.members[0]!;
  await recorded(run, work('stored keys', { keys, valueBytes: VALUE_BYTES }), name, 0, async () => {
    await fill(member, { keys, valueBytes: VALUE_BYTES });
    await sleep(SETTLE_MS);
    const diskBytes = await diskBytesOf(member.dataDir);
    return { ...(await memoryOf(member.pid)), diskBytes };
  });
  for (let round = 0; round < STARTS; round++) {
    await recorded(run, work('start-up', { keys, valueBytes: VALUE_BYTES }), name, round, () => restart(member, keys));
  }
}

/** From the start of the process to the first linearizable read; the files are in the kernel's cache. */
async function restart(member: MemberUnderTest, keys: number): Promise<Figures> {
  await member.end('SIGTERM');
  const startMs = performance.now();
  member.start();
  const last = encode(RangeRequest, { key: filledKey(keys - 1) });
  for (;;) {
    const reply = await callOnce(member, 'KV/Range', last).catch(() => undefined);
    if (reply !== undefined) {
      if (reply.length < VALUE_BYTES) throw new Error('the last key is gone after a restart');
      break;
    }
    if (performance.now() - startMs > START_TIMEOUT_MS)
      throw new Error(`it does not serve ${START_TIMEOUT_MS} ms after its start`);
    await sleep(POLL_MS);
  }
  const startSeconds = (performance.now() - startMs) / 1000;
  const { residentBytes, peakBytes } = await memoryOf(member.pid);
  return { startSeconds, residentBytes, peakBytes };
}
