/** Requests that a follower passes on to the leader: whatever is lost, doubled or late, each happens at most once. */
import { describe, expect, it } from 'vitest';
import { FORWARD_RUNS_REMEMBERED_MAX, FORWARDS_REMEMBERED_MAX, ForwardInbox } from '../../core/node/forward-inbox.ts';
import { FORWARD_BYTES_MAX, FORWARDS_UNANSWERED_MAX } from '../../core/node/forwards.ts';
import type { Forward, PeerMessage } from '../../core/node/peer-message.ts';
import { ENTRY_OVERHEAD_BYTES } from '../../core/raft/log.ts';
import { MessageType, newMessage } from '../../core/raft/messages.ts';
import { Cluster, part } from './cluster.ts';
import { type Bench, put } from './world.ts';

const { APPEND, APPEND_RESPONSE, HEARTBEAT } = MessageType.values;

function isForward({ forward }: PeerMessage): boolean {
  return forward !== undefined;
}

function appendsTo(id: bigint): (message: PeerMessage) => boolean {
  return ({ raft, to }) => raft?.type === APPEND && to === id;
}

/** A leader of a later term makes itself known. */
function deposeByHand(bench: Bench, by: bigint): void {
  const raft = { ...newMessage(HEARTBEAT, bench.node.id, bench.node.term + 1), from: by };
  bench.node.step({ from: by, to: bench.node.id, raft, snapshot: 0n });
}

function led(limits = {}): { cluster: Cluster; leader: Bench; follower: Bench; other: Bench } {
  const cluster = new Cluster(limits);
  const leader = cluster.elect();
  cluster.tick();
  const [follower, other] = cluster.followers;
  return { cluster, leader, follower, other };
}

function valuesEverywhere(cluster: Cluster): string[] {
  const [first, ...others] = cluster.benches;
  for (const { machine } of others) expect(machine.values).toEqual(first!.machine.values);
  return first!.machine.values;
}

