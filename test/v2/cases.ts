/**
 * What the v2 suite asks: every kind of write and read on every kind of node, requests that are wrong, and waits. `@` in a
 * path is the case's own directory.
 */
import type { Step } from './side.ts';

export interface Case {
  readonly name: string;
  /** What is there before, not compared. */
  readonly before: readonly Step[];
  readonly steps: readonly Step[];
}

const put = (path: string, body?: string): Step => ({ method: 'PUT', path, ...(body === undefined ? {} : { body }) });
const get = (path: string): Step => ({ method: 'GET', path });
const post = (path: string, body?: string): Step => ({ method: 'POST', path, body: body ?? '' });
const del = (path: string): Step => ({ method: 'DELETE', path });
const head = (path: string): Step => ({ method: 'HEAD', path });

/** What `@/n` is before. */
const STATES: readonly (readonly [string, readonly Step[]])[] = [
  ['nothing', []],
  ['a file', [put('@/n', 'value=old')]],
  ['an empty file', [put('@/n', 'value=')]],
  ['a file with a TTL', [put('@/n', 'value=old&ttl=1000')]],
  ['a file that was updated', [put('@/n', 'value=older'), put('@/n?prevExist=true', 'value=old')]],
  ['an empty directory', [put('@/n?dir=true')]],
  ['a directory with a TTL', [put('@/n?dir=true&ttl=1000')]],
  ['a directory with a file', [put('@/n/child', 'value=c')]],
  ['a directory that was emptied', [put('@/n/child', 'value=c'), del('@/n/child')]],
  ['a file that was deleted', [put('@/n', 'value=old'), del('@/n')]],
];

/** What is done to it. */
const OPERATIONS: readonly (readonly [string, readonly Step[]])[] = [
  ['get', [get('@/n')]],
  ['get recursive', [get('@/n?recursive=true&sorted=true')]],
  ['get quorum', [get('@/n?quorum=true')]],
  ['head', [head('@/n')]],
  ['set', [put('@/n', 'value=new')]],
  ['set without a value', [put('@/n')]],
  ['set with a TTL', [put('@/n', 'value=new&ttl=500')]],
  ['set with an empty TTL', [put('@/n', 'value=new&ttl=')]],
  ['set a directory', [put('@/n?dir=true')]],
  ['set a directory with a TTL', [put('@/n?dir=true&ttl=500')]],
  ['set without values in the answer', [put('@/n?noValueOnSuccess=true', 'value=new')]],
  ['create', [put('@/n?prevExist=false', 'value=new')]],
  ['create a directory', [put('@/n?prevExist=false&dir=true')]],
  ['create with a TTL, no values', [put('@/n?prevExist=false&noValueOnSuccess=true', 'value=new&ttl=500')]],
  ['update', [put('@/n?prevExist=true', 'value=new')]],
  ['update with a TTL', [put('@/n?prevExist=true', 'value=new&ttl=500')]],
  ['update the TTL alone', [put('@/n?prevExist=true', 'ttl=500')]],
  ['update a directory', [put('@/n?prevExist=true&dir=true&ttl=500')]],
  ['swap on the value', [put('@/n?prevValue=old', 'value=new')]],
  ['swap on another value', [put('@/n?prevValue=other', 'value=new')]],
  ['swap on an index of long ago', [put('@/n?prevIndex=1', 'value=new')]],
  ['swap on value and index', [put('@/n?prevValue=other&prevIndex=1', 'value=new')]],
  ['swap on the value that exists', [put('@/n?prevValue=old&prevExist=true', 'value=new&ttl=500')]],
  ['swap, but it must not exist', [put('@/n?prevValue=old&prevExist=false', 'value=new')]],
  ['refresh', [put('@/n', 'ttl=500&refresh=true')]],
  ['refresh what exists', [put('@/n?prevExist=true', 'ttl=500&refresh=true')]],
  ['refresh with a comparison', [put('@/n?prevValue=old', 'ttl=500&refresh=true')]],
  ['refresh what must not exist', [put('@/n?prevExist=false', 'ttl=500&refresh=true')]],
  ['delete', [del('@/n')]],
  ['delete as a directory', [del('@/n?dir=true')]],
  ['delete recursive', [del('@/n?recursive=true')]],
  ['delete on the value', [del('@/n?prevValue=old')]],
  ['delete on another value', [del('@/n?prevValue=other')]],
  ['delete on an index of long ago', [del('@/n?prevIndex=1')]],
  ['post', [post('@/n', 'value=new')]],
  ['post a directory', [post('@/n', 'dir=true')]],
  ['post with a TTL', [post('@/n', 'value=new&ttl=500')]],
  ['set below', [put('@/n/x/y', 'value=new')]],
  ['make a directory below', [put('@/n/x/y?dir=true')]],
  ['get below', [get('@/n/x/y')]],
  ['delete below', [del('@/n/x')]],
  ['update below', [put('@/n/x?prevExist=true', 'value=new')]],
  ['swap below', [put('@/n/x?prevValue=old', 'value=new')]],
  ['refresh below', [put('@/n/x', 'ttl=10&refresh=true')]],
];

