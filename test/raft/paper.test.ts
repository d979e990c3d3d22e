/**
 * One test for each claim of the Raft paper (extended version; "dissertation" where it says so) about what is built.
 * What needs a longer story is a transcript in testdata/.
 */
import { describe, expect, it } from 'vitest';
import { checkRestored } from '../../core/raft/config.ts';
import { type Message, MessageType, newMessage } from '../../core/raft/messages.ts';
import { Raft } from '../../core/raft/raft.ts';
import type { Entry } from '../../core/wire/stored.ts';
import { Cluster, type ClusterOptions, data, FRESH, raftConfig, text } from './cluster.ts';

const T = MessageType.values;
const VOTERS = [1n, 2n, 3n];

function entry(index: number, term: number, value = ''): Entry {
  return { index, term, type: 0, data: text(value) };
}

function node(options: ClusterOptions = {}, terms: number[] = [], term = terms.at(-1) ?? 0): Raft {
  return new Raft(raftConfig(1n, VOTERS, options), {
    ...FRESH,
    hardState: { term, vote: 0n, commit: 0 },
    entries: terms.map((t, i) => entry(i + 1, t)),
  });
}

/** A message to node 1. */
function message(type: MessageType, from: bigint, term: number, fields: Partial<Message> = {}): Message {
  return { ...newMessage(type, 1n, term), from, ...fields };
}

/** Takes everything the node has to say, its writes being durable at once. */
function drain(raft: Raft): Message[] {
  const messages: Message[] = [];
  while (raft.hasReady()) {
    const ready = raft.ready();
    messages.push(...ready.messages);
    if (ready.sequence > 0) raft.persisted(ready.sequence);
    for (const { index } of ready.committedEntries) raft.applied(index);
  }
  return messages;
}

function leader(raft: Raft): Raft {
  raft.campaign();
  drain(raft);
  raft.step(message(T.VOTE_RESPONSE, 2n, raft.term));
  expect(raft.role).toBe('leader');
  return raft;
}

describe('5.1 Raft basics', () => {
  for (const role of ['follower', 'candidate', 'leader'] as const) {
    it(`a ${role} that sees a larger term becomes a follower of that term`, () => {
      const raft = node();
      if (role === 'candidate') raft.campaign();
      if (role === 'leader') leader(raft);
      raft.step(message(T.APPEND, 2n, 7));
      expect([raft.role, raft.term, raft.leader]).toEqual(['follower', 7, 2n]);
    });
  }

  it('a request of an old term changes nothing', () => {
    const raft = node({}, [1, 1], 3);
    raft.step(message(T.APPEND, 2n, 2, { index: 2, log_term: 1, entries: [entry(3, 2)] }));
    expect([raft.term, raft.leader, raft.log.lastIndex]).toEqual([3, 0n, 2]);
    expect(drain(raft)).toEqual([]);
  });
});

