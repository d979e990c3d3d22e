/** The driver alone, over a disk that finishes when the test says so. */
import { describe, expect, it } from 'vitest';
import { IdGenerator } from '../../core/node/id-generator.ts';
import { entryBytes } from '../../core/raft/log.ts';
import { ListMachine } from './list-machine.ts';
import { Bench, FakeWal, put } from './world.ts';

describe('starting', () => {
  it('a sole voter elects itself; the machine leads when it has applied the first entry of the term', () => {
    const bench = new Bench();
    expect(bench.node.status()).toEqual({
      id: 1n,
      leader: 0n,
      isLeader: false,
      isLearner: false,
      term: 0,
      commitIndex: 0,
      appliedIndex: 0,
    });
    bench.node.start();
    bench.turn();
    expect(bench.node.status().isLeader).toBe(false);
    bench.wal.finish();
    expect([bench.node.status().isLeader, bench.machine.leading]).toEqual([true, []]);
    bench.wal.finish();
    expect(bench.machine.leading).toEqual([true]);
    expect(bench.node.status()).toEqual({
      id: 1n,
      leader: 1n,
      isLeader: true,
      isLearner: false,
      term: 1,
      commitIndex: 1,
      appliedIndex: 1,
    });
  });

  it('what came before the election waits for it', () => {
    const bench = new Bench();
    const outcomes: string[] = [];
    bench.node.start();
    bench.put('a', outcomes);
    bench.read(outcomes);
    expect(outcomes).toEqual([]);
    bench.settle();
    expect(outcomes.sort()).toEqual(['a', 'read']);
  });

  it('a log that ends before the stored state is refused with a sentence', () => {
    const machine = new ListMachine();
    machine.appliedIndex = 3;
    expect(() => new Bench({ machine })).toThrow(/log on disk ends at entry 0, but the stored state includes entry 3/);
  });

  it('replays what the log has beyond the state, decoded, in slices', () => {
    const first = new Bench().lead();
    const outcomes: string[] = [];
    for (const key of ['a', 'b', 'c', 'd']) first.put(key, outcomes);
    first.settle();
    const second = new Bench({ wal: first.wal, machine: first.machine.crash(), limits: { applyEntriesMax: 2 } });
    second.node.start();
    const progress = [0];
    const note = () => progress.push(second.machine.appliedIndex);
    while (second.turns.length > 0 || second.wal.writes.length > 0) {
      second.turn();
      note();
      second.wal.finish(1);
      note();
    }
    expect(Math.max(...progress.map((index, i) => index - (progress[i - 1] ?? 0)))).toBe(2);
    expect(second.machine.values).toEqual(['a', 'b', 'c', 'd']);
    expect(second.machine.requests[1]?.put?.key).toBe('a');
    expect(second.machine.requests[1]?.id).toBe(first.machine.requests[1]?.id);
  });

  it('an entry that nobody can decode stops the member with a sentence', () => {
    const wal = new FakeWal();
    wal.entries = [{ index: 1, term: 1, type: 0, data: new Uint8Array([0xff]) }];
    wal.hardState = { term: 1, vote: 1n, commit: 1 };
    const bench = new Bench({ wal });
    bench.node.start();
    bench.settle();
    expect(bench.fatal.map((error) => error.message)).toEqual([
      expect.stringMatching(/entry 1 of the log holds no request that this version understands/),
    ]);
  });
});