describe('a request passed on', () => {
  it('shares a message with all that came in the same turn', () => {
    const { cluster, follower } = led();
    const forwards = cluster.watch(isForward);
    const outcomes: string[] = [];
    for (const key of ['a', 'b', 'c']) follower.put(key, outcomes);
    cluster.settle();
    expect(forwards.map(({ forward }) => forward!.requests.length)).toEqual([3]);
    expect(outcomes).toEqual(['a', 'b', 'c']);
  });

  it('is split where a message would be too large', () => {
    const { cluster, follower } = led();
    const forwards = cluster.watch(isForward);
    const outcomes: string[] = [];
    const half = 'x'.repeat(FORWARD_BYTES_MAX / 2);
    for (const key of ['a', half, half, 'b']) follower.put(key, outcomes);
    cluster.settle();
    expect(forwards.map(({ forward }) => forward!.requests.length)).toEqual([2, 2]);
    expect(outcomes).toEqual(['a', half, half, 'b']);
  });

  it('happens once though every message comes twice', () => {
    const { cluster, follower } = led();
    cluster.change(
      () => true,
      (message) => [message, message],
    );
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    cluster.settle();
    follower.put('b', outcomes);
    cluster.settle();
    expect(outcomes).toEqual(['a', 'b']);
    expect(valuesEverywhere(cluster)).toEqual(['a', 'b']);
  });

  it('is sent again when it was lost, under the same number', () => {
    const { cluster, follower } = led();
    const forwards: PeerMessage[] = [];
    cluster.change(isForward, (message) => {
      forwards.push(message);
      return forwards.length === 1 ? [] : [message];
    });
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    cluster.settle();
    cluster.tick(2);
    expect([forwards.length, outcomes]).toEqual([1, []]);
    cluster.tick();
    expect(outcomes).toEqual(['a']);
    expect(forwards).toHaveLength(2);
    expect(forwards[1]).toEqual(forwards[0]);
    cluster.tick(10);
    expect(forwards).toHaveLength(2);
    expect(valuesEverywhere(cluster)).toEqual(['a']);
  });

  it('is sent again when the answer was lost, and gets it, but happens once', () => {
    const { cluster, leader, follower } = led();
    cluster.lose(part('forward_reply'), 1);
    const late = cluster.hold(appendsTo(follower.node.id));
    const forwards = cluster.watch(isForward);
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    cluster.settle();
    cluster.tick(3);
    expect([forwards.length, leader.machine.values, outcomes]).toEqual([2, ['a'], []]);
    // Another one goes on being lost meanwhile.
    const { batch } = forwards[0]!.forward!;
    const end = cluster.lose(({ forward }) => forward !== undefined && forward.batch !== batch);
    follower.put('b', []);
    cluster.tick(10);
    expect(forwards.filter(({ forward }) => forward!.batch === batch)).toHaveLength(2);
    expect(forwards.length).toBeGreaterThan(3);
    end();
    late.end();
    cluster.deliver(...late.messages);
    cluster.settle();
    expect(outcomes).toEqual(['a']);
    cluster.tick(4);
    expect(valuesEverywhere(cluster)).toEqual(['a', 'b']);
  });

  it('is not taken again from a copy that comes late, before and after its number is forgotten', () => {
    const { cluster, follower } = led();
    const forwards = cluster.watch(isForward);
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    cluster.settle();
    cluster.deliver(forwards[0]!);
    cluster.settle();
    follower.put('b', outcomes);
    cluster.settle();
    expect(forwards[1]!.forward!.floor).toBeGreaterThan(forwards[0]!.forward!.batch);
    cluster.deliver(forwards[0]!, forwards[1]!, forwards[0]!);
    cluster.settle();
    expect(outcomes).toEqual(['a', 'b']);
    expect(valuesEverywhere(cluster)).toEqual(['a', 'b']);
  });

  it('is answered by its entry, even before the leader has said that it has it', () => {
    const { cluster, follower } = led();
    const replies = cluster.hold(part('forward_reply'));
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    cluster.settle();
    expect(outcomes).toEqual(['a']);
    cluster.deliver(...replies.messages);
    cluster.tick(5);
    expect(outcomes).toEqual(['a']);
  });

  it('waits while nobody leads', () => {
    const cluster = new Cluster();
    const outcomes: string[] = [];
    for (const bench of cluster.benches) bench.put(`${bench.node.id}`, outcomes);
    cluster.settle();
    expect(outcomes).toEqual([]);
    cluster.elect();
    cluster.tick();
    expect(outcomes.sort()).toEqual(['1', '2', '3']);
  });

  it('that cannot be read is refused, and does not stop the cluster', () => {
    const { cluster, leader, follower } = led();
    const replies = cluster.watch(part('forward_reply'));
    const forward: Forward = {
      term: leader.node.term,
      batch: 1n,
      floor: 1n,
      run: 1n,
      requests: [new Uint8Array([0xff])],
    };
    cluster.deliver({ from: follower.node.id, to: leader.node.id, forward, snapshot: 0n });
    cluster.settle();
    expect(replies.map(({ forward_reply }) => forward_reply?.error !== undefined)).toEqual([true]);
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    cluster.settle();
    expect(outcomes).toEqual(['a']);
  });
});

describe('a refusal', () => {
  it('reaches the caller, holds for every copy, and the next attempt has another number', () => {
    const { cluster, leader, follower } = led({ limits: { proposalsPendingMax: 1 } });
    const forwards = cluster.watch(isForward);
    const [outcomes, own]: string[][] = [[], []];
    leader.put('own', own!);
    follower.put('a', outcomes!);
    follower.turn();
    cluster.carry();
    cluster.settle();
    expect([outcomes, own]).toEqual([['RequestTooManyRequests'], ['own']]);
    // There would be room by now.
    cluster.deliver(forwards[0]!);
    cluster.settle();
    follower.put('a', outcomes!);
    cluster.settle();
    expect(outcomes).toEqual(['RequestTooManyRequests', 'a']);
    expect(forwards[1]!.forward!.batch).not.toBe(forwards[0]!.forward!.batch);
    expect(valuesEverywhere(cluster)).toEqual(['own', 'a']);
  });

  it('is given when the leader cannot trim its log fast enough', () => {
    const { cluster, leader, follower } = led({ limits: { logBytesMax: 300, catchupEntries: 0 } });
    cluster.disksFinish = () => false;
    const outcomes: string[] = [];
    for (let i = 0; outcomes.at(-1) !== 'RequestTooManyRequests'; i++) {
      expect(i).toBeLessThan(20);
      follower.put(`${i}`, outcomes);
      cluster.settle();
      follower.tick();
      if (follower.machine.commits.length > 0) follower.machine.finishCommit();
    }
    leader.tick();
    leader.machine.finishCommit();
    follower.put('later', outcomes);
    cluster.settle();
    expect(outcomes.at(-1)).toBe('later');
  });

  it('of an earlier term says nothing of a later one', () => {
    const { cluster, follower } = led();
    cluster.lose(part('forward_reply'));
    const late = cluster.hold(appendsTo(follower.node.id));
    const forwards = cluster.watch(isForward);
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    cluster.settle();
    const { batch, term } = forwards[0]!.forward!;
    const error = { status: 2, text: 'etcdserver: too many requests' };
    const { from, to } = forwards[0]!;
    cluster.deliver({ from: to, to: from, forward_reply: { term: term - 1, batch, error }, snapshot: 0n });
    late.end();
    cluster.deliver(...late.messages);
    cluster.settle();
    expect(outcomes).toEqual(['a']);
  });
});

