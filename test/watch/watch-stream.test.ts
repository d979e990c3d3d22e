import { describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import { EventList } from '../../core/watch/event-list.ts';
import { encode } from '../../core/wire/binary.ts';
import { encodedOf } from '../../core/wire/encoded.ts';
import * as m from '../../core/wire/messages.ts';
import { del, put } from '../apply/harness.ts';
import { brief, connect, connectCopying, harness, PROGRESS_MS, watch } from './fixture.ts';

const { NOPUT, NODELETE } = m.FilterType.values;

describe('creating', () => {
  it('answers with the revision of that moment, then sends what happens afterwards', () => {
    const h = harness();
    h.put('a', '1');
    const { sink, stream } = connect(h);
    stream.create(watch('a'));
    h.put('a', '2');
    h.put('b');
    h.del('a');
    expect(sink.take()).toEqual(['0@2 created', '0@3 +a=2:3', '0@5 -a:5']);
  });

  it('fills the header with the revision only', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.create(watch('a'));
    expect(sink.got[0]!.header).toEqual({ cluster_id: 0n, member_id: 0n, revision: 1, raft_term: 0 });
  });

  it('counts ids from 0, around those that clients chose, and takes any id that is free', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    for (const watch_id of [0n, 2n, 0n, 0n, -7n, 2n, 0n]) stream.create(watch('a', { watch_id }));
    stream.cancel(2n);
    stream.create(watch('a', { watch_id: 2n }));
    const duplicate = '-1@1 created canceled (mvcc: duplicate watch ID provided on the WatchStream)';
    expect(sink.take()).toEqual([
      '0@1 created',
      '2@1 created',
      '1@1 created',
      '3@1 created',
      '-7@1 created',
      duplicate,
      '4@1 created',
      '2@1 canceled',
      '2@1 created',
    ]);
  });

  it('numbers the watches of each stream on their own', () => {
    const h = harness();
    const [one, two] = [connect(h), connect(h)];
    one.stream.create(watch('a'));
    two.stream.create(watch('b'));
    h.put('b', '1');
    expect([one.sink.take(), two.sink.take()]).toEqual([['0@1 created'], ['0@1 created', '0@2 +b=1:2']]);
  });

  it.each([
    ['b', 'a'],
    ['b', 'b'],
    ['', '\0\0'],
  ])('refuses the range [%j, %j) only if it is empty', (key, range_end) => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.create(watch(key, { range_end }));
    const fine = key === '';
    expect(sink.take()).toEqual([fine ? '0@1 created' : '-1@1 created canceled (mvcc: watcher range is empty)']);
  });

  it('refuses a negative start revision in the words of etcd', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.create(watch('a', { start_revision: -1 }));
    expect(sink.take()).toEqual(['-1@1 created canceled (etcdserver: mvcc: required revision has been compacted)']);
  });

  it('understands keys, ranges, open ranges, and the empty key as the first one', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.create(watch('b'));
    stream.create(watch('b', { range_end: 'd' }));
    stream.create(watch('b', { range_end: '\0' }));
    stream.create(watch('', { range_end: '\0' }));
    stream.create(watch(''));
    sink.take();
    for (const key of ['\0', 'a', 'b', 'b\0', 'd', '\xff\xff']) h.put(key);
    const seenBy = [0n, 1n, 2n, 3n, 4n].map((id) =>
      sink.got.filter((r) => r.watch_id === id).flatMap((r) => r.events.map((e) => e.kv!.key)),
    );
    expect(seenBy).toEqual([
      ['b'],
      ['b', 'b\0'],
      ['b', 'b\0', 'd', '\xff\xff'],
      ['\0', 'a', 'b', 'b\0', 'd', '\xff\xff'],
      ['\0'],
    ]);
  });

  it('takes as many watches per stream as the limit, and not one more', () => {
    const h = harness({ watchersPerStreamMax: 2 });
    const { sink, stream } = connect(h);
    for (let i = 0; i < 3; i++) stream.create(watch('a'));
    expect(sink.take()[2]).toBe('-1@1 created canceled (etcdserver: too many watches on one stream (limit 2))');
    stream.cancel(0n);
    stream.create(watch('a'));
    expect(sink.take()[1]).toBe('2@1 created');
  });
});