describe('proposals', () => {
  it('all of one turn are one write; what comes while it is under way is the next', () => {
    const bench = new Bench().lead();
    const outcomes: string[] = [];
    bench.put('a', outcomes);
    bench.put('b', outcomes);
    expect(bench.wal.writes).toEqual([]);
    bench.turn();
    expect(bench.wal.writes.map((write) => write.entries.length)).toEqual([2]);
    bench.put('c', outcomes);
    bench.turn();
    bench.put('d', outcomes);
    bench.turn();
    expect(bench.wal.writes).toHaveLength(1);
    expect(outcomes).toEqual([]);
    bench.wal.finish(1);
    expect(outcomes).toEqual(['a', 'b']);
    expect(bench.wal.writes.map((write) => write.entries.length)).toEqual([2]);
    bench.wal.finish(1);
    expect(outcomes).toEqual(['a', 'b', 'c', 'd']);
  });

  it('the next write is under way before the results of the last are handed out', () => {
    const bench = new Bench().lead();
    let writesSeen = -1;
    bench.node.propose(put('a'), () => {
      writesSeen = bench.wal.writes.length;
    });
    bench.turn();
    bench.put('b', []);
    bench.wal.finish(1);
    expect(writesSeen).toBe(1);
  });

  it('the results of a page are handed out in one go, after all of it is applied', () => {
    const bench = new Bench().lead();
    const seen: number[] = [];
    for (const key of ['a', 'b', 'c']) bench.node.propose(put(key), () => void seen.push(bench.machine.values.length));
    bench.settle();
    expect(seen).toEqual([3, 3, 3]);
  });

  it('the proposing node applies the very request, without decoding it again; ids differ', () => {
    const bench = new Bench().lead();
    const request = put('a');
    bench.node.propose(request, () => {});
    bench.node.propose(put('b'), () => {});
    bench.settle();
    expect(bench.machine.requests[1]).toBe(request);
    expect(bench.machine.requests[1]!.id).not.toBe(bench.machine.requests[2]!.id);
  });

  it('a proposal from within a result is taken in the next turn', () => {
    const bench = new Bench().lead();
    const outcomes: string[] = [];
    bench.node.propose(put('a'), () => bench.put('b', outcomes));
    bench.settle();
    expect(outcomes).toEqual(['b']);
  });

  it('a request of exactly the limit is taken, one byte more is too large', () => {
    const probe = new Bench().lead();
    probe.put('aaaa', []);
    probe.settle();
    const bench = new Bench({ limits: { requestBytesMax: probe.wal.entries.at(-1)!.data.length } }).lead();
    const outcomes: string[] = [];
    bench.put('aaaa', outcomes);
    bench.put('aaaaa', outcomes);
    bench.settle();
    expect(outcomes).toEqual(['RequestTooLarge', 'aaaa']);
  });

  it('pending requests are limited in number', () => {
    const bench = new Bench({ limits: { proposalsPendingMax: 3 } }).lead();
    const outcomes: string[] = [];
    for (const key of ['a', 'b', 'c', 'd']) bench.put(key, outcomes);
    expect(outcomes).toEqual(['RequestTooManyRequests']);
    bench.settle();
    bench.put('e', outcomes);
    bench.settle();
    expect(outcomes).toEqual(['RequestTooManyRequests', 'a', 'b', 'c', 'e']);
  });

  it('pending requests are limited in bytes', () => {
    const probe = new Bench().lead();
    probe.put('a', []);
    probe.settle();
    const size = probe.wal.entries.at(-1)!.data.length;
    for (const [bytes, refused] of [
      [2 * size, 0],
      [2 * size - 1, 1],
    ] as const) {
      const bench = new Bench({ limits: { proposalBytesPendingMax: bytes } }).lead();
      const outcomes: string[] = [];
      bench.put('a', outcomes);
      bench.put('b', outcomes);
      expect(outcomes).toHaveLength(refused);
    }
  });

  it('a batch is limited in bytes; the rest follows in the next write', () => {
    const bench = new Bench({ limits: { batchBytesMax: 1 } }).lead();
    const outcomes: string[] = [];
    for (const key of ['a', 'b', 'c']) bench.put(key, outcomes);
    bench.turn();
    expect(bench.wal.writes.map((write) => write.entries.length)).toEqual([1]);
    bench.settle();
    expect(outcomes).toEqual(['a', 'b', 'c']);
  });

  it('a log in memory that cannot be trimmed fast enough refuses new requests until it is', () => {
    const probe = new Bench().lead();
    for (const key of ['a', 'b']) probe.put(key, []);
    probe.settle();
    const bytes = probe.wal.entries.reduce((sum, entry) => sum + entryBytes(entry), 0);
    const bench = new Bench({ limits: { logBytesMax: bytes - 1, catchupEntries: 0 } }).lead();
    const outcomes: string[] = [];
    for (const key of ['a', 'b', 'c']) {
      bench.put(key, outcomes);
      bench.settle();
    }
    expect(outcomes).toEqual(['a', 'b', 'RequestTooManyRequests']);
    bench.tick();
    bench.machine.finishCommit();
    bench.put('d', outcomes);
    bench.settle();
    expect(outcomes.at(-1)).toBe('d');
  });
});