describe('when the leader changes', () => {
  it.each([
    ['had the request in its log', undefined],
    ['never got it', isForward],
  ])('and the old one %s, it is proposed to the new one, once', (_, loses) => {
    const { cluster, leader, follower } = led();
    const forwards = cluster.watch(isForward);
    if (loses !== undefined) cluster.lose(loses, 1);
    // What the old leader appends, nobody hears.
    const end = cluster.lose(({ raft, from }) => raft?.type === APPEND && from === leader.node.id);
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    cluster.settle();
    const next = cluster.depose();
    end();
    cluster.tick();
    expect(outcomes).toEqual(['a']);
    cluster.heal();
    cluster.deliver(...forwards);
    cluster.tick(3);
    expect(outcomes).toEqual(['a']);
    expect(valuesEverywhere(cluster)).toEqual(['a']);
    if (next === follower) expect(forwards).toHaveLength(1);
    else expect(forwards.map(({ to }) => to)).toEqual([leader.node.id, next.node.id]);
  });

  it('and the new one has the entry, it is answered by that and not proposed again', () => {
    const { cluster, leader, follower, other } = led();
    const late = cluster.hold(appendsTo(follower.node.id));
    cluster.lose(({ raft, from }) => raft?.type === APPEND_RESPONSE && from === other.node.id);
    const forwards = cluster.watch(isForward);
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    cluster.settle();
    expect([leader.machine.values, outcomes]).toEqual([[], []]);
    late.end();
    cluster.cut.add(leader.node.id);
    // Only the other one has the entry, so only it can win.
    cluster.tick(60);
    expect(other.isLeader).toBe(true);
    cluster.heal();
    expect(outcomes).toEqual(['a']);
    expect(forwards).toHaveLength(1);
    expect(valuesEverywhere(cluster)).toEqual(['a']);
  });

  it('requests of others that waited there go nowhere from there', () => {
    const { cluster, leader, follower, other } = led();
    const own: string[] = [];
    leader.put('own', own);
    leader.turn();
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    follower.turn();
    cluster.carry();
    leader.turn();
    leader.put('too', own);
    deposeByHand(leader, other.node.id);
    leader.turn();
    const passedOn = leader.sent.filter(isForward);
    expect(passedOn.map(({ forward }) => forward!.requests.length)).toEqual([1]);
    // In a later term of its own they must not come up again.
    cluster.tick(60);
    expect(outcomes).toEqual(['a']);
    expect([...valuesEverywhere(cluster)].sort()).toEqual(['a', 'own', 'too']);
  });

  it('what was decided in a term ends with it: revocations and checkpoints are not passed on', () => {
    const { cluster, leader, other } = led();
    leader.put('busy', []);
    leader.turn();
    leader.machine.expired = [1n];
    leader.machine.dueCheckpoints = [{ ID: 2n, remaining_TTL: 9 }];
    leader.tick();
    deposeByHand(leader, other.node.id);
    leader.turn();
    expect(leader.machine.expired).toEqual([]);
    expect(leader.sent.filter(isForward)).toEqual([]);
    cluster.tick(60);
    for (const { machine } of cluster.benches) expect([machine.revoked, machine.checkpointed]).toEqual([[], []]);
    cluster.leader.machine.expired = [1n];
    cluster.leader.machine.dueCheckpoints = [{ ID: 2n, remaining_TTL: 9 }];
    cluster.tick();
    for (const { machine } of cluster.benches) expect([machine.revoked, machine.checkpointed]).toEqual([[1n], [2n]]);
  });

  it('one that is about to stop takes nothing more on, and the next does', () => {
    const { cluster, leader, follower } = led();
    const late = cluster.hold(({ raft }) => raft?.type === APPEND_RESPONSE);
    const [own, outcomes]: string[][] = [[], []];
    leader.put('own', own!);
    cluster.settle();
    leader.node.stop(() => own!.push('stopped'));
    follower.put('a', outcomes!);
    cluster.settle();
    late.end();
    cluster.deliver(...late.messages);
    cluster.settle();
    expect([own, outcomes]).toEqual([['own', 'stopped'], []]);
    cluster.cut.add(leader.node.id);
    cluster.elect();
    cluster.tick();
    expect(outcomes).toEqual(['a']);
    expect(follower.machine.values).toEqual(['own', 'a']);
  });
});

