import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import { EMPTY_BYTES } from '../../core/util/bytes.ts';
import { V2Refusal } from '../../core/v2/errors.ts';
import { v2Events, watchedSpans } from '../../core/v2/events.ts';
import type { V2Answer, V2Node } from '../../core/v2/node.ts';
import { cleanPath, DEPTH_MAX, isNodeKey, markedPath, markerKey, parentOf } from '../../core/v2/paths.ts';
import { V2_STEP_LOOKS_MAX } from '../../core/v2/reader.ts';
import { defaults } from '../../core/wire/binary.ts';
import { WatchCreateRequest } from '../../core/wire/messages.ts';
import { V2Action, V2Op, V2Request } from '../../core/wire/stored.ts';
import { Harness } from '../apply/harness.ts';

/** The v2 tree on a state machine in memory: what it shows of any keys, its leases, and its bounds. */

function write(harness: Harness, request: Partial<V2Request>): V2Answer | V2Refusal | RosterError {
  const v2 = { ...defaults(V2Request), time_ms: harness.clock.ms, ...request };
  return harness.apply({ v2, id: BigInt(harness.machine.appliedIndex + 1000) }) as V2Answer | V2Refusal | RosterError;
}

const set = (harness: Harness, path: string, more: Partial<V2Request> = {}) =>
  write(harness, { op: V2Op.values.SET, path, value: Buffer.from('v'), ...more });

function read(harness: Harness, path: string, recursive = false): V2Node | V2Refusal {
  const reader = harness.machine.v2Reader({ path, recursive, sorted: true });
  while (!reader.done) expect(reader.step()).toBeUndefined();
  return reader.node;
}

/** Ends whatever has run out, as a leader does. */
function expire(harness: Harness): void {
  for (const ID of harness.machine.expiredLeases(1000)) harness.apply({ lease_revoke: { ID } });
}

/** `path` -> value, or undefined for a directory; of everything that is shown. */
function flat(node: V2Node): Map<string, string | undefined> {
  const all = new Map<string, string | undefined>();
  const visit = (each: V2Node) => {
    all.set(each.path, each.value === undefined ? undefined : Buffer.from(each.value).toString());
    for (const inner of each.nodes ?? []) visit(inner);
  };
  for (const inner of node.nodes ?? []) visit(inner);
  return all;
}

/** The same, worked out from the keys one by one. */
function expected(keys: readonly string[], markers: readonly string[], at: string): Map<string, string | undefined> {
  const files = new Set(keys.filter(isNodeKey));
  const dirs = new Set<string>(markers);
  for (const key of keys) {
    // Every beginning of a key that is a path, with a slash behind it.
    for (let i = key.indexOf('/', 1); i > 0; i = key.indexOf('/', i + 1)) {
      if (isNodeKey(key.slice(0, i))) dirs.add(key.slice(0, i));
    }
  }
  const shown = new Map<string, string | undefined>();
  const isShown = (path: string): boolean => {
    if (path === at) return true;
    if (path === '/') return false;
    const name = path.slice(path.lastIndexOf('/') + 1);
    const parent = parentOf(path);
    // Whoever asks for something asks for it whether or not a file stands in the way above it.
    return !name.startsWith('_') && (parent === at || !files.has(parent)) && isShown(parent);
  };
  for (const dir of dirs) if (dir !== at && !files.has(dir) && isShown(dir)) shown.set(dir, undefined);
  for (const file of files) if (file !== at && isShown(file)) shown.set(file, 'v');
  return shown;
}

const name = fc.constantFrom('a', 'b', 'a-b', 'a.b', '_h', '0', '', '.', '..', '\xff', '\xc3\xa4');
const keyArbitrary = fc
  .tuple(
    fc.constantFrom('/', '/', '/', ''),
    fc.array(name, { minLength: 1, maxLength: 4 }),
    fc.constantFrom('', '', '/'),
  )
  .map(([start, names, end]) => `${start}${names.join('/')}${end}`)
  .filter((key) => key !== '');