describe('deadlines', () => {
  it('a request without a result in time is told so, once, and its late result is dropped', () => {
    const bench = new Bench({ config: { requestTimeoutMs: 500 } }).lead();
    const outcomes: string[] = [];
    bench.put('a', outcomes);
    bench.turn();
    bench.put('b', outcomes);
    bench.tick(4);
    bench.put('c', outcomes);
    expect(outcomes).toEqual([]);
    bench.tick();
    expect(outcomes).toEqual(['Timeout', 'Timeout']);
    bench.settle();
    // "a" was in the log already, "b" was not.
    expect(bench.machine.values).toEqual(['a', 'c']);
    expect(outcomes).toEqual(['Timeout', 'Timeout', 'c']);
  });

  it('a request whose time ran out counts as pending until its entry is applied', () => {
    const bench = new Bench({ config: { requestTimeoutMs: 100 }, limits: { proposalsPendingMax: 1 } }).lead();
    const outcomes: string[] = [];
    bench.put('a', outcomes);
    bench.turn();
    bench.tick();
    bench.put('b', outcomes);
    bench.settle();
    bench.put('c', outcomes);
    bench.settle();
    expect(outcomes).toEqual(['Timeout', 'RequestTooManyRequests', 'c']);
  });

  it('the default is 7 s', () => {
    const bench = new Bench({ voters: [1n, 2n, 3n] });
    const outcomes: string[] = [];
    bench.node.start();
    bench.put('a', outcomes);
    bench.read(outcomes);
    bench.tick(69);
    expect(outcomes).toEqual([]);
    bench.tick();
    expect(outcomes).toEqual(['Timeout', 'Timeout']);
  });
});

describe('linearizable reads', () => {
  it('are answered before the call returns when a sole voter is up to date, and see no unfinished write', () => {
    const bench = new Bench().lead();
    const outcomes: string[] = [];
    bench.put('a', outcomes);
    bench.turn();
    bench.read(outcomes);
    expect(outcomes).toEqual(['read']);
    expect(bench.turns).toEqual([]);
  });

  it('wait for what is committed and not applied yet', () => {
    const bench = new Bench({ limits: { applyEntriesMax: 1 } }).lead();
    const outcomes: string[] = [];
    bench.put('a', outcomes);
    bench.put('b', outcomes);
    bench.turn();
    bench.wal.finish();
    bench.read(outcomes);
    expect(outcomes).toEqual(['a']);
    bench.settle();
    expect(outcomes).toEqual(['a', 'b', 'read']);
  });

  it('are limited in number while they wait', () => {
    const bench = new Bench({ limits: { readsPendingMax: 2 } });
    const outcomes: string[] = [];
    bench.node.start();
    for (const name of ['1', '2', '3']) bench.read(outcomes, name);
    expect(outcomes).toEqual(['RequestTooManyRequests']);
    bench.settle();
    bench.read(outcomes, '4');
    expect(outcomes).toEqual(['RequestTooManyRequests', '1', '2', '4']);
  });
});

