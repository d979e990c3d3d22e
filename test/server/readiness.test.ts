import pino from 'pino';
import { describe, expect, it } from 'vitest';
import { type RosterError, rosterError } from '../../core/errors.ts';
import { confStateOf } from '../../core/raft/conf-change.ts';
import { type ReadinessOptions, whenReady } from '../../server/readiness.ts';

const NEVER = new AbortController().signal;
const PATIENCE_MS = 10;

function rig(state: { leader?: bigint; appliedIndex?: number; voters?: bigint[]; version?: string }) {
  const lines: string[] = [];
  const reads: ((error?: RosterError) => void)[] = [];
  const rest = { id: 1n, isLeader: false, isLearner: false, term: 1, commitIndex: 5 };
  const membership = { clusterVersion: state.version ?? '3.7.0' };
  let published = 0;
  const options = {
    node: {
      linearizableRead: (done: (error?: RosterError) => void) => void reads.push(done),
      status: () => ({ ...rest, leader: state.leader ?? 0n, appliedIndex: state.appliedIndex ?? 5 }),
    },
    machine: { confState: confStateOf(state.voters ?? [1n, 2n, 3n]), membership } as ReadinessOptions['machine'],
    log: pino({}, { write: (line: string) => void lines.push(line) }),
    patienceMs: PATIENCE_MS,
    publish: async () => void published++,
    reachable: () => ['m2'],
  };
  return { options, reads, membership, published: () => published, log: () => lines.join('') };
}

const later = (ms = 50) => new Promise((resolve) => setTimeout(resolve, ms));

describe('whenReady()', () => {
  it('waits until caught up, published, and agreed on a version', async () => {
    const { options, reads, membership, published } = rig({ leader: 2n, version: '' });
    let ready = false;
    const waiting = whenReady(options, NEVER).then(() => {
      ready = true;
    });
    await expect.poll(() => reads.length).toBe(1);
    reads.shift()!(rosterError('Timeout'));
    await expect.poll(() => reads.length).toBe(1);
    expect(published()).toBe(0);
    reads.shift()!();
    await expect.poll(published).toBe(1);
    await later();
    expect(ready).toBe(false);
    (membership as { clusterVersion: string }).clusterVersion = '3.7.0';
    await waiting;
  });

  it('ends the wait when there is no leader for long, and says so', async () => {
    const { options, reads, published, log } = rig({});
    await whenReady(options, NEVER);
    expect(reads, 'a request that waits would hold up a stop').toEqual([]);
    expect(published()).toBe(0);
    expect(log()).toContain('no leader: serving clients all the same');
    expect(log()).toContain('"reachable":["m2"]');
  });

  it.each([
    ['there is a leader to catch up with', { leader: 2n }, 'catching up'],
    ['the own log is not applied yet', { appliedIndex: 4 }, 'catching up'],
    ['it has no state of the cluster yet', { voters: [] }, 'waiting for the leader to send the state'],
  ])('goes on waiting while %s', async (_what, state, message) => {
    const { options, log } = rig(state);
    const stop = new AbortController();
    let ready = false;
    const waiting = whenReady(options, stop.signal).then(() => {
      ready = true;
    });
    await later(10 * PATIENCE_MS);
    expect(ready).toBe(false);
    expect(log()).toContain(message);
    stop.abort();
    await waiting;
  });
});
