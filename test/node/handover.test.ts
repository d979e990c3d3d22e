/** Leadership that moves on purpose, and the end of a member. */
import { describe, expect, it } from 'vitest';
import { GrpcStatus, type RosterError } from '../../core/errors.ts';
import { MessageType } from '../../core/raft/messages.ts';
import { Cluster, part } from './cluster.ts';
import { type Bench, type Harness, member, outcome } from './world.ts';

const { APPEND, HEARTBEAT, TIMEOUT_NOW } = MessageType.values;

const TOO_LONG = 'etcdserver: request timed out, leader transfer took too long';

function led(harness: Harness = {}): { cluster: Cluster; leader: Bench; follower: Bench; other: Bench } {
  const cluster = new Cluster(harness);
  const leader = cluster.elect();
  cluster.tick();
  const [follower, other] = cluster.followers;
  return { cluster, leader, follower, other };
}

function transfer(bench: Bench, to: bigint, outcomes: string[]): void {
  bench.node.transferLeadership(to, (error) => outcomes.push(error?.message ?? 'done'));
}

describe('a transfer of leadership', () => {
  it('is done when the other one leads', () => {
    const { cluster, leader, follower } = led();
    const outcomes: string[] = [];
    transfer(leader, follower.node.id, outcomes);
    transfer(leader, follower.node.id, outcomes);
    expect(outcomes).toEqual([]);
    cluster.settle();
    expect([outcomes, follower.isLeader, leader.isLeader]).toEqual([['done', 'done'], true, false]);
    expect(leader.node.status().leader).toBe(follower.node.id);
    expect([leader.machine.leads, follower.machine.leads]).toEqual([false, true]);
  });

  it('to oneself is done already', () => {
    const { leader } = led();
    const outcomes: string[] = [];
    transfer(leader, leader.node.id, outcomes);
    expect([outcomes, leader.isLeader]).toEqual([['done'], true]);
  });

  it('is refused by one that does not lead', () => {
    const { follower, other } = led();
    const outcomes: string[] = [];
    transfer(follower, other.node.id, outcomes);
    const alone = new Cluster().bench(1);
    transfer(alone, 2n, outcomes);
    expect(outcomes).toEqual(['etcdserver: not leader', 'etcdserver: no leader']);
  });

  it('is refused to strangers and learners', () => {
    const { cluster, leader } = led();
    leader.node.changeMembers({ add: member(4n, true) }, () => {});
    cluster.settle();
    const outcomes: string[] = [];
    for (const to of [4n, 9n]) transfer(leader, to, outcomes);
    expect(outcomes).toEqual(['etcdserver: bad leader transferee', 'etcdserver: bad leader transferee']);
  });

  it('to one that does not react took too long, and the leader leads on', () => {
    const { cluster, leader, follower } = led();
    cluster.cut.add(follower.node.id);
    const outcomes: string[] = [];
    leader.node.transferLeadership(follower.node.id, (error) => {
      outcomes.push(error!.message);
      expect((error as RosterError).status).toBe(GrpcStatus.UNKNOWN);
    });
    leader.put('a', outcomes);
    cluster.settle();
    cluster.tick(9);
    expect(outcomes).toEqual([]);
    cluster.tick(2);
    expect(outcomes.sort()).toEqual(['a', TOO_LONG]);
    expect(leader.isLeader).toBe(true);
  });

  it('that ends with somebody else has failed', () => {
    const { cluster, leader, follower, other } = led();
    cluster.lose(({ raft, to }) => raft?.type === TIMEOUT_NOW && to === follower.node.id);
    const outcomes: string[] = [];
    transfer(leader, follower.node.id, outcomes);
    cluster.settle();
    const raft = { type: HEARTBEAT, from: other.node.id, to: leader.node.id, term: leader.node.term + 1, log_term: 0 };
    const rest = {
      index: 0,
      entries: [],
      commit: 0,
      reject: false,
      reject_hint: 0,
      context: 0,
      refill: 0n,
      quiet: false,
    };
    const message = { ...raft, ...rest, transfer: false, needs_snapshot: false };
    leader.node.step({ from: other.node.id, to: leader.node.id, raft: message, snapshot: 0n });
    leader.turn();
    expect(outcomes).toEqual([TOO_LONG]);
  });

  it('whose end nobody hears of takes no longer than a request', () => {
    const { cluster, leader, follower } = led({ config: { requestTimeoutMs: 500 } });
    const outcomes: string[] = [];
    cluster.cut.add(follower.node.id);
    transfer(leader, follower.node.id, outcomes);
    leader.tick(4);
    expect(outcomes).toEqual([]);
    leader.tick();
    expect(outcomes).toEqual([TOO_LONG]);
  });

  it('lets requests wait, and passes them on to the next leader, each once', () => {
    const { cluster, leader, follower, other } = led();
    const held = cluster.hold(({ raft }) => raft?.type === TIMEOUT_NOW);
    transfer(leader, follower.node.id, []);
    const outcomes: string[] = [];
    leader.put('a', outcomes);
    other.put('b', outcomes);
    cluster.settle();
    expect([outcomes, leader.node.status().commitIndex]).toEqual([[], 1]);
    held.end();
    cluster.deliver(held.messages[0]!);
    cluster.settle();
    cluster.tick(3);
    expect(outcomes.sort()).toEqual(['a', 'b']);
    for (const { machine } of cluster.benches) expect([...machine.values].sort()).toEqual(['a', 'b']);
  });

  it('waits for the log of the other one', () => {
    const { cluster, leader, follower } = led();
    const late = cluster.hold(({ raft, to }) => raft?.type === APPEND && to === follower.node.id);
    leader.put('a', []);
    cluster.settle();
    const outcomes: string[] = [];
    transfer(leader, follower.node.id, outcomes);
    cluster.settle();
    expect([outcomes, leader.isLeader]).toEqual([[], true]);
    late.end();
    cluster.deliver(...late.messages);
    cluster.settle();
    expect([outcomes, follower.isLeader, follower.machine.values]).toEqual([['done'], true, ['a']]);
  });
});