describe('the backend', () => {
  it('commits at a tick when there is something, one commit at a time', () => {
    const bench = new Bench().lead();
    bench.tick();
    expect(bench.machine.commits).toEqual([]);
    bench.put('a', []);
    bench.settle();
    bench.tick();
    bench.put('b', []);
    bench.settle();
    bench.tick();
    expect(bench.machine.commits).toHaveLength(1);
    bench.machine.finishCommit();
    bench.tick();
    expect(bench.machine.commits.map((commit) => commit.values)).toEqual([['a', 'b']]);
  });

  it('commits between ticks when it is far behind', () => {
    const bench = new Bench({ limits: { commitWritesMax: 3 } }).lead();
    for (const key of ['a', 'b', 'c']) {
      expect(bench.machine.commits).toEqual([]);
      bench.put(key, []);
      bench.settle();
    }
    expect(bench.machine.commits).toHaveLength(1);
  });

  it('commits between ticks when the log has grown by much', () => {
    const bench = new Bench({ limits: { commitBytesMax: 2000, commitTicks: 1000 } }).lead();
    const after: number[] = [];
    for (let i = 0; i < 6; i++) {
      bench.put('x'.repeat(900), []);
      bench.settle();
      after.push(bench.machine.commits.length);
      if (after.length === 4) bench.machine.finishCommit();
    }
    expect(after[0]).toBe(0);
    expect(after[3]).toBe(1);
    // The next one is counted from there.
    expect(after.slice(4)).toEqual([0, 0]);
  });

  it('does not count what is only removed', () => {
    const bench = new Bench({ limits: { commitWritesMax: 3 } }).lead();
    bench.machine.pendingWrites = bench.machine.pendingRemovals = 5;
    for (const key of ['a', 'b', 'c']) {
      expect(bench.machine.commits).toEqual([]);
      bench.put(key, []);
      bench.settle();
    }
    expect(bench.machine.commits).toHaveLength(1);
  });

  it('commits for background work at once when nobody writes, else at the tick', () => {
    const bench = new Bench({ limits: { commitTicks: 3, wishedCommitTicks: 3 } }).lead();
    const work = () => {
      bench.node.requestWork();
      bench.rest();
      return bench.machine.commits.length;
    };
    for (let i = 0; i < 3; i++) bench.tick();
    expect(work()).toBe(0);
    bench.machine.pendingWrites = bench.machine.pendingRemovals = 5;
    bench.machine.commitWish = 'due';
    bench.put('a', []);
    bench.settle();
    expect(work()).toBe(0);
    bench.tick();
    expect(work()).toBe(0);
    bench.tick();
    expect(work()).toBe(1);
    bench.machine.finishCommit();
    // Still waiting: another one follows.
    expect(bench.machine.commits).toHaveLength(1);
    bench.machine.commitWish = 'none';
    bench.machine.finishCommit();
    bench.put('b', []);
    bench.settle();
    bench.machine.commitWish = 'due';
    expect(work()).toBe(0);
    for (let i = 0; i < 3 && bench.machine.commits.length === 0; i++) bench.tick();
    expect(bench.machine.commits).toHaveLength(1);
    bench.machine.finishCommit();
    bench.put('c', []);
    bench.settle();
    bench.machine.commitWish = 'now';
    expect(work()).toBe(1);
  });

  it('lets go of the log behind the durable state, but for the catch-up entries', () => {
    const bench = new Bench({ limits: { catchupEntries: 2 } }).lead();
    for (let i = 0; i < 9; i++) bench.put(`${i}`, []);
    bench.settle();
    bench.tick();
    bench.put('later', []);
    bench.settle();
    expect(bench.wal.released).toBe(0);
    bench.machine.finishCommit();
    expect(bench.wal.released).toBe(8);
  });

  it('lets go of more when the catch-up entries are large', () => {
    const bench = new Bench({ limits: { catchupBytesMax: 0 } }).lead();
    for (let i = 0; i < 9; i++) bench.put(`${i}`, []);
    bench.settle();
    bench.tick();
    bench.machine.finishCommit();
    expect(bench.wal.released).toBe(10);
  });

  it('commits entries without effect too, in the end, so that their log can go', () => {
    const bench = new Bench({ limits: { commitWritesMax: 5, catchupEntries: 0 } }).lead();
    bench.machine.apply = (index) => {
      bench.machine.appliedIndex = index;
      return {};
    };
    for (let i = 0; i < 3; i++) bench.node.propose(put('x'), () => {});
    bench.settle();
    bench.tick();
    expect(bench.machine.commits).toHaveLength(0);
    bench.node.propose(put('x'), () => {});
    bench.settle();
    bench.tick();
    bench.machine.finishCommit();
    expect(bench.wal.released).toBe(5);
  });

  it('that fails stops the member', () => {
    const bench = new Bench().lead();
    bench.put('a', []);
    bench.settle();
    bench.tick();
    bench.machine.finishCommit(new Error('EIO: i/o error'));
    expect(bench.fatal.map((error) => error.message)).toEqual([
      expect.stringMatching(/database could not be written \(EIO: i\/o error\)/),
    ]);
  });
});