describe('what v2 shows', () => {
  it('is what the keys say, at any level, whole and one level', () => {
    fc.assert(
      fc.property(fc.array(keyArbitrary, { maxLength: 25 }), fc.array(keyArbitrary, { maxLength: 5 }), (keys, dirs) => {
        const harness = new Harness();
        for (const key of keys) harness.put(key, 'v');
        const markers: string[] = [];
        for (const dir of dirs.filter(isNodeKey)) {
          const made = set(harness, dir, { dir: true, value: EMPTY_BYTES });
          if (made instanceof V2Refusal) continue;
          keys = keys.filter((key) => key !== dir);
          for (let path = dir; path !== '/'; path = parentOf(path)) markers.push(path);
        }
        for (const at of ['/', '/a', '/a/b', '/_h']) {
          const shown = expected(keys, markers, at);
          const tree = read(harness, at, true);
          const level = read(harness, at);
          if (at !== '/' && keys.includes(at)) expect(tree).toMatchObject({ dir: false });
          else if (tree instanceof V2Refusal) expect([...shown.keys()]).toEqual([]);
          else {
            expect(flat(tree)).toEqual(new Map([...shown].sort(([a], [b]) => (a < b ? -1 : 1))));
            const children = [...shown].filter(([path]) => parentOf(path) === at);
            expect(flat(level as V2Node)).toEqual(new Map(children));
          }
        }
      }),
      { seed: Number(process.env.FC_SEED ?? 2026), numRuns: 300 },
    );
  });

  it('is read in steps, all at one revision, which compaction leaves alone', () => {
    const harness = new Harness();
    const count = 4 * V2_STEP_LOOKS_MAX;
    const fill = () => {
      for (let i = 0; i < count; i++) set(harness, `/d/${i}`);
      // What a pair alone does not tell, at the end of everything.
      set(harness, '/d/x/y', { value: Buffer.from('old') });
      write(harness, { op: V2Op.values.UPDATE, path: '/d/x/y', value: Buffer.from('v') });
    };
    fill();
    for (const recursive of [false, true]) {
      const before = read(harness, '/d', recursive);
      const reader = harness.machine.v2Reader({ path: '/d', recursive, sorted: false });
      let steps = 0;
      for (; !reader.done; steps++) {
        expect(reader.step()).toBeUndefined();
        if (steps > 0) continue;
        for (let i = 0; i < count; i += 2) harness.del(`/d/${i}`);
        write(harness, { op: V2Op.values.DELETE, path: '/d/x', dir: true, recursive: true });
        harness.compact(harness.machine.store.revision);
        for (let i = 0; i < 100; i++) harness.machine.work();
      }
      expect(steps).toBeGreaterThan(2);
      const nodes = (node: V2Node | V2Refusal) =>
        (node as V2Node).nodes!.toSorted((a, b) => (a.path < b.path ? -1 : 1));
      expect(nodes(reader.node)).toEqual(nodes(before));
      expect(flat(reader.node as V2Node).size).toBe(count + (recursive ? 2 : 1));
      fill();
    }
  });

  it('costs one level what is in it', () => {
    const harness = new Harness();
    for (let dir = 0; dir < 5; dir++) for (let i = 0; i < 2000; i++) harness.put(`/d/${dir}/${i}`, 'v');
    const reader = harness.machine.v2Reader({ path: '/d', recursive: false, sorted: false });
    reader.step();
    expect(reader.done).toBe(true);
    expect(flat(reader.node as V2Node).size).toBe(5);
  });

  it('ends at a depth', () => {
    const harness = new Harness();
    const deep = (depth: number) => '/a'.repeat(depth);
    harness.put(deep(DEPTH_MAX), 'v');
    expect(flat(read(harness, '/', true) as V2Node).get(deep(DEPTH_MAX))).toBe('v');
    harness.put(`/b${deep(DEPTH_MAX)}`, 'v');
    const shown = flat(read(harness, '/b', true) as V2Node);
    expect([...shown.values()]).toEqual(Array.from({ length: DEPTH_MAX - 1 }, () => undefined));
    harness.put(`/c${deep(400_000)}`, 'v');
    expect(flat(read(harness, '/', true) as V2Node).has('/c/a')).toBe(true);
  });
});