describe('after a restart', () => {
  it('a member is heard, though its clock has gone back', () => {
    const { cluster, follower } = led();
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    cluster.settle();
    const again = cluster.restart(follower.node.id, 0, { nowMs: 1_000_000_000_000 });
    cluster.tick();
    again.put('b', outcomes);
    cluster.settle();
    expect(outcomes).toEqual(['a', 'b']);
    expect(valuesEverywhere(cluster)).toEqual(['a', 'b']);
  });

  it('what the process had sent before may still arrive, and happens at most once', () => {
    const { cluster, follower } = led();
    const forwards = cluster.hold(isForward);
    const [outcomes, later]: string[][] = [[], []];
    follower.put('a', outcomes!);
    cluster.settle();
    const again = cluster.restart(follower.node.id);
    forwards.end();
    again.put('b', later!);
    cluster.settle();
    cluster.deliver(...forwards.messages, ...forwards.messages);
    cluster.settle();
    expect([outcomes, later]).toEqual([[], ['b']]);
    expect([...valuesEverywhere(cluster)].sort()).toEqual(['a', 'b']);
  });
});

describe('time', () => {
  it('runs out once, whatever becomes of the request', () => {
    const { cluster, follower } = led({ config: { requestTimeoutMs: 500 } });
    const held = cluster.hold(isForward);
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    cluster.tick(4);
    expect(outcomes).toEqual([]);
    cluster.tick();
    expect(outcomes).toEqual(['Timeout']);
    held.end();
    cluster.deliver(held.messages[0]!);
    cluster.tick(10);
    expect(outcomes).toEqual(['Timeout']);
    expect(valuesEverywhere(cluster)).toEqual(['a']);
  });

  it('runs out where the caller is, not at a leader whose disk is slow', () => {
    const { cluster, leader, follower } = led({
      config: { requestTimeoutMs: 500 },
      limits: { proposalsPendingMax: 2 },
    });
    const [own, outcomes]: string[][] = [[], []];
    leader.put('own', own!);
    leader.turn();
    follower.put('a', outcomes!);
    for (let tick = 0; tick < 20; tick++)
      for (const bench of cluster.benches) {
        bench.tick();
        bench.turn();
        if (bench !== leader) bench.wal.finish();
        cluster.carry();
      }
    expect([own, outcomes]).toEqual([['Timeout'], ['Timeout']]);
    cluster.tick();
    // The leader had taken it on, so it comes; the follower would wait for it for the rest of the term.
    expect(valuesEverywhere(cluster)).toEqual(['own', 'a']);
    for (const key of ['b', 'c']) follower.put(key, outcomes!);
    cluster.settle();
    expect(outcomes).toEqual(['Timeout', 'b', 'c']);
  });

  it('passes while the leader has too much uncommitted, and then there is room', () => {
    const probe = led();
    probe.follower.put('a', []);
    probe.cluster.settle();
    const bytes = probe.leader.wal.entries.at(-1)!.data.length;
    // Two requests may wait, but only one fits into the log at a time.
    const { cluster, leader, follower } = led({
      limits: { proposalBytesPendingMax: 2 * bytes + ENTRY_OVERHEAD_BYTES },
    });
    const late = cluster.hold(({ raft }) => raft?.type === APPEND_RESPONSE);
    const outcomes: string[] = [];
    leader.put('a', outcomes);
    cluster.settle();
    follower.put('b', outcomes);
    cluster.tick(3);
    expect([outcomes, leader.node.status().appliedIndex]).toEqual([[], 1]);
    late.end();
    cluster.deliver(...late.messages);
    cluster.tick();
    expect(outcomes).toEqual(['a', 'b']);
  });

  it('cannot tell what became of it when a snapshot takes the place of the entries', () => {
    const { cluster, leader, follower } = led({ limits: { catchupEntries: 0, followerBytesMax: 0 } });
    const lost = cluster.lose(({ raft, to }) => raft?.type === APPEND && to === follower.node.id);
    const outcomes: string[] = [];
    follower.put('a', outcomes);
    cluster.settle();
    leader.put('b', []);
    cluster.settle();
    expect(leader.machine.values).toEqual(['a', 'b']);
    cluster.tick(2);
    expect(leader.wal.released).toBe(leader.node.status().appliedIndex);
    lost();
    cluster.tick(5);
    expect(follower.events.filter((event) => event.startsWith('in force'))).toHaveLength(1);
    expect(follower.machine.values).toEqual(['a', 'b']);
    expect(outcomes).toEqual(['Timeout']);
  });
});

