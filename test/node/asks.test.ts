/** Questions that only the leader can answer: reads of followers, and how much time a lease has. */
import { describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import { Asks } from '../../core/node/asks.ts';
import type { PeerMessage } from '../../core/node/peer-message.ts';
import { Reads } from '../../core/node/reads.ts';
import { MessageType } from '../../core/raft/messages.ts';
import { Cluster, part } from './cluster.ts';
import type { Bench, Harness } from './world.ts';

const isAsk = part('ask');
const isAnswer = part('answer');
const { APPEND, APPEND_RESPONSE } = MessageType.values;

function led(harness: Harness = {}): { cluster: Cluster; leader: Bench; follower: Bench; other: Bench } {
  const cluster = new Cluster(harness);
  const leader = cluster.elect();
  cluster.tick();
  const [follower, other] = cluster.followers;
  return { cluster, leader, follower, other };
}

function told(result: object | number | undefined): string {
  if (result instanceof RosterError) return result.code;
  return typeof result === 'number' ? `${result} s` : JSON.stringify(result ?? 'done');
}

function renew(bench: Bench, lease: bigint, outcomes: string[]): void {
  bench.node.renewLease(lease, (result) => outcomes.push(told(result)));
}

describe('a read at a follower', () => {
  it('sees what was acknowledged before it began', () => {
    const { cluster, leader, follower } = led();
    const late = cluster.hold(({ raft, to }) => raft?.type === APPEND && to === follower.node.id);
    const outcomes: string[] = [];
    leader.put('a', outcomes);
    cluster.settle();
    expect(outcomes).toEqual(['a']);
    follower.node.linearizableRead(() => outcomes.push(`saw ${follower.machine.values}`));
    cluster.settle();
    expect(outcomes).toEqual(['a']);
    late.end();
    cluster.deliver(...late.messages);
    cluster.settle();
    expect(outcomes).toEqual(['a', 'saw a']);
  });

  it('needs no time to pass', () => {
    const { cluster, follower } = led();
    const outcomes: string[] = [];
    follower.read(outcomes);
    cluster.settle();
    expect(outcomes).toEqual(['read']);
  });

  it('shares its question with all that came in the same turn; later ones have one of their own', () => {
    const { cluster, follower } = led();
    const asks = cluster.watch(isAsk);
    const outcomes: string[] = [];
    for (const name of ['a', 'b']) follower.read(outcomes, name);
    follower.turn();
    follower.read(outcomes, 'c');
    cluster.settle();
    expect(outcomes).toEqual(['a', 'b', 'c']);
    expect(asks).toHaveLength(2);
  });

  it.each([
    ['question', isAsk],
    ['answer', isAnswer],
  ])('asks again when the %s was lost', (_, matches) => {
    const { cluster, follower } = led();
    const asks = cluster.watch(isAsk);
    cluster.lose(matches, 1);
    const outcomes: string[] = [];
    follower.read(outcomes);
    cluster.settle();
    cluster.tick(2);
    expect([asks.length, outcomes]).toEqual([1, []]);
    cluster.tick();
    expect([asks.length, outcomes]).toEqual([2, ['read']]);
    expect(asks[1]).toEqual(asks[0]);
    cluster.tick(5);
    expect(asks).toHaveLength(2);
  });

  it('is answered once though every message comes twice', () => {
    const { cluster, follower } = led();
    cluster.change(
      () => true,
      (message) => [message, message],
    );
    const outcomes: string[] = [];
    follower.read(outcomes);
    cluster.settle();
    cluster.tick(5);
    expect(outcomes).toEqual(['read']);
  });

  it('is not answered by one that was leader once: it must hear a majority first', () => {
    const { cluster, leader, follower } = led();
    const asks = cluster.hold(isAsk);
    const answers = cluster.watch(isAnswer);
    const outcomes: string[] = [];
    follower.read(outcomes);
    cluster.settle();
    const next = cluster.depose();
    next.put('a', []);
    cluster.settle();
    // The old leader has not noticed; only the question gets through to it.
    cluster.deliver(...asks.messages.filter(({ to }) => to === leader.node.id));
    for (const bench of cluster.benches) bench.settle();
    const said = leader.sent.filter(isAnswer).map(({ answer }) => answer?.read_index);
    expect([said, outcomes]).toEqual([[], []]);
    asks.end();
    cluster.heal();
    expect(outcomes).toEqual(['read']);
    expect(new Set(answers.map(({ from }) => from))).not.toContain(leader.node.id);
  });

  it('goes on to the next leader', () => {
    const { cluster, leader, follower } = led();
    cluster.cut.add(leader.node.id);
    const outcomes: string[] = [];
    follower.node.linearizableRead(() => outcomes.push(`saw ${follower.machine.values}`));
    cluster.settle();
    const next = cluster.elect();
    next.put('a', []);
    cluster.tick(4);
    expect(outcomes).toEqual(['saw a']);
  });

  it('takes no notice of one that does not lead', () => {
    const { cluster, follower, other } = led();
    let astray = 0;
    cluster.change(isAsk, (message) => [astray++ === 0 ? { ...message, to: other.node.id } : message]);
    const answers = cluster.watch(isAnswer);
    const outcomes: string[] = [];
    follower.read(outcomes);
    cluster.settle();
    expect(answers.map(({ answer }) => answer!.error?.text)).toEqual(['etcdserver: not leader']);
    expect(outcomes).toEqual([]);
    cluster.tick(3);
    expect(outcomes).toEqual(['read']);
  });

  it('waits for a leader that is new until that knows what is committed', () => {
    const { cluster, leader, follower } = led();
    const outcomes: string[] = [];
    leader.put('a', outcomes);
    cluster.settle();
    const asker = cluster.depose() === follower ? cluster.followers[0] : follower;
    const late = cluster.hold(({ raft }) => raft?.type === APPEND_RESPONSE);
    cluster.restart(cluster.leader.node.id);
    cluster.elect();
    asker.node.linearizableRead(() => outcomes.push(`saw ${asker.machine.values}`));
    cluster.tick(5);
    expect(outcomes).toEqual(['a']);
    late.end();
    cluster.tick(5);
    expect(outcomes).toEqual(['a', 'saw a']);
  });

  it('runs out of time once, and the answer that comes after that changes nothing', () => {
    const { cluster, follower } = led({ config: { requestTimeoutMs: 500 } });
    const answers = cluster.hold(isAnswer);
    const outcomes: string[] = [];
    follower.read(outcomes);
    cluster.settle();
    cluster.tick(4);
    expect(outcomes).toEqual([]);
    cluster.tick();
    expect(outcomes).toEqual(['Timeout']);
    answers.end();
    cluster.deliver(...answers.messages);
    cluster.tick(10);
    expect(outcomes).toEqual(['Timeout']);
  });
});

describe('a lease, at a follower', () => {
  it('is renewed by the leader, and only there', () => {
    const { cluster, leader, follower } = led();
    leader.machine.leases.set(5n, 60);
    const outcomes: string[] = [];
    renew(follower, 5n, outcomes);
    renew(follower, 6n, outcomes);
    renew(leader, 5n, outcomes);
    cluster.settle();
    expect(outcomes.sort()).toEqual(['0 s', '60 s', '60 s']);
    expect([leader.machine.renewed.sort(), follower.machine.renewed]).toEqual([[5n, 5n, 6n], []]);
  });

  it('tells what is left by the word of the leader', () => {
    const { cluster, leader, follower } = led();
    leader.machine.leases.set(5n, 60);
    const found: unknown[] = [];
    const look = (lease: bigint, keys: boolean) =>
      follower.node.leaseTimeToLive(lease, keys, (result) => {
        if (result instanceof RosterError) throw result;
        found.push([result.ID, result.TTL, result.grantedTTL, result.keys]);
      });
    look(5n, true);
    look(5n, false);
    look(6n, true);
    cluster.settle();
    expect(found).toEqual([
      [5n, 60, 60, ['key']],
      [5n, 60, 60, []],
      [6n, -1, 0, []],
    ]);
  });

  it('is not renewed by a leader that others have replaced, but by its successor', () => {
    const { cluster, leader } = led();
    leader.machine.leases.set(5n, 60);
    cluster.cut.add(leader.node.id);
    const outcomes: string[] = [];
    renew(leader, 5n, outcomes);
    cluster.settle();
    const next = cluster.elect();
    next.machine.leases.set(5n, 60);
    expect(outcomes).toEqual([]);
    cluster.heal();
    cluster.tick(3);
    expect(outcomes).toEqual(['60 s']);
    expect([leader.machine.renewed, next.machine.renewed]).toEqual([[], [5n]]);
  });

  it('is renewed by this very member when it leads by then, whomever it had asked before', () => {
    const { cluster, leader, follower } = led();
    follower.machine.leases.set(5n, 60);
    cluster.lose(isAsk);
    const outcomes: string[] = [];
    renew(follower, 5n, outcomes);
    cluster.settle();
    leader.node.transferLeadership(follower.node.id, () => {});
    cluster.settle();
    expect(follower.isLeader).toBe(true);
    cluster.tick();
    expect(outcomes).toEqual(['60 s']);
  });

  it('waits for a leader', () => {
    const cluster = new Cluster();
    const outcomes: string[] = [];
    for (const bench of cluster.benches) {
      bench.machine.leases.set(5n, 60);
      renew(bench, 5n, outcomes);
    }
    cluster.settle();
    cluster.elect();
    cluster.tick();
    expect(outcomes).toEqual(['60 s', '60 s', '60 s']);
  });

  it('goes on to the next leader when this one is about to stop', () => {
    const { cluster, leader, follower } = led();
    for (const { machine } of cluster.benches) machine.leases.set(5n, 60);
    cluster.hold(({ raft }) => raft?.type === APPEND_RESPONSE);
    leader.put('pending', []);
    cluster.settle();
    leader.node.stop(() => {});
    const answers = cluster.watch(isAnswer);
    const outcomes: string[] = [];
    renew(follower, 5n, outcomes);
    cluster.settle();
    expect(answers.map(({ answer }) => answer!.error?.text)).toEqual(['etcdserver: server stopped']);
    expect(outcomes).toEqual([]);
    cluster.heal();
    cluster.cut.add(leader.node.id);
    cluster.elect();
    cluster.tick(3);
    expect(outcomes).toEqual(['60 s']);
  });

  it('runs out of patience without a leader', () => {
    const cluster = new Cluster({ config: { requestTimeoutMs: 500 } });
    const { node } = cluster.bench(1);
    const outcomes: string[] = [];
    renew(cluster.bench(1), 5n, outcomes);
    node.leaseTimeToLive(5n, false, (result) => outcomes.push(told(result)));
    cluster.bench(1).tick(5);
    expect(outcomes).toEqual(['Timeout', 'Timeout']);
  });
});

describe('a question', () => {
  it('of a version to come is answered with an error', () => {
    const { cluster, leader, follower } = led();
    const ask: PeerMessage = { from: follower.node.id, to: leader.node.id, ask: { number: 1n }, snapshot: 0n };
    const answers = cluster.watch(isAnswer);
    cluster.deliver(ask);
    cluster.settle();
    expect(answers.map(({ answer }) => [answer!.number, answer!.error?.status])).toEqual([[1n, 12]]);
  });
});

describe('limits', () => {
  it('questions that wait are bounded, and there is room again when they are answered', () => {
    const { cluster, follower } = led({ limits: { readsPendingMax: 2 } });
    const outcomes: string[] = [];
    for (const lease of [1n, 2n, 3n]) renew(follower, lease, outcomes);
    expect(outcomes).toEqual(['RequestTooManyRequests']);
    cluster.settle();
    renew(follower, 4n, outcomes);
    cluster.settle();
    expect(outcomes).toEqual(['RequestTooManyRequests', '0 s', '0 s', '0 s']);
  });

  it('reads have room when their question has none, and ask when it has', () => {
    const { cluster, follower } = led({ limits: { readsPendingMax: 1 } });
    const held = cluster.hold(isAsk);
    const outcomes: string[] = [];
    renew(follower, 1n, outcomes);
    follower.read(outcomes);
    cluster.settle();
    expect(held.messages).toHaveLength(1);
    held.end();
    cluster.deliver(...held.messages);
    cluster.tick();
    expect(outcomes).toEqual(['0 s', 'read']);
  });

  it('of those that ran out of time before there was a leader, nothing is kept', () => {
    const asks = new Asks(2);
    const outcomes: string[] = [];
    for (let tick = 0; tick < 10; tick++) {
      asks.add({ number: BigInt(tick) }, (answer) => outcomes.push(told(answer)), tick + 1);
      asks.expire(tick);
    }
    expect(asks.fresh(2n, 10).map(({ number }) => number)).toEqual([9n]);
    expect(outcomes).toEqual(Array.from({ length: 9 }, () => 'Timeout'));
  });

  it('the leader keeps no more reads of others than it takes itself; they ask again', () => {
    const reads = new Reads(2);
    const answered: string[] = [];
    for (const name of ['a', 'b', 'c']) reads.askForOther((index) => answered.push(`${name} ${index}`));
    reads.confirmed(reads.beginRound()!, 7);
    expect(answered).toEqual(['a 7', 'b 7']);
  });
});
