import { describe, expect, it } from 'vitest';
import { createStateMachine } from '../../core/apply/create.ts';
import { MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import { confStateOf } from '../../core/raft/conf-change.ts';
import type { Member } from '../../core/wire/messages.ts';
import { forgetUnfinishedStart, writeBootstrap } from '../../server/founding.ts';

const member = (ID: bigint): Member => ({ ID, name: 'm', peerURLs: ['http://a:1'], clientURLs: [], isLearner: false });
const begin = (...ids: bigint[]) => ({
  identity: { memberId: 1n, clusterId: 2n },
  members: ids.map(member),
  voters: ids,
});

function machineOn(backend: MemoryBackend) {
  const machine = createStateMachine({ backend, clock: { nowMs: () => 0 } });
  for (const _step of machine.restore());
  return machine;
}

describe('the first rows', () => {
  it('are durable when they are written', async () => {
    const backend = new MemoryBackend(setImmediate);
    await writeBootstrap(machineOn(backend), begin(1n, 3n));
    const revived = machineOn(new MemoryBackend(setImmediate, backend.disk));
    expect(revived.membership.members.map(({ ID }) => ID)).toEqual([1n, 3n]);
    expect(revived.confState).toEqual(confStateOf([1n, 3n]));
    expect(revived.appliedIndex).toBe(0);
  });

  it('are written anew by the next start when there is no log yet', async () => {
    const backend = new MemoryBackend(setImmediate);
    await writeBootstrap(machineOn(backend), begin(1n, 3n));
    const again = new MemoryBackend(setImmediate, backend.disk);
    forgetUnfinishedStart(again);
    await writeBootstrap(machineOn(again), begin(5n));
    const revived = machineOn(new MemoryBackend(setImmediate, backend.disk));
    expect(revived.membership.members.map(({ ID }) => ID)).toEqual([5n]);
    expect(revived.confState).toEqual(confStateOf([5n]));
  });

  it('are left alone once an entry has been applied', async () => {
    const backend = new MemoryBackend(setImmediate);
    const machine = machineOn(backend);
    await writeBootstrap(machine, begin(1n));
    machine.apply(1, 1, undefined);
    await new Promise((resolve) => machine.commit(resolve));
    forgetUnfinishedStart(backend);
    expect(machineOn(backend).membership.members).toHaveLength(1);
  });
});