/** After each operation: what is there, and what a wait from the beginning of the operation would have seen. */
const AFTER: readonly Step[] = [get('@?recursive=true&sorted=true')];

const onNodes: readonly Case[] = STATES.flatMap(([state, before]) =>
  OPERATIONS.map(([operation, steps]) => ({ name: `${operation}: ${state}`, before, steps: [...steps, ...AFTER] })),
);

const file = [put('@/f', 'value=old')];
const one = (name: string, ...steps: Step[]): Case => ({ name, before: file, steps });

/** What is wrong with a request is said in etcd's words and order. */
const wrong: readonly Case[] = [
  ...['recursive', 'sorted', 'wait', 'dir', 'quorum', 'stream', 'noValueOnSuccess', 'prevExist', 'refresh'].flatMap(
    (name) => [
      one(`${name} that is no boolean`, get(`@/f?${name}=maybe`)),
      one(`${name} that is empty`, get(`@/f?${name}=`)),
      one(`${name} in a put that is no boolean`, put(`@/f?${name}=2`, 'value=x')),
    ],
  ),
  ...['1', 't', 'T', 'TRUE', 'true', 'True', '0', 'f', 'F', 'FALSE', 'false', 'False', 'tRUE', 'yes'].map((text) =>
    one(`recursive=${text}`, get(`@?recursive=${text}`)),
  ),
  ...['prevIndex', 'waitIndex', 'ttl'].flatMap((name) =>
    ['x', '', '-1', '+1', '1.5', '0x1', ' 1', '18446744073709551616'].map((text) =>
      one(`${name}=${text}`, put('@/f', `value=x&${name}=${encodeURIComponent(text)}`)),
    ),
  ),
  one('an empty prevValue', put('@/f?prevValue=', 'value=x')),
  one('prevIndex 0', put('@/f?prevIndex=0', 'value=x')),
  one('the largest prevIndex', put('@/f?prevIndex=18446744073709551615', 'value=x')),
  one('wait in a put', put('@/f?wait=true', 'value=x')),
  one('wait in a head', head('@/f?wait=true')),
  one('wait with quorum is a read', get('@/f?wait=true&quorum=true')),
  one('refresh with a value', put('@/f', 'value=x&refresh=true&ttl=5')),
  one('refresh with an empty value', put('@/f', 'value=&refresh=true&ttl=500')),
  one('refresh without a TTL', put('@/f', 'refresh=true')),
  one('refresh with an empty TTL', put('@/f', 'refresh=true&ttl=')),
  one('an escape that is none', put('@/f?x=%zz', 'value=x')),
  one('half an escape', put('@/f?x=%4', 'value=x')),
  one('a semicolon', put('@/f?x=1;y=2', 'value=x')),
  one('an escape in the body that is none', put('@/f', 'value=%q')),
  one('two mistakes', put('@/f?recursive=x&prevIndex=x', 'value=x')),
  one('two mistakes, the other way', put('@/f?prevIndex=x&recursive=x&prevValue=', 'value=x')),
  one('a body goes before the query', put('@/f?value=query', 'value=body')),
  one('the first value wins', put('@/f?value=one&value=two')),
  one('the query alone', put('@/f?value=query')),
  one('a body of another type', { ...put('@/f', 'value=x'), headers: { 'Content-Type': 'text/plain' } }),
  one('a body with a charset', {
    ...put('@/f', 'value=x'),
    headers: { 'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8' },
  }),
  one('a form in a delete is none', { ...del('@/f'), body: 'prevValue=other' }),
  one('PATCH', { method: 'PATCH', path: '@/f' }),
  one('an unknown parameter', put('@/f?nonsense=1', 'value=x&more=2')),
];

