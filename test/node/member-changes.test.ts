/** Changes of the members: one at a time, by the leader's rules, wherever they were asked for. */
import { describe, expect, it } from 'vitest';
import { rosterError } from '../../core/errors.ts';
import type { ClusterView } from '../../core/node/machine.ts';
import { MEMBER_CHANGES_WAITING_MAX } from '../../core/node/member-changes.ts';
import { MessageType, newMessage } from '../../core/raft/messages.ts';
import type { MemberChange } from '../../core/wire/stored.ts';
import { Cluster, part } from './cluster.ts';
import { type Bench, type Harness, member, outcome } from './world.ts';

const { APPEND, APPEND_RESPONSE, HEARTBEAT, TIMEOUT_NOW } = MessageType.values;

type Change = Omit<MemberChange, 'id'>;

const addLearner = (id: bigint): Change => ({ add: member(id, true) });
const isChange = part('forward');

function led(harness: Harness = {}): { cluster: Cluster; leader: Bench; follower: Bench; other: Bench } {
  const cluster = new Cluster(harness);
  const leader = cluster.elect();
  cluster.tick();
  const [follower, other] = cluster.followers;
  return { cluster, leader, follower, other };
}

function change(bench: Bench, what: Change, outcomes: string[]): void {
  bench.node.changeMembers(what, (result) => outcomes.push(outcome(result)));
}

