import { describe, expect, it } from 'vitest';
import { defaults } from '../../../core/wire/binary.ts';
import { type Event, EventType, KeyValue } from '../../../core/wire/messages.ts';
import { Happened, WatchPlace } from './happened.ts';
import { History, type Reply, type Request } from './history.ts';

/** The judgement of the chaos test must notice what it is there for. */

function event(revision: number, key: string, value?: string): Event {
  const kv = { ...defaults(KeyValue), key, mod_revision: revision, value: Buffer.from(value ?? '') };
  const type = value === undefined ? EventType.values.DELETE : EventType.values.PUT;
  return { type, kv, prev_kv: undefined } as Event;
}

/** `[key, request, reply]` one after another; no reply: unanswered. */
function judge(happened: Happened, ...told: readonly (readonly [string, Request, Reply?])[]): string[] {
  const history = new History();
  for (const [key, request, reply] of told) {
    const operation = history.call(key, request);
    if (reply !== undefined) history.return(operation, reply);
  }
  return history.judge(happened, () => true).problems;
}

const put = (value: string): Request => ({ kind: 'put', value });
const cas = (expected: string | undefined, value: string): Request => ({ kind: 'cas', expected, value });
const read: Request = { kind: 'read', local: false };

function happenedWith(...events: readonly Event[]): Happened {
  const happened = new Happened();
  new WatchPlace('w', happened).take(events);
  return happened;
}

describe('the judgement of a history', () => {
  it('finds nothing in a right one', () => {
    const happened = happenedWith(
      event(2, 'k', 'a'),
      event(3, 'k', 'b'),
      event(4, 'k'),
      event(4, 'mark', 'm'),
      event(5, 'k', 'd'),
    );
    expect(
      judge(
        happened,
        ['k', put('a'), { revision: 2 }],
        ['k', read, { revision: 2, seen: 'a' }],
        ['k', cas('a', 'b'), { revision: 3, done: true }],
        ['k', cas('a', 'c'), { revision: 3, done: false, seen: 'b' }],
        ['k', { kind: 'delete', value: 'm' }, { revision: 4, done: true }],
        ['k', { kind: 'read', local: true }, { revision: 3, seen: 'b' }],
        ['k', put('d')],
        ['k', put('e')],
      ),
    ).toEqual([]);
  });

  it('finds an acknowledged write that was lost, twice', () => {
    expect(
      judge(happenedWith(), ['k', put('a'), { revision: 2 }], ['k', read, { revision: 2, seen: undefined }]),
    ).toEqual([expect.stringContaining('acknowledged at 2, and lost'), expect.stringContaining('no order explains')]);
  });

  it('finds a stale read', () => {
    const happened = happenedWith(event(2, 'k', 'a'), event(3, 'k', 'b'));
    expect(
      judge(
        happened,
        ['k', put('a'), { revision: 2 }],
        ['k', put('b'), { revision: 3 }],
        ['k', read, { revision: 2, seen: 'a' }],
      ),
    ).toEqual([expect.stringContaining('answered at 2, 3 was known before'), expect.stringContaining('no order')]);
  });

  it('finds a read of what an unanswered write did before it came to nothing', () => {
    const happened = happenedWith(event(2, 'k', 'a'));
    expect(
      judge(happened, ['k', put('a'), { revision: 2 }], ['k', put('b')], ['k', read, { revision: 3, seen: 'b' }]),
    ).toEqual([expect.stringContaining('saw b, at revision 3 there is a'), expect.stringContaining('no order')]);
  });

  it('finds a comparison that was wrong', () => {
    const happened = happenedWith(event(2, 'k', 'a'), event(3, 'k', 'b'), event(4, 'k', 'c'));
    expect(
      judge(
        happened,
        ['k', put('a'), { revision: 2 }],
        ['k', put('b'), { revision: 3 }],
        ['k', cas('a', 'c'), { revision: 4, done: true }],
      ),
    ).toEqual([expect.stringContaining('saw a, at revision 3 there is b'), expect.stringContaining('no order')]);
  });

  it('finds a write that happened twice, and one that nobody made', () => {
    const happened = happenedWith(event(2, 'k', 'a'), event(3, 'k', 'a'), event(4, 'k', 'x'));
    expect(judge(happened, ['k', put('a')])).toEqual(['"a" was written at 2 and again at 3', 'nobody wrote "x"']);
  });
});

describe('the account of what happened', () => {
  it('finds events that come twice, late, or after a promise that there are none', () => {
    const happened = new Happened();
    const one = new WatchPlace('one', happened);
    one.take([event(2, 'k', 'a')]);
    one.take([event(2, 'l', 'b')]);
    one.progress(5);
    one.take([event(5, 'k', 'c')]);
    expect(happened.problems).toEqual([
      'one was told of 2 after 2',
      'revision 2 is "k=a", but "l=b" to one',
      'one was told of 5 after 5',
    ]);
  });

  it('finds what one watcher was not told', () => {
    const happened = new Happened();
    new WatchPlace('one', happened).take([event(2, 'k', 'a'), event(4, 'k', 'c')]);
    new WatchPlace('two', happened).take([event(2, 'k', 'a'), event(3, 'k', 'b'), event(4, 'k', 'c')]);
    expect(happened.problems).toEqual(['revision 3 was kept from whoever told of 4 first']);
  });

  it('finds a transaction told in parts', () => {
    const happened = new Happened();
    new WatchPlace('one', happened).take([event(2, 'k', 'a'), event(2, 'l', 'b')]);
    new WatchPlace('two', happened).take([event(2, 'k', 'a')]);
    expect(happened.problems).toEqual(['revision 2 is "k=a l=b", but "k=a" to two']);
  });
});