describe('cancelling', () => {
  it('answers for an id it knows, keeps silent for another, and sends nothing more', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.create(watch('a'));
    stream.create(watch('a'));
    stream.cancel(5n);
    stream.cancel(0n);
    stream.cancel(0n);
    h.put('a');
    expect(sink.take()).toEqual(['0@1 created', '1@1 created', '0@1 canceled', '1@2 +a:2']);
  });

  it('closing ends everything without a word', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    h.put('a');
    stream.create(watch('a', { progress_notify: true }));
    stream.create(watch('a', { start_revision: 1 }));
    stream.close();
    stream.close();
    sink.take();
    h.put('a');
    h.settle();
    h.clock.ms += PROGRESS_MS;
    h.machine.hub.tick();
    stream.create(watch('a'));
    stream.cancel(0n);
    stream.requestProgress();
    stream.drained();
    expect(sink.take()).toEqual([]);
    expect(h.machine.hub.counts).toEqual({ streams: 0, watchers: 0, unsynced: 0 });
  });

  it('may happen from within a send', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    for (let i = 0; i < 3; i++) stream.create(watch('a'));
    sink.take();
    sink.onSend = (r) => r.events.length > 0 && r.watch_id === 0n && stream.cancel(1n);
    h.put('a');
    expect(sink.take()).toEqual(['0@2 +a:2', '1@2 canceled', '2@2 +a:2']);
    sink.onSend = () => stream.close();
    h.put('a');
    expect(sink.take()).toEqual(['0@3 +a:3']);
    const late = connect(h);
    late.sink.onSend = () => late.stream.close();
    late.stream.create(watch('a'));
    h.put('a');
    expect(late.sink.take()).toEqual(['0@3 created']);
  });
});