describe('5.2 Leader election', () => {
  it('servers start as followers and stay so while a leader speaks', () => {
    const raft = node();
    for (let i = 0; i < 100; i++) {
      expect(raft.role).toBe('follower');
      raft.step(message(T.HEARTBEAT, 2n, 1));
      raft.tick();
    }
  });

  it('a follower that hears nothing for the election timeout increments its term, votes for itself and asks the others', () => {
    const raft = node();
    for (let i = 0; i < 10; i++) raft.tick();
    expect([raft.role, raft.term, raft.vote]).toEqual(['candidate', 1, 1n]);
    expect(drain(raft).map((m) => [m.type, m.to, m.term])).toEqual([
      [T.VOTE, 2n, 1],
      [T.VOTE, 3n, 1],
    ]);
  });

  it('a candidate whose election ends without a winner starts another', () => {
    const raft = node();
    for (let i = 0; i < 20; i++) raft.tick();
    expect([raft.role, raft.term]).toEqual(['candidate', 2]);
  });

  it('candidates that it gives no vote do not keep a follower from campaigning, one that gets its vote does', () => {
    for (const [index, role] of [
      [1, 'candidate'],
      [2, 'follower'],
    ] as const) {
      // Node 1 waits for 10 ticks; the other asks after 6.
      const raft = node({}, [1, 1], 1);
      for (let tick = 1; tick <= 12; tick++) {
        raft.tick();
        if (tick === 6) raft.step(message(T.VOTE, 2n, 2, { index, log_term: 1 }));
      }
      expect(raft.role).toBe(role);
    }
  });

  it('the waits are spread over one to two election timeouts', () => {
    const seen = new Set<number>();
    for (let chance = 0; chance < 10; chance++) {
      const raft = node({ prng: () => ({ int: (bound) => chance % bound }) });
      let ticks = 0;
      for (; raft.role === 'follower'; ticks++) raft.tick();
      seen.add(ticks);
    }
    expect([...seen].sort((a, b) => a - b)).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
  });

  it.each([
    [1, [], 'leader'],
    [3, [true], 'leader'],
    [3, [false, true], 'leader'],
    [3, [false], 'candidate'],
    [3, [false, false], 'follower'],
    [5, [true], 'candidate'],
    [5, [true, true], 'leader'],
    [5, [false, true, false], 'candidate'],
    [5, [false, false, false], 'follower'],
  ] as const)('of %i servers, the others answering %j, it is a %s: a majority decides', (size, answers, role) => {
    const ids = Array.from({ length: size }, (_, i) => BigInt(i + 1));
    const raft = new Raft(raftConfig(1n, ids), FRESH);
    raft.campaign();
    drain(raft);
    for (const [i, granted] of answers.entries())
      raft.step(message(T.VOTE_RESPONSE, BigInt(i + 2), 1, { reject: !granted }));
    expect(raft.role).toBe(role);
  });

  it('a vote is counted once, and a stranger has none', () => {
    const raft = new Raft(raftConfig(1n, [1n, 2n, 3n, 4n, 5n]), FRESH);
    raft.campaign();
    drain(raft);
    for (const from of [2n, 2n, 2n, 9n]) raft.step(message(T.VOTE_RESPONSE, from, 1));
    expect(raft.role).toBe('candidate');
  });

  it('each server votes for at most one candidate in a term, first come first served', () => {
    const raft = node();
    raft.step(message(T.VOTE, 2n, 1));
    raft.step(message(T.VOTE, 3n, 1));
    raft.step(message(T.VOTE, 2n, 1));
    expect(drain(raft).map((m) => [m.to, m.reject])).toEqual([
      [2n, false],
      [3n, true],
      [2n, false],
    ]);
  });

  it('the vote outlives a restart', () => {
    const hardState = { term: 1, vote: 2n, commit: 0 };
    const raft = new Raft(raftConfig(1n, VOTERS), { ...FRESH, hardState });
    raft.step(message(T.VOTE, 3n, 1));
    expect(drain(raft).map((m) => m.reject)).toEqual([true]);
  });

  it('a candidate that hears from a leader of its own term returns to follower', () => {
    const raft = node();
    raft.campaign();
    raft.step(message(T.APPEND, 2n, 1));
    expect([raft.role, raft.leader]).toEqual(['follower', 2n]);
  });

  it('a leader sends heartbeats to all, every heartbeat interval', () => {
    const raft = leader(node({ heartbeatTicks: 2 }));
    drain(raft);
    raft.tick();
    expect(drain(raft)).toEqual([]);
    raft.tick();
    expect(drain(raft).map((m) => [m.type, m.to])).toEqual([
      [T.HEARTBEAT, 2n],
      [T.HEARTBEAT, 3n],
    ]);
  });
});