describe('limits', () => {
  it('beyond the most unanswered messages, requests wait and share the next', () => {
    const { cluster, follower } = led();
    const forwards = cluster.hold(isForward);
    const outcomes: string[] = [];
    for (let i = 0; i < FORWARDS_UNANSWERED_MAX + 2; i++) {
      follower.put(`${i}`, outcomes);
      cluster.settle();
    }
    expect(forwards.messages).toHaveLength(FORWARDS_UNANSWERED_MAX);
    forwards.end();
    const rest = cluster.watch(isForward);
    cluster.deliver(...forwards.messages);
    cluster.settle();
    expect(rest.map(({ forward }) => forward!.requests.length)).toEqual([2]);
    expect(outcomes).toHaveLength(FORWARDS_UNANSWERED_MAX + 2);
  });

  it('the leader hears no more of a member than it can remember, until that has settled something', () => {
    const inbox = new ForwardInbox();
    const term = 3;
    const run = 5n;
    const look = (from: bigint, batch: number, floor = 1) =>
      inbox.look(from, { term, run, batch: BigInt(batch), floor: BigInt(floor), requests: [] }, term);
    let news = 0;
    for (let batch = 1; batch <= FORWARDS_REMEMBERED_MAX; batch++) {
      if (look(2n, batch) === 'new') news++;
      inbox.remember(2n, { term, run, batch: BigInt(batch) }, 'taken');
    }
    expect([news, look(2n, FORWARDS_REMEMBERED_MAX + 1)]).toEqual([FORWARDS_REMEMBERED_MAX, 'ignore']);
    expect(look(2n, FORWARDS_REMEMBERED_MAX)).toBe('taken');
    expect(look(3n, 1)).toBe('new');
    expect(look(2n, FORWARDS_REMEMBERED_MAX + 1, 2)).toBe('new');
    expect(look(2n, 1)).toBe('ignore');
    // What was meant for a leader of another term is not for this one, and what it says of that does not count.
    for (const other of [2, 4])
      expect(inbox.look(2n, { term: other, run, batch: 7n, floor: 9n, requests: [] }, term)).toBe('ignore');
    expect(look(2n, 2)).toBe('taken');
    // Another term is another memory.
    expect(inbox.look(2n, { term: 4, run, batch: 1n, floor: 1n, requests: [] }, 4)).toBe('new');
    expect(look(2n, 2)).toBe('new');
  });

  it('the leader remembers some lives of a member, of whom the last is not the first', () => {
    const inbox = new ForwardInbox();
    const look = (run: number, batch: bigint) =>
      inbox.look(2n, { term: 3, run: BigInt(run), batch, floor: batch, requests: [] }, 3);
    for (let run = 0; run < FORWARD_RUNS_REMEMBERED_MAX; run++) {
      expect(look(run, 9n)).toBe('new');
      inbox.remember(2n, { term: 3, run: BigInt(run), batch: 9n }, 'taken');
    }
    expect([look(0, 9n), look(0, 8n)]).toEqual(['taken', 'ignore']);
    // One more: the first is forgotten.
    expect(look(FORWARD_RUNS_REMEMBERED_MAX, 1n)).toBe('new');
    expect([look(1, 9n), look(0, 9n)]).toEqual(['taken', 'new']);
  });

  it('requests that wait for the leader are bounded like others', () => {
    const cluster = new Cluster({ limits: { proposalsPendingMax: 3 } });
    const { node } = cluster.bench(1);
    const outcomes: string[] = [];
    for (let i = 0; i < 4; i++) node.propose(put(`${i}`), (result) => outcomes.push((result as { code: string }).code));
    expect(outcomes).toEqual(['RequestTooManyRequests']);
  });
});