describe('starting points', () => {
  it('catches up from a revision, with the current revision in the header', () => {
    const h = harness();
    for (let i = 2; i <= 5; i++) h.put('a', String(i));
    const { sink, stream } = connect(h);
    stream.create(watch('a', { start_revision: 3 }));
    expect(sink.take()).toEqual(['0@5 created']);
    h.settle();
    expect(sink.take()).toEqual(['0@5 +a=3:3 +a=4:4 +a=5:5']);
    h.put('a', '6');
    expect(sink.take()).toEqual(['0@6 +a=6:6']);
  });

  it('needs no history for the next revision, and sends nothing early for a future one', () => {
    const h = harness();
    h.put('a');
    const { sink, stream } = connect(h);
    stream.create(watch('a', { start_revision: 3 }));
    stream.create(watch('a', { start_revision: 5 }));
    expect(h.machine.hub.waiting).toBe(false);
    for (let i = 3; i <= 6; i++) h.put('a', String(i));
    expect(sink.take()).toEqual([
      '0@2 created',
      '1@2 created',
      '0@3 +a=3:3',
      '0@4 +a=4:4',
      '0@5 +a=5:5',
      '1@5 +a=5:5',
      '0@6 +a=6:6',
      '1@6 +a=6:6',
    ]);
  });

  it('a future start holds when the watch falls behind before it (etcd #20221)', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.create(watch('a', { start_revision: 4 }));
    sink.room = 1;
    stream.create(watch('x'));
    for (let i = 2; i <= 5; i++) h.put('a', String(i));
    sink.room = 100;
    stream.drained();
    h.settle();
    expect(sink.take().slice(2)).toEqual(['0@5 +a=4:4 +a=5:5']);
  });

  it('does not read more revisions at once than the limit, and no revision twice', () => {
    const h = harness({ sliceRevisionsMax: 3 });
    for (let i = 2; i <= 9; i++) h.put(i % 2 ? 'b' : 'a', String(i));
    const { sink, stream } = connect(h);
    stream.create(watch('a', { start_revision: 1, range_end: '\0' }));
    sink.take();
    expect(h.machine.hub.work()).toBe(true);
    expect(sink.take()).toEqual(['0@9 +a=2:2 +b=3:3 +a=4:4']);
    h.settle();
    expect(sink.take()).toEqual(['0@9 +b=5:5 +a=6:6 +b=7:7', '0@9 +a=8:8 +b=9:9']);
  });

  it('reads history once for all who need it', () => {
    const h = harness();
    for (let i = 2; i <= 50; i++) h.put('a', String(i));
    const clients = Array.from({ length: 20 }, () => connect(h));
    for (const [i, { stream }] of clients.entries()) stream.create(watch('a', { start_revision: 2 + i }));
    let slices = 1;
    while (h.machine.hub.work()) slices++;
    // One slice for the nearest, one that takes all the others along.
    expect(slices).toBe(2);
    for (const [i, { sink }] of clients.entries()) expect(sink.got[1]!.events).toHaveLength(49 - i);
  });

  it('serves the nearly finished beside the far behind', () => {
    const h = harness({ sliceRevisionsMax: 2 });
    for (let i = 2; i <= 100; i++) h.put('a', String(i));
    const [far, near] = [connect(h), connect(h)];
    far.stream.create(watch('a', { start_revision: 1 }));
    near.stream.create(watch('a', { start_revision: 99 }));
    h.machine.hub.work();
    h.machine.hub.work();
    expect(near.sink.take()).toEqual(['0@100 created', '0@100 +a=99:99 +a=100:100']);
    expect(far.sink.take()).toHaveLength(2);
  });

  it('reads less at once when there is much to send', () => {
    const h = harness({ sliceCostMax: 10, sliceRevisionsMax: 64 });
    for (let i = 2; i <= 400; i++) h.put('a', 'x'.repeat(512));
    const { sink, stream } = connect(h);
    stream.create(watch('a', { start_revision: 1 }));
    h.settle();
    const sizes = sink.got.slice(1).map((r) => r.events.length);
    expect(sizes.slice(0, 7)).toEqual([64, 32, 16, 8, 4, 2, 2]);
    expect(sizes.reduce((a, b) => a + b)).toBe(399);
  });

  it('tells that there is work when there was none', () => {
    const h = harness();
    let wakes = 0;
    h.machine.onWork = () => wakes++;
    h.put('a');
    const { sink, stream } = connect(h);
    stream.create(watch('a'));
    expect(wakes).toBe(0);
    stream.create(watch('a', { start_revision: 1 }));
    stream.create(watch('a', { start_revision: 1 }));
    expect(wakes).toBe(1);
    h.settle();
    sink.room = 1;
    h.put('a');
    h.put('a');
    expect(wakes).toBe(1);
    sink.room = 100;
    stream.drained();
    expect(wakes).toBe(2);
  });
});