describe('figure 2: persistent state is durable before anybody hears of it', () => {
  it('a vote leaves when it is on disk, not before', () => {
    const raft = node();
    raft.step(message(T.VOTE, 2n, 1));
    const ready = raft.ready();
    expect(ready.hardState).toEqual({ term: 1, vote: 2n, commit: 0 });
    expect(ready.messages).toEqual([]);
    expect(raft.hasReady()).toBe(false);
    raft.persisted(ready.sequence);
    expect(raft.ready().messages).toHaveLength(1);
  });

  it('the word that entries are held leaves when they are on disk, not before', () => {
    const raft = node({}, [], 1);
    raft.step(message(T.APPEND, 2n, 1, { entries: [entry(1, 1)] }));
    const first = raft.ready();
    raft.step(message(T.APPEND, 2n, 1, { index: 1, log_term: 1, entries: [entry(2, 1)] }));
    const second = raft.ready();
    expect([...first.messages, ...second.messages]).toEqual([]);
    raft.persisted(first.sequence);
    expect(raft.ready().messages.map((m) => m.index)).toEqual([1]);
    raft.persisted(second.sequence);
    expect(raft.ready().messages.map((m) => m.index)).toEqual([2]);
  });

  it('a sole voter does not lead before its vote is on disk, nor commit before its entry is', () => {
    const raft = new Raft(raftConfig(1n, [1n]), FRESH);
    raft.campaign();
    const vote = raft.ready();
    expect(raft.role).toBe('candidate');
    raft.persisted(vote.sequence);
    expect(raft.role).toBe('leader');
    const empty = raft.ready();
    expect([raft.committed, empty.committedEntries]).toEqual([0, []]);
    raft.persisted(empty.sequence);
    expect(raft.ready().committedEntries).toEqual([entry(1, 1)]);
  });

  it('a commit index alone is not worth a write', () => {
    const raft = node({}, [1], 1);
    raft.step(message(T.HEARTBEAT, 2n, 1, { commit: 1 }));
    const ready = raft.ready();
    expect([ready.sequence, ready.hardState, ready.committedEntries.length]).toEqual([0, undefined, 1]);
  });

  it('entries may be on disk without the hard state written after them: the node joins their term, without a vote', () => {
    const hardState = { term: 1, vote: 3n, commit: 1 };
    const raft = new Raft(raftConfig(1n, VOTERS), { ...FRESH, hardState, entries: [entry(1, 1), entry(2, 4)] });
    expect([raft.term, raft.vote]).toEqual([4, 0n]);
    expect(raft.ready().hardState).toEqual({ term: 4, vote: 0n, commit: 1 });
  });
});