describe('a watch of nodes and markers', () => {
  it('gets each revision whole, live, from history, and after a snapshot', () => {
    const harness = new Harness();
    const other = new Harness();
    const both = (request: Partial<V2Request>) => {
      write(harness, request);
      write(other, request);
    };
    const { nodes, markers } = watchedSpans({ path: '/d', recursive: true });
    const answers: V2Answer[] = [];
    const stream = harness.machine.hub.stream({
      send: ({ events }) => {
        for (const revision of new Set(events.map(({ kv }) => kv!.mod_revision))) {
          const mine = events.filter(({ kv }) => kv!.mod_revision === revision);
          answers.push(...v2Events(harness.machine.store, revision, mine, { path: '/d', recursive: true }));
        }
        return true;
      },
    });
    both({ path: '/d/early', value: Buffer.from('v') });
    const request = { ...defaults(WatchCreateRequest), key: nodes.from, range_end: nodes.to, start_revision: 2 };
    stream.create(request, { key: markers.from, rangeEnd: markers.to });
    harness.settle();
    both({ path: '/d/dir', dir: true });
    both({ path: '/dd', value: Buffer.from('v') });
    const more = (path: string) => write(other, { path, dir: true });
    more('/d/missed');
    other.commit();
    harness.installFrom(other);
    harness.settle();
    write(harness, { path: '/d/late', dir: true });
    expect(answers.map(({ node, action }) => [action, node.path])).toEqual(
      ['/d/early', '/d/dir', '/d/missed', '/d/late'].map((path) => [V2Action.values.SET, path]),
    );
    expect(harness.machine.hub.counts.watchers).toBe(1);
    stream.close();
    expect(harness.machine.hub.counts).toEqual({ streams: 0, watchers: 0, unsynced: 0 });
  });
});

describe('paths', () => {
  it('are cleaned as Go does it', () => {
    for (const [given, clean] of [
      ['', '/'],
      ['/', '/'],
      ['//', '/'],
      ['/a/', '/a'],
      ['a', '/a'],
      ['/a//b/./c/../d', '/a/b/d'],
      ['/../../a', '/a'],
      ['/a/..', '/'],
      ['/a.b/..c/...', '/a.b/..c/...'],
    ]) {
      expect(cleanPath(given!)).toBe(clean);
    }
  });

  it('have a marker each', () => {
    for (const path of ['/', '/a', '/a/b', '/a-b']) expect(markedPath(markerKey(path))).toBe(path);
    expect(markedPath('/a')).toBeUndefined();
    expect(markedPath('\0roster/v2/file/a')).toBeUndefined();
  });
});