describe('compaction', () => {
  it('cancels a watch from before it, after created, without reason and without revision', () => {
    const h = harness();
    for (let i = 2; i <= 6; i++) h.put('a', String(i));
    h.compact(4);
    const { sink, stream } = connect(h);
    stream.create(watch('a', { start_revision: 3 }));
    stream.create(watch('a', { start_revision: 4 }));
    h.settle();
    expect(sink.take()).toEqual(['0@6 created', '1@6 created', '0@0 canceled compact=4', '1@6 +a=4:4 +a=5:5 +a=6:6']);
    stream.requestProgress();
    expect(sink.take()).toEqual(['-1@6']);
  });

  it('leaves the id of the watch it ends taken until the client cancels it, once', () => {
    const h = harness({ watchersPerStreamMax: 3 });
    for (let i = 2; i <= 6; i++) h.put('a', String(i));
    h.compact(4);
    const { sink, stream } = connect(h);
    stream.create(watch('a', { start_revision: 3, watch_id: 1n }));
    h.settle();
    sink.take();
    stream.create(watch('a', { watch_id: 1n }));
    stream.create(watch('a'));
    stream.create(watch('a'));
    stream.create(watch('a'));
    expect(sink.take()).toEqual([
      '-1@6 created canceled (mvcc: duplicate watch ID provided on the WatchStream)',
      '0@6 created',
      '2@6 created',
      '-1@6 created canceled (etcdserver: too many watches on one stream (limit 3))',
    ]);
    stream.cancel(1n);
    stream.cancel(1n);
    stream.create(watch('a', { watch_id: 1n }));
    expect(sink.take()).toEqual(['1@6 canceled', '1@6 created']);
  });

  it('at the revision of a delete keeps that delete (etcd #18089, #19179)', () => {
    const h = harness();
    h.put('a', '1');
    h.del('a');
    h.put('b', '1');
    h.compact(3);
    h.settle();
    const { sink, stream } = connect(h);
    stream.create(watch('a', { start_revision: 3, range_end: '\0' }));
    h.settle();
    expect(sink.take()).toEqual(['0@4 created', '0@4 -a:3 +b=1:4']);
  });

  it('overtakes a watch that is slow: cancelled, never with a gap (etcd #17529)', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.create(watch('a'));
    sink.room = 1;
    for (let i = 2; i <= 5; i++) h.put('a', String(i));
    h.compact(5);
    h.settle();
    sink.room = 100;
    stream.drained();
    h.settle();
    expect(sink.take()).toEqual(['0@1 created', '0@2 +a=2:2', '0@0 canceled compact=5']);
    expect(stream.size).toBe(0);
  });

  it('does not touch watches that are synced', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.create(watch('b'));
    for (let i = 2; i <= 5; i++) h.put('a', String(i));
    h.compact(5);
    h.settle();
    h.put('b');
    expect(sink.take()).toEqual(['0@1 created', '0@6 +b:6']);
  });
});

describe('events', () => {
  it('of one revision come in one response, in order', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.create(watch('a', { range_end: 'z' }));
    h.put('c');
    sink.take();
    h.txn({ success: [put('b'), del('c'), put('a'), put('zz')] });
    expect(sink.take()).toEqual(['0@3 +b:3 -c:3 +a:3']);
  });

  it('are filtered, and a response that would be empty is not sent', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    for (const filters of [[NOPUT], [NODELETE], [NOPUT, NODELETE], [9]]) stream.create(watch('a', { filters }));
    h.put('a', '1');
    h.del('a');
    h.put('a', '2');
    expect(sink.take().slice(4)).toEqual([
      '1@2 +a=1:2',
      '3@2 +a=1:2',
      '0@3 -a:3',
      '3@3 -a:3',
      '1@4 +a=2:4',
      '3@4 +a=2:4',
    ]);
    stream.create(watch('a', { filters: [NOPUT], start_revision: 2 }));
    h.settle();
    expect(sink.take()).toEqual(['4@4 created', '4@4 -a:3']);
  });

  it('carry the previous pair when asked, live and from history, where there is one', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.create(watch('a', { prev_kv: true }));
    stream.create(watch('a', { prev_kv: true }));
    stream.create(watch('a'));
    h.put('a', '1');
    h.put('a', '2');
    h.del('a');
    h.put('a', '3');
    const live = sink.got.filter((r) => r.watch_id === 0n).slice(1);
    expect(live.map(brief)).toEqual(['0@2 +a=1:2', '0@3 +a=2:3<1', '0@4 -a:4<2', '0@5 +a=3:5']);
    expect(sink.got.filter((r) => r.watch_id === 2n).map(brief)[2]).toBe('2@3 +a=2:3');
    sink.take();
    h.compact(3);
    stream.create(watch('a', { prev_kv: true, start_revision: 3 }));
    h.settle();
    // The pair before revision 3 is compacted.
    expect(sink.take()).toEqual(['3@5 created', '3@5 +a=2:3 -a:4<2 +a=3:5']);
  });

  it('are encoded once for all who see them alike', () => {
    const h = harness();
    const clients = Array.from({ length: 3 }, () => connect(h));
    for (const { stream } of clients) stream.create(watch('a'));
    for (const { stream } of clients) stream.create(watch('a', { prev_kv: true }));
    h.put('a', '1');
    h.put('a', '2');
    const last = clients.map(({ sink }) => sink.got.slice(-2).map((r) => r.events[0]!));
    for (const [plain, previous] of last) {
      expect(plain).toBe(last[0]![0]);
      expect(previous).toBe(last[0]![1]);
      const { type, kv, prev_kv } = previous!;
      expect(encodedOf(previous!)).toEqual(encode(m.Event, { type, kv, prev_kv }));
      expect(encodedOf(plain!)).toEqual(encode(m.Event, { type, kv }));
    }
  });
});