describe('expired leases', () => {
  it('are revoked through the log, a bounded number at a time and per second', () => {
    const bench = new Bench().lead();
    bench.machine.expired = Array.from({ length: 250 }, (_, i) => BigInt(i + 1));
    bench.tick();
    bench.turn();
    expect(bench.wal.writes[0]?.entries).toHaveLength(16);
    expect(bench.machine.expired).toHaveLength(150);
    bench.settle();
    expect(bench.machine.revoked).toHaveLength(100);
    bench.tick();
    bench.settle();
    bench.tick();
    bench.settle();
    expect(bench.machine.revoked).toEqual(Array.from({ length: 250 }, (_, i) => BigInt(i + 1)));
  });

  it('are not asked for where nobody leads', () => {
    const bench = new Bench({ voters: [1n, 2n, 3n] });
    bench.machine.expired = [1n];
    bench.node.start();
    bench.tick(30);
    expect(bench.machine.expired).toEqual([1n]);
  });
});

describe('background work', () => {
  it('runs in slices when nothing else is to do, until there is no more', () => {
    const bench = new Bench().lead();
    for (const run of bench.idle.splice(0)) run();
    bench.machine.workLeft = 3;
    bench.node.requestWork();
    bench.node.requestWork();
    let slices = 0;
    for (; bench.idle.length > 0; slices++) bench.idle.shift()!();
    expect([slices, bench.machine.workLeft]).toEqual([3, 0]);
  });
});