describe('the time of a node', () => {
  it('is a lease of its own, which goes when it is not needed any more', () => {
    const harness = new Harness();
    harness.machine.setLeader(true);
    const leases = () => harness.machine.lessor.size;
    set(harness, '/a', { has_ttl: true, ttl: 10 });
    expect(leases()).toBe(1);
    set(harness, '/a', { has_ttl: true, ttl: 20 });
    write(harness, { op: V2Op.values.UPDATE, path: '/a', has_ttl: true, ttl: 20, refresh: true });
    expect(leases()).toBe(1);
    set(harness, '/a');
    expect(leases()).toBe(0);
    set(harness, '/d', { dir: true, has_ttl: true, ttl: 10 });
    set(harness, '/d/x', { has_ttl: true, ttl: 10 });
    set(harness, '/d/y', { dir: true, has_ttl: true, ttl: 10 });
    expect(leases()).toBe(3);
    write(harness, { op: V2Op.values.DELETE, path: '/d', recursive: true, dir: true });
    expect(leases()).toBe(0);
  });

  it('is not rounded up to what a v3 lease has at least, and 0 is at once', () => {
    const harness = new Harness({ minTtlSeconds: 5 });
    harness.machine.setLeader(true);
    set(harness, '/a', { has_ttl: true, ttl: 0 });
    set(harness, '/b', { has_ttl: true, ttl: 1 });
    expire(harness);
    expect(read(harness, '/a')).toBeInstanceOf(V2Refusal);
    harness.clock.ms += 999;
    expire(harness);
    expect(read(harness, '/b')).not.toBeInstanceOf(V2Refusal);
    harness.clock.ms += 1;
    expire(harness);
    expect(read(harness, '/b')).toBeInstanceOf(V2Refusal);
    expect(harness.machine.v2Counts.expired).toBe(2);
  });

  it('takes a directory with its subtree in one revision', () => {
    const harness = new Harness();
    harness.machine.setLeader(true);
    set(harness, '/d', { dir: true, has_ttl: true, ttl: 10 });
    for (const path of ['/d/a', '/d/b/c']) set(harness, path);
    harness.put('/d/b/v3', 'v');
    harness.put('/dd', 'v');
    const before = harness.machine.store.revision;
    harness.clock.ms += 10_000;
    expire(harness);
    expect(harness.machine.store.revision).toBe(before + 1);
    expect([...flat(read(harness, '/', true) as V2Node).keys()]).toEqual(['/dd']);
  });

  it('of a v3 lease is that of its keys, wherever it was put', () => {
    const harness = new Harness();
    harness.grant(7n);
    set(harness, '/d', { dir: true });
    set(harness, '/d/x');
    // Its value, with a lease that is not the one it names.
    harness.put(markerKey('/d'), '', { ignore_value: true, lease: 7n });
    harness.put('/f', 'v', { lease: 7n });
    harness.apply({ lease_revoke: { ID: 7n } });
    expect(flat(read(harness, '/', true) as V2Node)).toEqual(
      new Map([
        ['/d', undefined],
        ['/d/x', 'v'],
      ]),
    );
  });

  it('lives on with what a v3 client has hung on it', () => {
    const harness = new Harness();
    set(harness, '/a', { has_ttl: true, ttl: 10 });
    const lease = harness.machine.lessor.leaseOf('/a');
    harness.put('/v3', 'v', { lease });
    set(harness, '/a');
    expect(harness.machine.lessor.has(lease)).toBe(true);
    harness.apply({ lease_revoke: { ID: lease } });
    expect(read(harness, '/v3')).toBeInstanceOf(V2Refusal);
    expect(read(harness, '/a')).not.toBeInstanceOf(V2Refusal);
  });

  it('has a longest', () => {
    const harness = new Harness();
    expect(set(harness, '/a', { has_ttl: true, ttl: 9_000_000_000 })).not.toBeInstanceOf(RosterError);
    const before = harness.machine.store.revision;
    expect(set(harness, '/b/c', { has_ttl: true, ttl: 9_000_000_001 })).toMatchObject({ code: 'LeaseTTLTooLarge' });
    expect(harness.machine.store.revision).toBe(before);
  });
});

describe('a write', () => {
  it('is refused while there is no space, unless it frees some', () => {
    const harness = new Harness();
    set(harness, '/a');
    harness.apply({ alarm: { action: 1, memberID: 1n, alarm: 1, automatic: false } });
    expect(set(harness, '/b')).toMatchObject({ code: 'NoSpace' });
    expect(write(harness, { op: V2Op.values.DELETE, path: '/a' })).toMatchObject({ node: { path: '/a' } });
  });

  it('is refused while the cluster is corrupt', () => {
    const harness = new Harness();
    harness.apply({ alarm: { action: 1, memberID: 1n, alarm: 2, automatic: false } });
    expect(set(harness, '/b')).toMatchObject({ code: 'Corrupt' });
  });

  it('survives a restart, with its records and leases', () => {
    const harness = new Harness();
    set(harness, '/d', { dir: true, has_ttl: true, ttl: 10 });
    set(harness, '/d/a');
    write(harness, { op: V2Op.values.UPDATE, path: '/d/a', value: Buffer.from('w') });
    const before = read(harness, '/d', true);
    harness.commit();
    const again = harness.reopened();
    expect(read(again, '/d', true)).toEqual(before);
    again.machine.setLeader(true);
    again.clock.ms += 20_000;
    expire(again);
    expect(read(again, '/d')).toBeInstanceOf(V2Refusal);
  });
});