describe('large responses', () => {
  const value = 'x'.repeat(100);

  it('are cut between revisions, and within one only into fragments', () => {
    const h = harness({ responseBytesMax: 500 });
    const { sink, stream } = connect(h);
    h.txn({ success: ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((key) => put(key, value)) });
    for (const key of ['a', 'b', 'c', 'd']) h.put(key, value);
    const keysOf = () => sink.got.splice(0).map((r) => [r.events.map((e) => e.kv!.key).join(''), r.fragment]);
    stream.create(watch('a', { range_end: '\0', start_revision: 2, fragment: true }));
    h.settle();
    expect(keysOf()).toEqual([
      ['', false],
      ['abc', true],
      ['def', true],
      ['g', false],
      ['abc', false],
      ['d', false],
    ]);
    stream.create(watch('a', { range_end: '\0', start_revision: 2 }));
    h.settle();
    expect(keysOf()).toEqual([
      ['', false],
      ['abcdefg', false],
      ['abc', false],
      ['d', false],
    ]);
  });

  it('never cut an event', () => {
    const h = harness({ responseBytesMax: 100 });
    const { sink, stream } = connect(h);
    stream.create(watch('a', { range_end: '\0', fragment: true }));
    sink.take();
    h.txn({ success: [put('a', value), put('b'), put('c', value)] });
    expect(sink.got.map((r) => [r.events.length, r.fragment])).toEqual([
      [1, true],
      [1, true],
      [1, false],
    ]);
    sink.take();
    h.put('a', value);
    expect(sink.got.map((r) => [r.events.length, r.fragment])).toEqual([[1, false]]);
  });

  it('stop between fragments when the sink does, and go on from there', () => {
    const h = harness({ responseBytesMax: 150 });
    const { sink, stream } = connect(h);
    stream.create(watch('a', { range_end: '\0', fragment: true }));
    stream.create(watch('a', { range_end: '\0' }));
    sink.take();
    sink.room = 2;
    h.txn({ success: ['a', 'b', 'c', 'd'].map((key) => put(key, value)) });
    h.put('e', 'later');
    h.settle();
    stream.requestProgress();
    expect(sink.got.splice(0).map((r) => [r.watch_id, r.events[0]!.kv!.key, r.fragment])).toEqual([
      [0n, 'a', true],
      [0n, 'b', true],
    ]);
    sink.room = 1;
    stream.drained();
    h.settle();
    expect(sink.got.splice(0).map((r) => [r.events[0]!.kv!.key, r.fragment])).toEqual([['c', true]]);
    sink.room = 100;
    stream.drained();
    h.settle();
    stream.requestProgress();
    expect(sink.got.splice(0).map((r) => [r.watch_id, r.events.map((e) => e.kv!.key).join(''), r.fragment])).toEqual([
      [0n, 'd', false],
      [0n, 'e', false],
      [1n, 'abcd', false],
      [1n, 'e', false],
      [-1n, '', false],
    ]);
  });

  it('hold back the progress of the stream until the last fragment is out', () => {
    const h = harness({ responseBytesMax: 150 });
    const { sink, stream } = connect(h);
    stream.create(watch('a', { range_end: '\0', fragment: true }));
    sink.take();
    sink.room = 1;
    h.txn({ success: ['a', 'b'].map((key) => put(key, value)) });
    stream.requestProgress();
    sink.room = 100;
    stream.drained();
    stream.requestProgress();
    expect(sink.got.map((r) => [r.watch_id, r.events.length])).toEqual([
      [0n, 1],
      [0n, 1],
      [-1n, 0],
    ]);
  });

  it('drop the remaining fragments of a watch that is cancelled', () => {
    const h = harness({ responseBytesMax: 150 });
    const { sink, stream } = connect(h);
    stream.create(watch('a', { range_end: '\0', fragment: true }));
    sink.take();
    sink.room = 1;
    h.txn({ success: ['a', 'b', 'c'].map((key) => put(key, value)) });
    stream.cancel(0n);
    sink.room = 100;
    stream.drained();
    expect(sink.take().map((line) => line.slice(0, 12))).toEqual(['0@2 +a=xxxxx', '0@2 canceled']);
  });
});