describe('5.3 Log replication', () => {
  it('a leader appends a proposal to its log and sends it to all, after the entry before it', () => {
    const raft = leader(node({}, [1, 1]));
    drain(raft);
    for (const from of [2n, 3n]) raft.step(message(T.APPEND_RESPONSE, from, 2, { index: 3 }));
    drain(raft);
    raft.propose([text('x')]);
    const sent = drain(raft).filter((m) => m.entries.length > 0);
    expect(sent.map((m) => [m.to, m.index, m.log_term, m.commit, data(m.entries[0]!)])).toEqual([
      [2n, 3, 2, 3, 'x'],
      [3n, 3, 2, 3, 'x'],
    ]);
  });

  it('an entry is committed once a majority holds it, and the followers hear of it', () => {
    const cluster = new Cluster(5);
    cluster.elect(1);
    cluster.cut(4, 5);
    cluster.raft(1).propose([text('x')]);
    cluster.settle();
    expect([1, 2, 3, 4].map((id) => cluster.raft(id).committed)).toEqual([2, 2, 2, 1]);
    cluster.cut(3);
    cluster.raft(1).propose([text('y')]);
    cluster.settle();
    expect(cluster.raft(1).committed).toBe(2);
    cluster.heal();
    cluster.raft(1).tick();
    cluster.settle();
    expect([1, 2, 3, 4, 5].map((id) => cluster.raft(id).committed)).toEqual([3, 3, 3, 3, 3]);
  });

  it.each([
    [2, 2, false],
    [1, 1, false],
    [2, 1, true],
    [3, 2, true],
  ])('a follower with entries of terms 1, 2 asked to append after %i/t%i: refused is %j', (index, term, refused) => {
    const raft = node({}, [1, 2], 2);
    raft.step(message(T.APPEND, 2n, 2, { index, log_term: term }));
    expect(drain(raft).map((m) => m.reject)).toEqual([refused]);
  });

  it.each([
    [2, 2, [3], [1, 2, 3]],
    [1, 1, [3, 3], [1, 3, 3]],
    [0, 0, [1], [1, 2]],
    [0, 0, [1, 2], [1, 2]],
    [1, 1, [], [1, 2]],
  ])('a follower with terms 1, 2 given, after %i/t%i, terms %j has terms %j', (index, logTerm, given, result) => {
    const raft = node({}, [1, 2], 3);
    const entries = given.map((term, i) => entry(index + 1 + i, term));
    raft.step(message(T.APPEND, 2n, 3, { index, log_term: logTerm, entries }));
    expect(Array.from({ length: raft.log.lastIndex }, (_, i) => raft.log.term(i + 1))).toEqual(result);
  });

  it('a follower commits what the leader has committed, but no further than it knows to share', () => {
    const raft = node({}, [1, 1, 1], 1);
    raft.step(message(T.APPEND, 2n, 1, { index: 1, log_term: 1, commit: 3 }));
    expect(raft.committed).toBe(1);
    raft.step(message(T.APPEND, 2n, 1, { index: 3, log_term: 1, commit: 2 }));
    expect(raft.committed).toBe(2);
  });

  // The logs of figure 7: the leader of term 8 and its possible followers.
  it.each([
    ['a', [1, 1, 1, 4, 4, 5, 5, 6, 6]],
    ['b', [1, 1, 1, 4]],
    ['c', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]],
    ['d', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]],
    ['e', [1, 1, 1, 4, 4, 4, 4]],
    ['f', [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]],
  ])('figure 7 (%s): the leader makes the follower log equal to its own', (_, terms) => {
    const cluster = new Cluster(3);
    const own = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    for (const [id, log] of [[1, own] as const, [2, terms] as const, [3, []] as const]) {
      const member = cluster.member(id);
      const entries = log.map((term, i) => entry(i + 1, term));
      member.disk.restored = { ...FRESH, entries, hardState: { term: 7, vote: 0n, commit: 0 } };
      member.crash();
    }
    cluster.cut(2);
    cluster.elect(1);
    cluster.heal();
    cluster.raft(1).tick();
    cluster.settle();
    const log = cluster.raft(2).log;
    expect(Array.from({ length: log.lastIndex }, (__, i) => log.term(i + 1))).toEqual([...own, 8]);
  });
});

describe('5.4 Safety', () => {
  it.each([
    [[1, 1], 2, 1, true],
    [[1, 1], 3, 1, true],
    [[1, 1], 1, 1, false],
    [[1, 1], 1, 2, true],
    [[1, 2], 2, 1, false],
    [[1, 2], 9, 1, false],
  ])(
    '5.4.1: a voter with terms %j supports a candidate whose log ends at %i/t%i: %j',
    (terms, index, term, granted) => {
      const raft = node({}, terms, 2);
      raft.step(message(T.VOTE, 2n, 3, { index, log_term: term }));
      expect(drain(raft).map((m) => !m.reject)).toEqual([granted]);
    },
  );

  it('5.4.2, figure 8: an entry of an earlier term is not committed by counting, but together with one of the own term', () => {
    const raft = leader(node({}, [1, 1]));
    drain(raft);
    raft.step(message(T.APPEND_RESPONSE, 2n, 2, { index: 2 }));
    raft.step(message(T.APPEND_RESPONSE, 3n, 2, { index: 2 }));
    expect(raft.committed).toBe(0);
    raft.step(message(T.APPEND_RESPONSE, 2n, 2, { index: 3 }));
    expect(raft.committed).toBe(3);
  });

  it('rule 7 of the log: a commit index beyond the log is an error that says so, not a start', () => {
    const lost = { ...FRESH, entries: [entry(1, 1)], hardState: { term: 1, vote: 0n, commit: 2 } };
    expect(checkRestored(lost)?.message).toMatch(/ends at entry 1, but entries up to 2 were committed/);
    expect(() => new Raft(raftConfig(1n, VOTERS), lost)).toThrow(/acknowledged writes are missing/);
    expect(checkRestored({ ...FRESH, appliedIndex: 1 })?.code).toBe('Other');
    expect(checkRestored({ ...FRESH, firstIndex: 5, prevTerm: 1, appliedIndex: 3 })?.message).toMatch(/between them/);
    expect(checkRestored({ ...FRESH, entries: [entry(1, 2), entry(2, 1)] })?.message).toMatch(/entry 2 of term 1/);
    expect(checkRestored({ ...FRESH, entries: [entry(2, 1)] })?.message).toMatch(/where entry 1/);
  });
});

