import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Harness } from '../apply/harness.ts';
import { briefEvent, connect, harness, PROGRESS_MS, watch } from './fixture.ts';

/** A follower whose state is replaced by a later one, and its watchers (etcd #15271). */

/** The same entries on two members; the second one has heard of fewer. */
class Pair {
  readonly leader: Harness = harness({ sliceRevisionsMax: 3 });
  readonly follower: Harness = harness({ sliceRevisionsMax: 3, responseBytesMax: 200 });
  readonly #log: ((h: Harness) => void)[] = [];
  #heard = 0;

  do(entry: (h: Harness) => void): void {
    entry(this.leader);
    this.#log.push(entry);
  }

  put(key: string, value = ''): void {
    this.do((h) => h.put(key, value));
  }

  /** The follower applies the log. */
  hear(entries = Number.POSITIVE_INFINITY): void {
    for (const entry of this.#log.slice(this.#heard, this.#heard + entries)) {
      entry(this.follower);
      this.#heard++;
    }
  }

  /** The follower gets it all at once. */
  install(): void {
    if (this.#heard === this.#log.length) return;
    this.leader.commit();
    this.follower.installFrom(this.leader);
    this.#heard = this.#log.length;
  }
}

describe('watches across an installed snapshot', () => {
  it('get every event that they missed, once and in order, then live ones', () => {
    const p = new Pair();
    p.put('a', '1');
    p.hear();
    const { sink, stream } = connect(p.follower);
    stream.create(watch('a'));
    stream.create(watch('a', { range_end: 'c', prev_kv: true }));
    p.put('a', '2');
    p.hear();
    expect(sink.take()).toEqual(['0@2 created', '1@2 created', '0@3 +a=2:3', '1@3 +a=2:3<1']);
    p.put('b', '1');
    p.put('a', '3');
    p.do((h) => h.del('a'));
    p.install();
    expect(p.follower.machine.hub.counts).toEqual({ streams: 1, watchers: 2, unsynced: 2 });
    p.follower.settle();
    p.put('a', '4');
    p.hear();
    const got = sink.got.flatMap(({ watch_id, events }) => events.map((event) => `${watch_id} ${briefEvent(event)}`));
    expect(got.filter((line) => line.startsWith('0'))).toEqual(['0 +a=3:5', '0 -a:6', '0 +a=4:7']);
    expect(got.filter((line) => line.startsWith('1'))).toEqual(['1 +b=1:4', '1 +a=3:5<2', '1 -a:6<3', '1 +a=4:7']);
  });

  it('stay where they are if they wait for a revision that has not come yet', () => {
    const p = new Pair();
    p.put('a');
    p.hear();
    const { sink, stream } = connect(p.follower);
    stream.create(watch('a', { start_revision: 5 }));
    stream.create(watch('a', { start_revision: 3 }));
    sink.take();
    p.put('a', '3');
    p.put('a', '4');
    p.install();
    expect(p.follower.machine.hub.counts.unsynced).toBe(1);
    p.follower.settle();
    p.put('a', '5');
    p.hear();
    expect(sink.take()).toEqual(['1@4 +a=3:3 +a=4:4', '0@5 +a=5:5', '1@5 +a=5:5']);
  });

  it('are cancelled when what they missed has been compacted, also those that were behind', () => {
    const p = new Pair();
    for (let i = 0; i < 4; i++) p.put('a', String(i));
    p.hear();
    const synced = connect(p.follower);
    synced.stream.create(watch('a'));
    synced.stream.create(watch('a', { start_revision: 9 }));
    const behind = connect(p.follower);
    behind.sink.room = 1;
    behind.stream.create(watch('a', { start_revision: 2 }));
    for (const { sink } of [synced, behind]) sink.take();
    for (let i = 0; i < 4; i++) p.put('a', String(i));
    p.do((h) => h.compact(8));
    p.install();
    p.follower.settle();
    p.put('a', 'live');
    p.hear();
    expect(synced.sink.take()).toEqual(['0@0 canceled compact=8', '1@9 +a=3:9', '1@10 +a=live:10']);
    expect(behind.sink.take()).toEqual([]);
    behind.stream.drained();
    p.follower.settle();
    expect(behind.sink.take()).toEqual(['0@0 canceled compact=8']);
  });

  it('that missed nothing notice nothing', () => {
    const p = new Pair();
    p.put('a');
    p.hear();
    const { sink, stream } = connect(p.follower);
    stream.create(watch('a'));
    p.do((h) => h.grant(1n));
    p.install();
    expect(p.follower.machine.hub.counts.unsynced).toBe(0);
    p.put('a', '2');
    p.hear();
    expect(sink.take()).toEqual(['0@2 created', '0@3 +a=2:3']);
  });

  it('are told of no progress before the events it covers', () => {
    const p = new Pair();
    const { sink, stream } = connect(p.follower);
    stream.create(watch('a', { progress_notify: true }));
    p.put('a');
    p.put('b');
    p.install();
    p.follower.clock.ms += 2 * PROGRESS_MS;
    p.follower.machine.hub.tick();
    stream.requestProgress();
    expect(sink.take()).toEqual(['0@1 created']);
    p.follower.settle();
    stream.requestProgress();
    expect(sink.take()).toEqual(['0@3 +a:2', '-1@3']);
  });

  it('hold no memory while their peer is slow, and go on when it reads again', () => {
    const p = new Pair();
    const { sink, stream } = connect(p.follower);
    stream.create(watch('a'));
    sink.room = 1;
    p.put('a', '1');
    p.hear();
    expect(stream.blocked).toBe(true);
    p.put('a', '2');
    p.install();
    p.follower.settle();
    expect(sink.take()).toEqual(['0@1 created', '0@2 +a=1:2']);
    sink.room = Number.POSITIVE_INFINITY;
    stream.drained();
    p.follower.settle();
    expect(sink.take()).toEqual(['0@3 +a=2:3']);
  });

  it('keep their promises whatever happens in whatever order', () => {
    const key = fc.constantFrom('a', 'b', 'c');
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ op: fc.constant('put' as const), key }) },
      { weight: 2, arbitrary: fc.record({ op: fc.constant('delete' as const), key }) },
      { weight: 2, arbitrary: fc.record({ op: fc.constant('hear' as const), entries: fc.nat(4) }) },
      { weight: 2, arbitrary: fc.record({ op: fc.constant('install' as const) }) },
      { weight: 2, arbitrary: fc.record({ op: fc.constant('work' as const) }) },
      { weight: 1, arbitrary: fc.record({ op: fc.constant('compact' as const), back: fc.nat(2) }) },
      {
        weight: 2,
        arbitrary: fc.record({ op: fc.constant('watch' as const), key, back: fc.integer({ min: -2, max: 5 }) }),
      },
      { weight: 1, arbitrary: fc.record({ op: fc.constant('slow' as const), room: fc.integer({ min: 1, max: 3 }) }) },
      { weight: 1, arbitrary: fc.record({ op: fc.constant('read' as const) }) },
    );
    const tally = { installs: 0, caughtUp: 0, canceled: 0, events: 0 };
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 50 }), (steps) => {
        const p = new Pair();
        const { follower } = p;
        const { sink, stream } = connect(follower);
        const starts: { key: string; from: number }[] = [];
        const history: { key: string; revision: number }[] = [];
        for (const each of steps) {
          if (each.op === 'put' || each.op === 'delete') {
            const before = p.leader.machine.store.revision;
            if (each.op === 'put') p.put(each.key);
            else p.do((h) => h.del(each.key));
            const { revision } = p.leader.machine.store;
            if (revision > before) history.push({ key: each.key, revision });
          } else if (each.op === 'compact') {
            const revision = p.leader.machine.store.revision - each.back;
            if (revision > 0) p.do((h) => h.compact(revision));
          } else if (each.op === 'hear') p.hear(each.entries);
          else if (each.op === 'install') {
            p.install();
            tally.installs++;
            tally.caughtUp += follower.machine.hub.counts.unsynced;
          } else if (each.op === 'work') follower.machine.work();
          else if (each.op === 'watch') {
            const from = Math.max(1, follower.machine.store.revision - each.back);
            starts.push({ key: each.key, from });
            stream.create(watch(each.key, { range_end: 'd', start_revision: from }));
          } else if (each.op === 'slow') sink.room = each.room;
          else {
            sink.room = Number.POSITIVE_INFINITY;
            stream.drained();
          }
        }
        p.hear();
        sink.room = Number.POSITIVE_INFINITY;
        stream.drained();
        follower.settle();
        let told = 0;
        const got = starts.map((): number[] => []);
        const canceled = new Set<number>();
        for (const response of sink.got) {
          const id = Number(response.watch_id);
          if (response.created) continue;
          if (response.canceled) {
            expect(response.compact_revision).toBeGreaterThan(Math.max(starts[id]!.from - 1, got[id]!.at(-1) ?? 0));
            canceled.add(id);
            tally.canceled++;
            continue;
          }
          expect(response.header!.revision).toBeGreaterThanOrEqual(told);
          told = response.header!.revision;
          for (const event of response.events) got[id]!.push(event.kv!.mod_revision);
        }
        for (const [id, { key: first, from }] of starts.entries()) {
          const all = history.filter((past) => past.key >= first && past.revision >= from).map((past) => past.revision);
          const mine = got[id]!;
          tally.events += mine.length;
          // Who was cancelled has got the beginning, the others everything.
          expect(mine).toEqual(canceled.has(id) ? all.slice(0, mine.length) : all);
        }
      }),
      { numRuns: 400 },
    );
    expect(Math.min(tally.installs, tally.caughtUp, tally.canceled, tally.events)).toBeGreaterThan(50);
  });
});