describe('handing over', () => {
  it('goes to the one with the longest log', () => {
    for (const behind of [0, 1]) {
      const { cluster, leader } = led();
      const late = cluster.followers[behind]!;
      const heir = cluster.followers[1 - behind]!;
      cluster.lose(({ raft, to }) => raft?.type === APPEND && to === late.node.id);
      leader.put('a', []);
      cluster.tick(2);
      const outcomes: string[] = [];
      leader.node.handOver((error) => outcomes.push(error?.message ?? 'done'));
      cluster.settle();
      expect([outcomes, heir.isLeader]).toEqual([['done'], true]);
    }
  });

  it('does not go to one that is silent, however long its log; nor to a learner', () => {
    const { cluster, leader, follower, other } = led();
    leader.node.changeMembers({ add: member(4n, true) }, () => {});
    cluster.join(4n);
    cluster.tick(5);
    const late = cluster.hold(({ raft, to }) => raft?.type === APPEND && to === other.node.id);
    leader.put('a', []);
    cluster.settle();
    cluster.cut.add(follower.node.id);
    cluster.tick(12);
    const outcomes: string[] = [];
    leader.node.handOver((error) => outcomes.push(error?.message ?? 'done'));
    late.end();
    cluster.deliver(...late.messages);
    cluster.settle();
    expect([outcomes, other.isLeader]).toEqual([['done'], true]);
  });

  it('is done at once when there is nobody, and where nobody leads', () => {
    const outcomes: string[] = [];
    const { cluster, leader, follower } = led();
    follower.node.handOver(() => outcomes.push('follower'));
    for (const { node } of cluster.followers) cluster.cut.add(node.id);
    leader.tick(12);
    leader.node.handOver(() => outcomes.push('last'));
    expect([outcomes, leader.isLeader]).toEqual([['follower', 'last'], true]);
  });

  it('and then a stop: nobody notices more than a new leader', () => {
    const { cluster, leader, follower } = led();
    const outcomes: string[] = [];
    for (const bench of cluster.benches) bench.put(`${bench.node.id}`, outcomes);
    leader.node.handOver(() => leader.node.stop(() => outcomes.push('stopped')));
    cluster.settle();
    cluster.cut.add(leader.node.id);
    cluster.tick(3);
    expect(outcomes.sort()).toEqual(['1', '2', '3', 'stopped']);
    follower.put('on', outcomes);
    cluster.tick();
    expect(outcomes.at(-1)).toBe('on');
  });
});