describe('section 8 and dissertation 6.4: clients', () => {
  it('a leader begins its term with an empty entry', () => {
    const raft = leader(node({}, [1]));
    expect([raft.termStart, raft.log.entry(2)]).toEqual([2, entry(2, 2)]);
  });

  it('whoever does not lead refuses proposals and reads, and says why', () => {
    const raft = node();
    expect([raft.propose([text('x')])?.code, raft.readIndex(1n)?.code]).toEqual(['NoLeader', 'NoLeader']);
    raft.step(message(T.HEARTBEAT, 2n, 1));
    expect([raft.propose([text('x')])?.code, raft.readIndex(1n)?.code]).toEqual(['NotLeader', 'NotLeader']);
  });

  it('a read is not served before the first commit of the term', () => {
    const raft = leader(node());
    expect(raft.readIndex(5n)).toBeUndefined();
    expect(drain(raft).filter((m) => m.context > 0)).toEqual([]);
    raft.step(message(T.APPEND_RESPONSE, 2n, 1, { index: 1 }));
    expect(drain(raft).filter((m) => m.context > 0)).toHaveLength(2);
    raft.step(message(T.HEARTBEAT_RESPONSE, 2n, 1, { context: 1 }));
    expect(raft.ready().readStates).toEqual([{ context: 5n, index: 1 }]);
  });

  it('a read needs the answers of a majority, each to its own round or a later one', () => {
    const cluster = new Cluster(5);
    const raft = cluster.elect(1);
    raft.readIndex(5n);
    raft.readIndex(6n);
    drain(raft);
    const answer = (from: bigint, context: number) => raft.step(message(T.HEARTBEAT_RESPONSE, from, 1, { context }));
    answer(2n, 1);
    answer(2n, 1);
    expect(raft.ready().readStates).toEqual([]);
    answer(3n, 2);
    expect(raft.ready().readStates).toEqual([{ context: 5n, index: 1 }]);
    answer(4n, 2);
    expect(raft.ready().readStates).toEqual([{ context: 6n, index: 1 }]);
  });

  it('a read that its leader did not live to confirm is never answered', () => {
    const raft = leader(node());
    raft.step(message(T.APPEND_RESPONSE, 2n, 1, { index: 1 }));
    raft.readIndex(5n);
    raft.step(message(T.APPEND, 3n, 2));
    raft.step(message(T.HEARTBEAT_RESPONSE, 2n, 2, { context: 1 }));
    expect(raft.ready().readStates).toEqual([]);
  });

  it('a lost heartbeat does not keep a read waiting: the next one asks again', () => {
    const raft = leader(node());
    raft.step(message(T.APPEND_RESPONSE, 2n, 1, { index: 1 }));
    raft.readIndex(5n);
    drain(raft);
    raft.tick();
    expect(drain(raft).map((m) => m.context)).toEqual([1, 1]);
  });

  it('a sole voter knows by itself, from its first commit on', () => {
    const raft = new Raft(raftConfig(1n, [1n]), FRESH);
    raft.campaign();
    const vote = raft.ready();
    raft.persisted(vote.sequence);
    expect(raft.localReadIndex()).toBeUndefined();
    drain(raft);
    expect(raft.localReadIndex()).toBe(1);
    expect(leader(node()).localReadIndex()).toBeUndefined();
  });
});