describe('a change of the members', () => {
  it.each(['leader', 'follower'] as const)('asked of a %s is answered there when it is applied', (whom) => {
    const scene = led();
    const outcomes: string[] = [];
    change(scene[whom], addLearner(4n), outcomes);
    scene.cluster.settle();
    expect(outcomes).toEqual(['add 4']);
    for (const { machine } of scene.cluster.benches) {
      expect(machine.values).toEqual(['add 4']);
      expect(machine.confState).toMatchObject({ voters: [1n, 2n, 3n], learners: [4n] });
    }
  });

  it('comes after the one before it, in the order in which they came, and is judged by what that has left', () => {
    const { cluster, leader } = led();
    const judged: [string, string[], number[]][] = [];
    leader.machine.judge = ({ add, promote, remove }) => {
      const { learners } = leader.machine.confState;
      judged.push([`${add?.ID ?? promote ?? remove}`, [...leader.machine.values], learners.map(Number)]);
      return undefined;
    };
    const outcomes: string[] = [];
    for (const what of [addLearner(4n), addLearner(5n), { promote: 4n }, { remove: 5n }])
      change(leader, what, outcomes);
    leader.put('meanwhile', outcomes);
    cluster.settle();
    cluster.tick();
    expect(outcomes).toEqual(['meanwhile', 'add 4', 'add 5', 'promote 4', 'remove 5']);
    expect(judged).toEqual([
      ['4', [], []],
      ['5', ['meanwhile', 'add 4'], [4]],
      ['4', ['meanwhile', 'add 4', 'add 5'], [4, 5]],
      ['5', ['meanwhile', 'add 4', 'add 5', 'promote 4'], [5]],
    ]);
  });

  it('that must say what it is, and does not, is refused at once', () => {
    const { leader, follower } = led();
    const texts: string[] = [];
    for (const { node } of [leader, follower])
      for (const what of [{}, { remove: 2n, promote: 3n }])
        node.changeMembers(what, (result) => texts.push((result as Error).message));
    expect(texts).toEqual(
      Array.from({ length: 4 }, () => expect.stringMatching(/adds, promotes or removes one member/)),
    );
  });

  it('that the rules forbid is refused where it was asked for, and leaves no trace', () => {
    const { cluster, leader, follower } = led();
    leader.machine.judge = () => rosterError('TooManyLearners');
    const outcomes: string[] = [];
    change(leader, addLearner(4n), outcomes);
    change(follower, addLearner(5n), outcomes);
    cluster.settle();
    expect(outcomes).toEqual(['TooManyLearners', 'TooManyLearners']);
    expect(leader.node.status().commitIndex).toBe(1);
    leader.machine.judge = () => undefined;
    change(follower, addLearner(5n), outcomes);
    cluster.settle();
    expect(outcomes.at(-1)).toBe('add 5');
  });

  it('that Raft cannot follow is refused too', () => {
    const cluster = new Cluster({}, [1n]);
    cluster.settle();
    const outcomes: string[] = [];
    cluster.leader.node.changeMembers({ remove: 1n }, (result) => outcomes.push((result as Error).message));
    cluster.settle();
    expect(outcomes).toEqual(['a configuration needs a voter']);
  });

  it('is judged by what the leader knows of the members', () => {
    const { cluster, leader, follower, other } = led();
    const late = cluster.hold(({ raft, to }) => raft?.type === APPEND && to === follower.node.id);
    leader.put('a', []);
    cluster.settle();
    cluster.cut.add(other.node.id);
    cluster.tick(12);
    let view: ClusterView | undefined;
    leader.machine.judge = (_, seen) => {
      view = seen;
      return rosterError('Unhealthy');
    };
    change(leader, addLearner(4n), []);
    leader.settle();
    const ids = [leader, follower, other].map(({ node }) => node.id);
    expect(ids.map((id) => view!.isActive(id))).toEqual([true, true, false]);
    expect(ids.map((id) => view!.match(id))).toEqual([2, 1, 2]);
    expect([view!.lastIndex, view!.match(9n), view!.isActive(9n)]).toEqual([2, 0, false]);
    late.end();
  });

  it('happens once though every message comes twice, or is lost and sent again', () => {
    const { cluster, leader, follower } = led();
    let judged = 0;
    leader.machine.judge = () => {
      judged++;
      return undefined;
    };
    cluster.lose(isChange, 1);
    cluster.change(
      () => true,
      (message) => [message, message],
    );
    const outcomes: string[] = [];
    change(follower, addLearner(4n), outcomes);
    cluster.settle();
    expect(outcomes).toEqual([]);
    cluster.tick(4);
    expect([outcomes, judged, leader.machine.values]).toEqual([['add 4'], 1, ['add 4']]);
  });

  it('that was refused is refused again, and not judged again, from a copy', () => {
    const { cluster, leader, follower } = led();
    const forwards = cluster.watch(isChange);
    const replies = cluster.watch(part('forward_reply'));
    leader.machine.judge = () => rosterError('Unhealthy');
    const outcomes: string[] = [];
    change(follower, addLearner(4n), outcomes);
    cluster.settle();
    leader.machine.judge = () => undefined;
    cluster.deliver(forwards[0]!);
    cluster.settle();
    expect(replies.map(({ forward_reply }) => forward_reply!.error?.text)).toEqual([
      'etcdserver: unhealthy cluster',
      'etcdserver: unhealthy cluster',
    ]);
    expect([outcomes, leader.machine.values]).toEqual([['Unhealthy'], []]);
  });

  it('runs out of time once', () => {
    const { cluster, leader, follower } = led({ config: { requestTimeoutMs: 500 } });
    const late = cluster.hold(({ raft }) => raft?.type === APPEND_RESPONSE);
    const outcomes: string[] = [];
    // The first is in the log, the second waits for it, the third on another member.
    change(leader, addLearner(4n), outcomes);
    change(leader, addLearner(5n), outcomes);
    change(follower, addLearner(6n), outcomes);
    cluster.settle();
    cluster.tick(4);
    expect(outcomes).toEqual([]);
    cluster.tick(2);
    expect(outcomes).toEqual(['Timeout', 'Timeout', 'Timeout']);
    late.end();
    cluster.deliver(...late.messages);
    cluster.tick(6);
    expect(outcomes).toHaveLength(3);
    // The leader had taken the third on, and keeps its word; the second was its own, and known not to be in the log.
    expect(leader.machine.values).toEqual(['add 4', 'add 6']);
    change(follower, addLearner(7n), outcomes);
    cluster.settle();
    expect(outcomes.at(-1)).toBe('add 7');
  });
});