describe('watches of one stream that get the same', () => {
  it('share one response, with all of other streams that do', () => {
    const h = harness();
    const clients = [connectCopying(h), connectCopying(h)];
    for (const { stream } of clients) {
      for (const key of ['a', 'a', 'b', 'a']) stream.create(watch(key));
      stream.create(watch('a', { prev_kv: true }));
      stream.create(watch('a', { range_end: 'c' }));
    }
    for (const value of ['1', '2']) h.txn({ success: [put('a', value), put('b', value)] });
    for (const { sink, stream } of clients) {
      stream.create(watch('a', { start_revision: 2 }));
      stream.create(watch('a', { start_revision: 2 }));
      h.settle();
      expect(sink.copies.map(({ ids }) => ids)).toEqual([
        [0n, 1n, 3n],
        [4n],
        [5n],
        [2n],
        [0n, 1n, 3n],
        [4n],
        [5n],
        [2n],
        [6n, 7n],
      ]);
      expect(sink.take().slice(6)).toEqual([
        '0@2 +a=1:2',
        '1@2 +a=1:2',
        '3@2 +a=1:2',
        '4@2 +a=1:2',
        '5@2 +a=1:2 +b=1:2',
        '2@2 +b=1:2',
        '0@3 +a=2:3',
        '1@3 +a=2:3',
        '3@3 +a=2:3',
        '4@3 +a=2:3<1',
        '5@3 +a=2:3 +b=2:3',
        '2@3 +b=2:3',
        '6@3 created',
        '7@3 created',
        '6@3 +a=1:2 +a=2:3',
        '7@3 +a=1:2 +a=2:3',
      ]);
    }
    const [one, two] = clients.map(({ sink }) => sink.copies.slice(0, 8).map(({ response }) => response));
    for (const [i, response] of one!.entries()) expect(response).toBe(two![i]);
    expect(one![0]!.watch_id).toBe(0n);
  });

  it('get as many copies at once as the limit, and not one more', () => {
    const copiesOf = (copiesBytesMax: number) => {
      const h = harness({ copiesBytesMax });
      const { sink, stream } = connectCopying(h);
      for (let i = 0; i < 7; i++) stream.create(watch('a'));
      h.put('a', 'x'.repeat(100));
      return sink.copies;
    };
    const [whole] = copiesOf(1_000_000);
    expect(whole!.ids).toHaveLength(7);
    const { responseBytes } = EventList.empty().with(whole!.response.events[0]!);
    expect(responseBytes).toBeGreaterThan(encode(m.WatchResponse, whole!.response).length);
    const sizes = (bytesMax: number) => copiesOf(bytesMax).map(({ ids }) => ids.length);
    expect(sizes(3 * responseBytes)).toEqual([3, 3, 1]);
    expect(sizes(3 * responseBytes - 1)).toEqual([2, 2, 2, 1]);
    expect(sizes(1)).toEqual([1, 1, 1, 1, 1, 1, 1]);
  });

  it('come back from history when the stream is blocked between their copies', () => {
    const h = harness({ copiesBytesMax: 200 });
    const { sink, stream } = connectCopying(h);
    for (let i = 0; i < 5; i++) stream.create(watch('a'));
    sink.take();
    sink.room = 3;
    h.put('a', '1');
    h.put('a', '2');
    h.settle();
    expect(sink.copies.map(({ ids }) => ids)).toEqual([
      [0n, 1n],
      [2n, 3n],
    ]);
    expect(sink.take()).toEqual(['0@2 +a=1:2', '1@2 +a=1:2', '2@2 +a=1:2', '3@2 +a=1:2']);
    expect(h.machine.hub.counts).toMatchObject({ watchers: 5, unsynced: 5 });
    sink.room = 100;
    stream.drained();
    h.settle();
    expect(sink.take().sort()).toEqual(['0@3 +a=2:3', '1@3 +a=2:3', '2@3 +a=2:3', '3@3 +a=2:3', '4@3 +a=1:2 +a=2:3']);
  });

  it('get nothing after the stream has closed in the middle', () => {
    const h = harness({ copiesBytesMax: 1 });
    const { sink, stream } = connectCopying(h);
    for (let i = 0; i < 3; i++) stream.create(watch('a'));
    sink.take();
    sink.onSend = () => stream.close();
    h.put('a');
    h.settle();
    expect(sink.take()).toEqual(['0@2 +a:2']);
    expect(h.machine.hub.counts).toEqual({ streams: 0, watchers: 0, unsynced: 0 });
  });

  it('are noted as having heard something', () => {
    const h = harness();
    const { sink, stream } = connectCopying(h);
    for (const key of ['a', 'a', 'b']) stream.create(watch(key, { progress_notify: true }));
    h.put('a');
    sink.take();
    h.clock.ms += PROGRESS_MS;
    h.machine.hub.tick();
    expect(sink.take()).toEqual(['2@2']);
  });
});