describe('stopping', () => {
  it('refuses what is new, finishes what was accepted, makes the state durable, closes the log', () => {
    const bench = new Bench().lead();
    const outcomes: string[] = [];
    bench.put('a', outcomes);
    bench.turn();
    bench.put('b', outcomes);
    let stopped = 0;
    bench.node.stop(() => stopped++);
    bench.node.stop(() => stopped++);
    bench.put('c', outcomes);
    bench.read(outcomes);
    expect(outcomes).toEqual(['Stopped', 'Stopped']);
    bench.settle();
    expect(outcomes).toEqual(['Stopped', 'Stopped', 'a', 'b']);
    expect([stopped, bench.wal.closed]).toEqual([0, false]);
    bench.machine.finishCommit();
    expect([stopped, bench.wal.closed, bench.machine.commits.length]).toEqual([2, true, 0]);
    bench.node.stop(() => stopped++);
    expect(stopped).toBe(3);
    bench.tick();
    expect(bench.machine.crash().values).toEqual(['a', 'b']);
  });

  it('waits for a commit under way, and commits what came after it', () => {
    const bench = new Bench().lead();
    bench.put('a', []);
    bench.settle();
    bench.tick();
    bench.put('b', []);
    bench.settle();
    let stopped = false;
    bench.node.stop(() => {
      stopped = true;
    });
    bench.machine.finishCommit();
    expect(stopped).toBe(false);
    bench.machine.finishCommit();
    expect(stopped).toBe(true);
    expect(bench.machine.crash().values).toEqual(['a', 'b']);
  });

  it('does not wait for a long replay', () => {
    const first = new Bench().lead();
    for (let i = 0; i < 20; i++) first.put(`${i}`, []);
    first.settle();
    const bench = new Bench({ wal: first.wal, machine: first.machine.crash(), limits: { applyEntriesMax: 1 } });
    bench.node.start();
    bench.turn();
    bench.wal.finish();
    bench.turn();
    let stopped = false;
    bench.node.stop(() => {
      stopped = true;
    });
    bench.wal.finish();
    bench.machine.finishCommit();
    expect([stopped, bench.machine.appliedIndex < 20]).toEqual([true, true]);
  });

  it('works before the start', () => {
    const bench = new Bench();
    let stopped = false;
    bench.node.stop(() => {
      stopped = true;
    });
    expect([stopped, bench.wal.closed]).toEqual([true, true]);
  });

  it('without a leader, requests run out of time and then it stops', () => {
    const bench = new Bench({ voters: [1n, 2n, 3n], config: { requestTimeoutMs: 300 } });
    const outcomes: string[] = [];
    bench.node.start();
    bench.put('a', outcomes);
    bench.node.stop(() => outcomes.push('stopped'));
    bench.settle();
    bench.tick(3);
    expect(outcomes).toEqual(['Timeout', 'stopped']);
  });
});

describe('a failed write', () => {
  it('is reported once, ends every request, and is followed by no success', () => {
    const bench = new Bench().lead();
    const outcomes: string[] = [];
    bench.put('a', outcomes);
    bench.turn();
    bench.put('b', outcomes);
    bench.turn();
    bench.wal.fail(new Error('EIO: i/o error, fdatasync'));
    expect(outcomes).toEqual(['Stopped', 'Stopped']);
    expect(bench.fatal.map((error) => error.message)).toEqual([expect.stringMatching(/must not be tried again/)]);
    bench.put('c', outcomes);
    bench.read(outcomes);
    bench.turn();
    bench.tick(100);
    expect(outcomes).toEqual(['Stopped', 'Stopped', 'Stopped', 'Stopped']);
    expect([bench.machine.values, bench.fatal.length]).toEqual([[], 1]);
    let stopped = false;
    bench.node.stop(() => {
      stopped = true;
    });
    expect([stopped, bench.wal.closed, bench.machine.commits.length]).toEqual([true, true, 0]);
  });

  it('for want of space says so', () => {
    const bench = new Bench().lead();
    bench.put('a', []);
    bench.turn();
    bench.wal.fail(Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }));
    expect(bench.fatal[0]!.message).toMatch(/disk of the write-ahead log is full .* free some space and start again/);
  });
});

describe('request ids', () => {
  it('begin with the member and the time, and count', () => {
    const ids = new IdGenerator(0x12_3456n, 1_700_000_000_123);
    const first = ids.next();
    expect(first >> 48n).toBe(0x3456n);
    expect(BigInt.asUintN(48, first) >> 8n).toBe(BigInt.asUintN(40, 1_700_000_000_123n));
    expect(ids.next()).toBe(first + 1n);
    expect(new IdGenerator(0x12_3456n, 1_700_000_000_124).next()).toBe(first + 256n);
  });

  it('stay within the member when the count overflows', () => {
    const ids = new IdGenerator(7n, 2 ** 40 - 1);
    let last = 0n;
    for (let i = 0; i < 300; i++) last = ids.next();
    expect(last >> 48n).toBe(7n);
  });
});