const texts = ['plain', 'a b', 'ä€😀', '<a href="x">&</a>', '\\ " \n \t', '\u2028', '100%', 'x=y&z', '+'];

const shapes: readonly Case[] = [
  ...texts.map((text) =>
    one(`a value ${JSON.stringify(text)}`, put('@/f', `value=${encodeURIComponent(text)}`), get('@/f')),
  ),
  ...['a b', 'ä€', 'a+b', 'a&b', 'a.b', 'a-b', 'a=b', "a'b", 'a%b', '..a', '...'].map((text) =>
    one(
      `a key ${text}`,
      put(`@/${encodeURIComponent(text)}`, 'value=x'),
      get(`@/${encodeURIComponent(text)}`),
      get('@'),
    ),
  ),
  one('a key with an escaped slash', put('@/a%2Fb', 'value=x'), get('@/a/b')),
  one('a trailing slash', put('@/f/', 'value=x'), get('@/f/'), get('@/')),
  one('an empty component', put('@//f', 'value=x'), get('@//f?recursive=true'), get('@/x//y//')),
  one('the root', put('/', 'value=x'), put('/?dir=true'), put('/?prevExist=true', 'value=x')),
  one('the root may not go', del('/'), del('/?recursive=true'), del('/?dir=true')),
  one('the root and comparisons', put('/?prevValue=x', 'value=y'), put('/?prevExist=false', 'value=y')),
  one('hidden files', put('@/_h', 'value=x'), put('@/d/_h', 'value=x'), get('@?recursive=true'), get('@/_h')),
  one('hidden directories', put('@/_d/x', 'value=x'), get('@'), get('@/_d'), get('@/_d?recursive=true')),
  one('hidden in hidden', put('@/_d/_e/x', 'value=x'), get('@/_d'), get('@/_d/_e')),
  one('only hidden things', put('@/d/_x', 'value=x'), get('@/d'), get('@?recursive=true'), del('@/d?dir=true')),
  one(
    'a deep tree',
    put('@/a/b/c/d/e', 'value=1'),
    put('@/a/b/x', 'value=2'),
    put('@/a-b/x', 'value=3'),
    put('@/a.b', 'value=4'),
    get('@?recursive=true&sorted=true'),
    get('@/a?sorted=true'),
    get('@/a/b?recursive=true'),
    del('@/a?recursive=true'),
    get('@?recursive=true&sorted=true'),
  ),
  one('sorted', ...['z', 'a', 'm', 'B', '0'].map((name) => put(`@/${name}`, 'value=x')), get('@?sorted=true')),
  one('in order', post('@/q', 'value=1'), post('@/q', 'value=2'), post('@/q', 'value=3'), get('@/q?sorted=true')),
  one('in order without values', post('@/q?noValueOnSuccess=true', 'value=1'), get('@/q')),
  one(
    'a file in place of its directory',
    put('@/d/x', 'value=1'),
    del('@/d?recursive=true'),
    put('@/d', 'value=2'),
    get('@/d'),
  ),
  one('a directory in place of a file', put('@/f?dir=true'), put('@/f/x', 'value=1'), get('@/f'), del('@/f?dir=true')),
  one(
    'from TTL to none and back',
    put('@/f', 'value=1&ttl=500'),
    put('@/f?prevExist=true', 'value=1&ttl='),
    get('@/f'),
    put('@/f?prevExist=true', 'ttl=500'),
    get('@/f'),
    put('@/f', 'value=2'),
    get('@/f'),
  ),
  one(
    'a TTL of a directory and none again',
    put('@/d?dir=true&ttl=500'),
    put('@/d/x', 'value=1'),
    get('@/d'),
    put('@/d?dir=true&prevExist=true'),
    get('@?recursive=true&sorted=true'),
  ),
  one(
    'createdIndex',
    put('@/c', 'value=1'),
    put('@/c?prevExist=true', 'value=2'),
    put('@/c?prevValue=2', 'value=3'),
    put('@/c', 'value=4'),
    put('@/c?prevExist=true', 'value=5'),
    get('@/c'),
    del('@/c'),
    put('@/c?prevExist=false', 'value=6'),
  ),
];