describe('a slow peer', () => {
  it('gets nothing while it is blocked, costs no queue, and everything afterwards', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    const other = connect(h);
    other.stream.create(watch('a'));
    stream.create(watch('a'));
    stream.create(watch('b'));
    sink.take();
    sink.room = 1;
    for (let i = 2; i <= 6; i++) h.put('a', String(i));
    h.settle();
    expect(sink.take()).toEqual(['0@2 +a=2:2']);
    expect(other.sink.got).toHaveLength(6);
    // The other watch of the stream saw nothing and so is not behind.
    expect(h.machine.hub.counts).toEqual({ streams: 2, watchers: 3, unsynced: 1 });
    expect(h.machine.hub.waiting).toBe(false);
    sink.room = 100;
    stream.drained();
    h.settle();
    h.put('a', '7');
    expect(sink.take()).toEqual(['0@6 +a=3:3 +a=4:4 +a=5:5 +a=6:6', '0@7 +a=7:7']);
  });

  it('is answered while it is blocked, up to the limit and not once more', () => {
    const h = harness({ unreadAnswersMax: 3 });
    const { sink, stream } = connect(h);
    sink.room = 1;
    expect(stream.create(watch('a'))).toBeUndefined();
    expect(stream.create(watch('b'))).toBeUndefined();
    expect(stream.cancel(0n)).toBeUndefined();
    expect(stream.requestProgress()).toBeUndefined();
    const error = stream.cancel(1n);
    expect(error).toBeInstanceOf(RosterError);
    expect(error?.message).toContain('does not read');
    expect(stream.closed).toBe(true);
    expect(sink.take()).toEqual(['0@1 created', '1@1 created', '0@1 canceled', '-1@1']);
    expect(h.machine.hub.counts.streams).toBe(0);
  });

  it('starts with a clean slate once it has read', () => {
    const h = harness({ unreadAnswersMax: 2 });
    const { sink, stream } = connect(h);
    for (let round = 0; round < 5; round++) {
      sink.room = 1;
      for (let i = 0; i < 3; i++) expect(stream.create(watch('a'))).toBeUndefined();
      stream.drained();
    }
    expect(stream.size).toBe(15);
  });
});