describe('a stop', () => {
  /** Everything that can wait at a member. */
  function askEverything(bench: Bench, outcomes: string[]): number {
    const tell = (result: unknown) => outcomes.push(result instanceof Error ? outcome(result as RosterError) : 'ok');
    bench.put('a', outcomes);
    bench.turn();
    bench.put('b', outcomes);
    bench.node.changeMembers({ add: member(8n, true) }, tell);
    bench.node.changeMembers({ add: member(9n, true) }, tell);
    bench.read(outcomes);
    bench.node.renewLease(1n, tell);
    bench.node.leaseTimeToLive(1n, false, tell);
    return 7;
  }

  it.each(['leader', 'follower'] as const)(
    'of a %s ends though nothing can be answered; everybody is told, once',
    (whom) => {
      const scene = led({ config: { requestTimeoutMs: 500 } });
      const { cluster } = scene;
      const bench = scene[whom];
      for (const { node } of cluster.benches) if (node.id !== bench.node.id) cluster.cut.add(node.id);
      const outcomes: string[] = [];
      const count = askEverything(bench, outcomes);
      bench.settle();
      let stopped = 0;
      bench.node.stop(() => stopped++);
      for (let tick = 0; tick < 8; tick++) {
        bench.tick();
        bench.settle();
        while (bench.machine.commits.length > 0) bench.machine.finishCommit();
      }
      expect(outcomes).toEqual(Array.from({ length: count }, () => 'Timeout'));
      expect([stopped, bench.wal.closed]).toEqual([1, true]);
      expect(bench.fatal).toEqual([]);
    },
  );

  it('of one that never knew a leader too', () => {
    const cluster = new Cluster({ config: { requestTimeoutMs: 500 } });
    const bench = cluster.bench(1);
    const outcomes: string[] = [];
    const count = askEverything(bench, outcomes);
    let stopped = 0;
    bench.node.stop(() => stopped++);
    for (let tick = 0; tick < 8; tick++) {
      bench.tick();
      bench.settle();
    }
    expect([outcomes, stopped]).toEqual([Array.from({ length: count }, () => 'Timeout'), 1]);
  });

  it('waits for requests that were passed on', () => {
    const { cluster, follower } = led();
    const held = cluster.hold(part('forward'));
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    cluster.settle();
    follower.node.stop(() => outcomes.push('stopped'));
    cluster.settle();
    expect(outcomes).toEqual([]);
    held.end();
    cluster.deliver(...held.messages);
    cluster.settle();
    expect(outcomes).toEqual(['a', 'stopped']);
  });

  it('tells who waits for a transfer', () => {
    const { cluster, leader, follower } = led();
    cluster.cut.add(follower.node.id);
    const outcomes: string[] = [];
    transfer(leader, follower.node.id, outcomes);
    leader.node.stop(() => {});
    expect(outcomes).toEqual(['etcdserver: server stopped']);
    transfer(leader, follower.node.id, outcomes);
    expect(outcomes).toHaveLength(2);
  });

  it('a failed write tells everybody who waits, wherever their requests are', () => {
    for (const whom of ['leader', 'follower'] as const) {
      const scene = led();
      const bench = scene[whom];
      for (const { node } of scene.cluster.benches) if (node.id !== bench.node.id) scene.cluster.cut.add(node.id);
      const outcomes: string[] = [];
      const count = askEverything(bench, outcomes);
      bench.turn();
      if (whom === 'leader') bench.wal.fail(new Error('EIO: i/o error'));
      else {
        bench.machine.pendingWrites = 1;
        bench.tick();
        bench.machine.finishCommit(new Error('EIO: i/o error'));
      }
      expect(outcomes).toEqual(Array.from({ length: count }, () => 'Stopped'));
      expect(bench.fatal).toHaveLength(1);
    }
  });
});