export const CASES: readonly Case[] = [...onNodes, ...wrong, ...shapes];

/** A wait: what has happened before it begins (from `@` on), what it waits for, and what happens while it waits. */
export interface WaitCase {
  readonly name: string;
  readonly before: readonly Step[];
  /** The path and query; `#n` is the index of the case's beginning, plus n. */
  readonly wait: string;
  /** After the wait has begun. */
  readonly during: readonly Step[];
  /** Events to wait for. */
  readonly events: number;
}

const live = (
  name: string,
  wait: string,
  during: readonly Step[],
  before: readonly Step[] = [],
  events = 1,
): WaitCase => ({
  name,
  before,
  wait,
  during: [...during, put('@/end', 'value=end')],
  events,
});
const past = (name: string, wait: string, before: readonly Step[]): WaitCase => ({
  name,
  before,
  wait,
  during: [],
  events: 1,
});

const tree = [put('@/d/x', 'value=1'), put('@/d/e/y', 'value=2')];

export const WAITS: readonly WaitCase[] = [
  live('a set', '@/f?wait=true', [put('@/f', 'value=1')]),
  live('a set of what was there', '@/f?wait=true', [put('@/f', 'value=2')], [put('@/f', 'value=1')]),
  live('a create', '@/f?wait=true', [put('@/f?prevExist=false', 'value=1')]),
  live('an update', '@/f?wait=true', [put('@/f?prevExist=true', 'value=2')], [put('@/f', 'value=1')]),
  live('a swap', '@/f?wait=true', [put('@/f?prevValue=1', 'value=2')], [put('@/f', 'value=1')]),
  live('a delete', '@/f?wait=true', [del('@/f')], [put('@/f', 'value=1')]),
  live('a delete on a comparison', '@/f?wait=true', [del('@/f?prevValue=1')], [put('@/f', 'value=1')]),
  live('a set with a TTL', '@/f?wait=true', [put('@/f', 'value=1&ttl=500')]),
  live('a set without a TTL any more', '@/f?wait=true', [put('@/f', 'value=1')], [put('@/f', 'value=1&ttl=500')]),
  live('a TTL that ends', '@/f?wait=true', [], [put('@/f', 'value=1&ttl=1')]),
  live('an in-order key', '@/q?wait=true&recursive=true', [post('@/q', 'value=1')]),
  live('a directory', '@/d?wait=true', [put('@/d?dir=true')]),
  live('a directory of a directory', '@/d?wait=true&recursive=true', [put('@/d/e?dir=true')]),
  live('a directory in place of a file', '@/f?wait=true', [put('@/f?dir=true')], [put('@/f', 'value=1')]),
  live('a new TTL of a directory', '@/d?wait=true', [put('@/d?dir=true&prevExist=true&ttl=500')], tree),
  live('a directory that goes', '@/d?wait=true', [del('@/d?recursive=true')], tree),
  live('an empty directory that goes', '@/d?wait=true', [del('@/d?dir=true')], [put('@/d?dir=true')]),
  live('what was in a directory that goes', '@/d/x?wait=true', [del('@/d?recursive=true')], tree),
  live('a directory in a directory that goes', '@/d/e?wait=true', [del('@/d?recursive=true')], tree),
  live('the tree of a directory that goes', '@/d/e?wait=true&recursive=true', [del('@/d?recursive=true')], tree),
  live('the end of a directory by its TTL', '@/d?wait=true', [], [put('@/d?dir=true&ttl=1'), put('@/d/x', 'value=1')]),
  live('a file in it', '@/d/x?wait=true', [], [put('@/d?dir=true&ttl=1'), put('@/d/x', 'value=1')]),
  live('from above', '@?wait=true&recursive=true', [put('@/a/b/c', 'value=1')]),
  live('not from above', '@/d?wait=true', [put('@/d/x', 'value=2'), put('@/d?dir=true&prevExist=true')], tree),
  live(
    'not from beside',
    '@/d?wait=true&recursive=true',
    [put('@/d-e', 'value=1'), put('@/dd', 'value=1'), put('@/d/z', 'value=1')],
    tree,
  ),
  live('not what is hidden', '@?wait=true&recursive=true', [
    put('@/_h', 'value=1'),
    put('@/d/_h/x', 'value=1'),
    put('@/v', 'value=2'),
  ]),
  live('what is hidden, by its name', '@/_h?wait=true', [put('@/_h', 'value=1')]),
  live('below what is hidden', '@/_h?wait=true&recursive=true', [put('@/_h/x', 'value=1')]),
  live(
    'not a refresh',
    '@/f?wait=true',
    [put('@/f', 'ttl=500&refresh=true'), put('@/f', 'value=2')],
    [put('@/f', 'value=1')],
  ),
  live(
    'not a failure',
    '@/f?wait=true',
    [put('@/f?prevValue=9', 'value=2'), put('@/f', 'value=3')],
    [put('@/f', 'value=1')],
  ),
  live('not a read', '@/f?wait=true', [get('@/f'), put('@/f', 'value=3')], [put('@/f', 'value=1')]),
  live(
    'a stream',
    '@?wait=true&recursive=true&stream=true',
    [put('@/a', 'value=1'), put('@/b', 'value=2'), del('@/a')],
    [],
    4,
  ),
  live(
    'a stream of one file',
    '@/f?wait=true&stream=true',
    [put('@/f', 'value=1'), put('@/g', 'value=2'), del('@/f')],
    [],
    2,
  ),
  live('an index to come', '@/f?wait=true&waitIndex=#3', [
    put('@/f', 'value=1'),
    put('@/f', 'value=2'),
    put('@/f', 'value=3'),
  ]),
  past('a set of the past', '@/f?wait=true&waitIndex=#1', [put('@/f', 'value=1')]),
  past('the first of the past', '@/f?wait=true&waitIndex=#1', [put('@/f', 'value=1'), put('@/f', 'value=2')]),
  past('the second of the past', '@/f?wait=true&waitIndex=#2', [put('@/f', 'value=1'), put('@/f', 'value=2')]),
  past('a delete of the past', '@/f?wait=true&waitIndex=#2', [put('@/f', 'value=1'), del('@/f')]),
  past('an update of the past', '@/f?wait=true&waitIndex=#2', [
    put('@/f', 'value=1'),
    put('@/f?prevExist=true', 'value=2'),
    put('@/f', 'value=3'),
  ]),
  past('a swap of the past', '@/f?wait=true&waitIndex=#2', [
    put('@/f', 'value=1'),
    put('@/f?prevValue=1', 'value=2'),
    put('@/f', 'value=3'),
  ]),
  past('a comparing delete of the past', '@/f?wait=true&waitIndex=#2', [
    put('@/f', 'value=1'),
    del('@/f?prevValue=1'),
    put('@/f', 'value=3'),
  ]),
  past('a refresh of the past is passed over', '@/f?wait=true&waitIndex=#2', [
    put('@/f', 'value=1'),
    put('@/f', 'ttl=500&refresh=true'),
    put('@/f', 'value=3'),
  ]),
  past('a TTL of the past', '@/f?wait=true&waitIndex=#1', [put('@/f', 'value=1&ttl=500'), put('@/f', 'value=3')]),
  past('a directory of the past', '@/d?wait=true&waitIndex=#1', [put('@/d?dir=true'), put('@/d/x', 'value=1')]),
  past('below, of the past', '@/d?wait=true&recursive=true&waitIndex=#1', [
    put('@/f', 'value=1'),
    put('@/d/x', 'value=1'),
  ]),
  past('a directory that went', '@/d/x?wait=true&waitIndex=#2', [put('@/d/x', 'value=1'), del('@/d?recursive=true')]),
  past('a directory that went, itself', '@/d?wait=true&waitIndex=#2', [
    put('@/d/x', 'value=1'),
    del('@/d?recursive=true'),
  ]),
  past('an in-order key of the past', '@/q?wait=true&recursive=true&waitIndex=#1', [
    post('@/q', 'value=1'),
    post('@/q', 'value=2'),
  ]),
  past('a directory that took the place of a file', '@/f?wait=true&waitIndex=#2', [
    put('@/f', 'value=1'),
    put('@/f?dir=true'),
  ]),
];