describe('progress', () => {
  it('on request: one response for the stream, if all of it is synced', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.requestProgress();
    expect(sink.take()).toEqual([]);
    h.put('a', '1');
    stream.create(watch('b'));
    stream.create(watch('a', { start_revision: 1 }));
    sink.take();
    stream.requestProgress();
    expect(sink.take()).toEqual([]);
    h.settle();
    stream.requestProgress();
    expect(sink.take()).toEqual(['1@2 +a=1:2', '-1@2']);
  });

  it('waits for a future start', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.create(watch('a', { start_revision: 3, progress_notify: true }));
    sink.take();
    const ask = () => {
      stream.requestProgress();
      h.clock.ms += PROGRESS_MS;
      h.machine.hub.tick();
      return sink.take();
    };
    expect(ask()).toEqual([]);
    h.put('b');
    expect(ask()).toEqual([]);
    h.put('b');
    expect(ask()).toEqual(['-1@3', '0@3']);
  });

  it('never overtakes events of a blocked stream (etcd #15220)', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.create(watch('a', { progress_notify: true }));
    stream.create(watch('b', { progress_notify: true }));
    sink.take();
    sink.room = 1;
    h.put('a', '1');
    h.put('a', '2');
    for (let i = 0; i < 3; i++) {
      stream.requestProgress();
      h.clock.ms += PROGRESS_MS;
      h.machine.hub.tick();
    }
    expect(sink.take()).toEqual(['0@2 +a=1:2']);
    sink.room = 100;
    stream.drained();
    stream.requestProgress();
    expect(sink.take()).toEqual([]);
    h.settle();
    stream.requestProgress();
    expect(sink.take()).toEqual(['0@3 +a=2:3', '-1@3']);
  });

  it('by itself after an interval of silence, for those who asked', () => {
    const h = harness();
    const { sink, stream } = connect(h);
    stream.create(watch('a', { progress_notify: true }));
    stream.create(watch('b'));
    sink.take();
    const wait = (ms: number) => {
      h.clock.ms += ms;
      h.machine.hub.tick();
      return sink.take();
    };
    expect(wait(PROGRESS_MS - 1)).toEqual([]);
    h.put('c');
    expect(wait(1)).toEqual(['0@2']);
    expect(wait(PROGRESS_MS - 1)).toEqual([]);
    h.put('a');
    sink.take();
    // Events went out in this interval, and none in the next.
    expect(wait(1)).toEqual([]);
    expect(wait(PROGRESS_MS)).toEqual(['0@3']);
    stream.cancel(0n);
    sink.take();
    expect(wait(10 * PROGRESS_MS)).toEqual([]);
  });

  it('is spread over ticks when many streams are due', () => {
    const h = harness({ progressStreamsPerTick: 2 });
    const clients = Array.from({ length: 5 }, () => connect(h));
    for (const { stream } of clients) stream.create(watch('a', { progress_notify: true }));
    for (const { sink } of clients) sink.take();
    h.clock.ms += PROGRESS_MS;
    const told = [1, 2, 3, 4].map(() => {
      h.machine.hub.tick();
      return clients.filter(({ sink }) => sink.take().length > 0).length;
    });
    expect(told).toEqual([2, 2, 1, 0]);
  });
});