describe('limits', () => {
  it('uncommitted bytes: at the limit accepted, one beyond refused; a first batch is always accepted', () => {
    const limit = { uncommittedBytesMax: 200 };
    const raft = leader(node(limit));
    drain(raft);
    raft.step(message(T.APPEND_RESPONSE, 2n, 1, { index: 1 }));
    expect(raft.uncommittedBytes).toBe(0);
    expect(raft.propose([new Uint8Array(68)])).toBeUndefined();
    expect(raft.propose([new Uint8Array(69)])?.code).toBe('RequestTooManyRequests');
    expect(raft.propose([new Uint8Array(68)])).toBeUndefined();
    expect(raft.uncommittedBytes).toBe(200);
    drain(raft);
    raft.step(message(T.APPEND_RESPONSE, 2n, 1, { index: 3 }));
    expect([raft.committed, raft.uncommittedBytes]).toEqual([3, 0]);
    expect(raft.propose([new Uint8Array(500)])).toBeUndefined();
  });

  it('pages of committed entries are cut by number and by bytes, and come one at a time', () => {
    const cut = (options: ClusterOptions) => {
      const raft = node(options, [1, 1, 1, 1, 1], 1);
      raft.step(message(T.HEARTBEAT, 2n, 1, { commit: 5 }));
      const pages: number[] = [];
      while (raft.hasReady()) {
        const { committedEntries } = raft.ready();
        if (committedEntries.length === 0) continue;
        expect(raft.ready().committedEntries).toEqual([]);
        pages.push(committedEntries.length);
        raft.applied(committedEntries.at(-1)!.index);
      }
      return pages;
    };
    expect(cut({ committedEntriesPerReadyMax: 2 })).toEqual([2, 2, 1]);
    expect(cut({ committedBytesPerReadyMax: 96 })).toEqual([3, 2]);
    expect(cut({ committedBytesPerReadyMax: 95 })).toEqual([2, 2, 1]);
    expect(cut({ committedBytesPerReadyMax: 1 })).toEqual([1, 1, 1, 1, 1]);
  });

  it('waiting reads: one beyond the limit is refused', () => {
    const raft = leader(node({ readsPendingMax: 2 }));
    expect([raft.readIndex(1n), raft.readIndex(2n)]).toEqual([undefined, undefined]);
    expect(raft.readIndex(3n)?.code).toBe('RequestTooManyRequests');
  });

  it('what is sent to a follower ahead of its word is limited in messages and in bytes', () => {
    for (const options of [{ inflightAppendsMax: 2 }, { inflightBytesMax: 2 * 33 }]) {
      const raft = leader(node(options));
      drain(raft);
      raft.step(message(T.APPEND_RESPONSE, 2n, 1, { index: 1 }));
      drain(raft);
      for (const value of ['a', 'b', 'c']) raft.propose([text(value)]);
      const sent = drain(raft).filter((m) => m.to === 2n && m.entries.length > 0);
      expect(sent.map((m) => data(m.entries[0]!))).toEqual(['a', 'b']);
      raft.step(message(T.APPEND_RESPONSE, 2n, 1, { index: 2 }));
      expect(drain(raft).map((m) => m.entries.map(data))).toContainEqual(['c']);
    }
  });

  it('a follower that needs compacted entries is sent a snapshot', () => {
    const cluster = new Cluster(3);
    const raft = cluster.elect(1);
    cluster.cut(3);
    raft.propose([text('x')]);
    cluster.settle();
    cluster.member(1).compact(2);
    cluster.heal();
    raft.propose([text('y')]);
    raft.tick();
    cluster.settle();
    expect([1, 2, 3].map((id) => cluster.raft(id).committed)).toEqual([3, 3, 3]);
    expect(cluster.raft(3).log.firstIndex).toBe(3);
    expect(cluster.member(3).applied.map(data)).toEqual(['', 'x', 'y']);
  });
});