describe('when the leader changes', () => {
  it.each(['leader', 'follower'] as const)(
    'a change that was overwritten is given back to the caller at the %s',
    (whom) => {
      const scene = led();
      const { cluster, leader } = scene;
      cluster.lose(({ raft, from }) => raft?.type === APPEND && from === leader.node.id);
      const outcomes: string[] = [];
      change(scene[whom], addLearner(4n), outcomes);
      cluster.settle();
      cluster.depose();
      cluster.heal();
      expect(outcomes).toEqual(['LeaderChanged']);
      for (const { machine } of cluster.benches) expect([machine.values, machine.confState.learners]).toEqual([[], []]);
    },
  );

  it('a change that survived is answered as done', () => {
    const { cluster, leader, follower } = led();
    cluster.lose(({ raft, to }) => raft?.type === APPEND_RESPONSE && to === leader.node.id);
    const outcomes: string[] = [];
    change(leader, addLearner(4n), outcomes);
    change(follower, addLearner(5n), outcomes);
    cluster.settle();
    cluster.depose();
    cluster.heal();
    // The second had to wait for the first, and was not in any log.
    expect(outcomes.sort()).toEqual(['LeaderChanged', 'add 4']);
    for (const { machine } of cluster.benches) expect(machine.values).toEqual(['add 4']);
  });

  it('a change that waited there is passed on, but not those of others', () => {
    const { cluster, leader, follower, other } = led();
    const outcomes: string[] = [];
    // It waits for the first, which hangs on a slow disk.
    leader.put('busy', []);
    leader.turn();
    change(leader, addLearner(4n), outcomes);
    change(leader, addLearner(5n), outcomes);
    change(follower, addLearner(6n), outcomes);
    follower.turn();
    cluster.carry();
    leader.turn();
    const raft = { ...newMessage(HEARTBEAT, leader.node.id, leader.node.term + 1), from: other.node.id };
    leader.node.step({ from: other.node.id, to: leader.node.id, raft, snapshot: 0n });
    leader.turn();
    const passedOn = leader.sent.filter(isChange).map(({ forward }) => forward!.member_change?.add?.ID);
    expect(passedOn).toEqual([5n]);
  });

  it('one of another member that still waits is not made in a later term of the same leader', () => {
    const { cluster, leader, follower, other } = led();
    const end = cluster.lose(({ raft, from }) => raft?.type === APPEND && from === leader.node.id);
    const outcomes: string[] = [];
    change(leader, addLearner(4n), outcomes);
    change(follower, addLearner(5n), outcomes);
    cluster.settle();
    for (const { node } of cluster.benches) cluster.cut.add(node.id);
    cluster.tick(25);
    expect(cluster.benches.map(({ isLeader }) => isLeader)).toEqual([false, false, false]);
    // Of the two its log is the longer one.
    end();
    for (const { node } of [leader, follower]) cluster.cut.delete(node.id);
    cluster.tick(40);
    expect(leader.isLeader).toBe(true);
    expect(cluster.cut).toEqual(new Set([other.node.id]));
    cluster.heal();
    expect(outcomes.sort()).toEqual(['LeaderChanged', 'add 4']);
    for (const { machine } of cluster.benches) expect(machine.values).toEqual(['add 4']);
  });

  it('a change that waits for a transfer is passed on to the next leader', () => {
    const { cluster, leader, follower } = led();
    const held = cluster.hold(({ raft }) => raft?.type === TIMEOUT_NOW);
    leader.node.transferLeadership(follower.node.id, () => {});
    const outcomes: string[] = [];
    change(leader, addLearner(4n), outcomes);
    cluster.settle();
    expect(leader.node.status().commitIndex).toBe(1);
    held.end();
    cluster.deliver(held.messages[0]!);
    cluster.settle();
    cluster.tick();
    expect([outcomes, follower.isLeader]).toEqual([['add 4'], true]);
  });
});

describe('a member that is removed', () => {
  it('knows it, and nobody else does', () => {
    const { cluster, leader, follower, other } = led();
    const outcomes: string[] = [];
    change(other, { remove: follower.node.id }, outcomes);
    cluster.settle();
    expect(outcomes).toEqual([`remove ${follower.node.id}`]);
    expect([leader.removed, follower.removed, other.removed]).toEqual([0, 1, 0]);
  });

  it('and leads hands over, without waiting for an election', () => {
    const { cluster, leader } = led();
    const outcomes: string[] = [];
    change(leader, { remove: leader.node.id }, outcomes);
    cluster.settle();
    expect([outcomes, leader.removed, leader.isLeader]).toEqual([[`remove ${leader.node.id}`], 1, false]);
    const next = cluster.leader;
    expect(next).not.toBe(leader);
    cluster.cut.add(leader.node.id);
    next.put('on we go', outcomes);
    cluster.settle();
    expect(outcomes.at(-1)).toBe('on we go');
  });
});

describe('a member that is added', () => {
  it('is told everything, becomes a voter, and may lead', () => {
    const { cluster, leader, follower } = led({ limits: { catchupEntries: 0, snapshotChunkBytes: 1 } });
    for (const key of ['a', 'b', 'c']) leader.put(key, []);
    cluster.tick(2);
    const outcomes: string[] = [];
    const joined = cluster.join(4n);
    cluster.tick(30);
    expect(joined.node.status()).toMatchObject({ term: 0, leader: 0n });
    change(follower, addLearner(4n), outcomes);
    cluster.tick(10);
    expect(joined.machine.values).toEqual(['a', 'b', 'c', 'add 4']);
    expect(joined.node.status().isLearner).toBe(true);
    change(joined, { promote: 4n }, outcomes);
    joined.put('d', outcomes);
    cluster.tick(3);
    expect(outcomes.sort()).toEqual(['add 4', 'd', 'promote 4']);
    expect(joined.node.status().isLearner).toBe(false);
    leader.node.transferLeadership(4n, () => {});
    cluster.tick();
    expect(joined.isLeader).toBe(true);
  });

  it('later, when the log of the leader begins behind its addition', () => {
    const { cluster, leader } = led({ limits: { catchupEntries: 0, followerBytesMax: 0 } });
    change(leader, addLearner(4n), []);
    cluster.tick(2);
    for (const key of ['a', 'b', 'c']) {
      leader.put(key, []);
      cluster.tick(2);
    }
    const joined = cluster.join(4n);
    cluster.tick(10);
    expect(joined.machine.values).toEqual(['add 4', 'a', 'b', 'c']);
    expect(joined.machine.confState).toEqual(leader.machine.confState);
  });
});

describe('limits', () => {
  it('changes that wait are bounded', () => {
    const cluster = new Cluster();
    const outcomes: string[] = [];
    for (let i = 0; i <= MEMBER_CHANGES_WAITING_MAX; i++)
      change(cluster.bench(1), addLearner(BigInt(10 + i)), outcomes);
    expect(outcomes).toEqual(['RequestTooManyRequests']);
    cluster.elect();
    cluster.tick(5);
    expect(outcomes).toHaveLength(MEMBER_CHANGES_WAITING_MAX + 1);
    expect(cluster.leader.machine.values).toHaveLength(MEMBER_CHANGES_WAITING_MAX);
  });

  it('those of others too', () => {
    const { cluster, leader, follower } = led();
    const [own, outcomes]: string[][] = [[], []];
    for (let i = 0; i < MEMBER_CHANGES_WAITING_MAX; i++) change(leader, addLearner(BigInt(10 + i)), own!);
    change(follower, addLearner(9n), outcomes!);
    follower.turn();
    cluster.carry();
    cluster.settle();
    expect(outcomes).toEqual(['RequestTooManyRequests']);
    expect(own).toHaveLength(MEMBER_CHANGES_WAITING_MAX);
  });
});
