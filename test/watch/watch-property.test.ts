import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { WatchStream } from '../../core/watch/watch-stream.ts';
import { encode } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { del, type Harness, put } from '../apply/harness.ts';
import { briefEvent, harness, PROGRESS_MS, watch } from './fixture.ts';

/**
 * Random writes, watches, slow peers, compactions and requests, in any order, against what the documentation promises
 * of a watch: ordered, unique, complete, atomic, resumable; progress never ahead of events.
 */

const RESPONSE_BYTES_MAX = 220;

interface Past {
  /** Everything that happened, told by the writes themselves. */
  events: m.Event[];
  live: Map<string, m.KeyValue>;
}

/** What one client knows of one of its watches. */
interface Seen {
  request: m.WatchCreateRequest;
  from: number;
  events: m.Event[];
  /** Events of a response whose last fragment is still to come. */
  partial: m.Event[];
  ended: 'no' | 'canceled' | 'compacted';
}

const tally = {
  events: 0,
  fragments: 0,
  compacted: 0,
  progress: 0,
  notifications: 0,
  stops: 0,
  previous: 0,
  caughtUp: 0,
  copies: 0,
};

/** Responses that went out with others like them. */
let together = 0;

class Peer {
  readonly stream: WatchStream;
  readonly watches = new Map<bigint, Seen>();
  readonly finished: Seen[] = [];
  /** Ids of watches that compaction ended: taken until they are cancelled. */
  readonly #compactedIds = new Set<bigint>();
  readonly #h: Harness;
  readonly #past: Past;
  /** The create request that is being answered. */
  #asked: m.WatchCreateRequest | undefined;
  #canceling: bigint | undefined;
  blocked = false;
  room = Number.POSITIVE_INFINITY;
  closed = false;

  constructor(h: Harness, past: Past, copying: boolean) {
    this.#h = h;
    this.#past = past;
    const send = (response: m.WatchResponse) => this.#receive(response);
    this.stream = h.machine.hub.stream(copying ? { send, sendCopies: this.#receiveCopies } : { send });
  }

  create(request: m.WatchCreateRequest): void {
    this.#asked = request;
    this.stream.create(request);
    expect(this.closed || this.#asked === undefined).toBe(true);
  }

  cancel(id: bigint): void {
    this.#canceling = id;
    const known = this.#isTaken(id);
    this.stream.cancel(id);
    expect(this.#canceling === undefined).toBe(known && !this.closed);
    this.#canceling = undefined;
  }

  read(room: number): void {
    this.room = room;
    this.blocked = false;
    this.stream.drained();
  }

  close(): void {
    this.closed = true;
    this.stream.close();
  }

  #receive(response: m.WatchResponse): boolean {
    expect(this.closed).toBe(false);
    const { revision } = this.#h.machine.store;
    if (response.created) this.#created(response, revision);
    else if (response.compact_revision !== 0) this.#compacted(response);
    else if (response.canceled) this.#canceled(response, revision);
    else if (response.events.length > 0) this.#events(response, revision);
    else this.#progress(response, revision);
    if (!this.blocked && --this.room <= 0) {
      this.blocked = true;
      tally.stops++;
    }
    return !this.blocked;
  }

  /** What is sent to several watches at once may stop the stream in the middle, but comes whole. */
  readonly #receiveCopies = (response: m.WatchResponse, ids: readonly bigint[]): boolean => {
    expect(this.blocked).toBe(false);
    tally.copies += ids.length;
    together += ids.length - 1;
    let stopped = false;
    for (const watch_id of ids) {
      if (!this.#receive({ ...response, watch_id })) stopped = true;
      this.blocked = false;
    }
    this.blocked = stopped;
    return !stopped;
  };

  #created(response: m.WatchResponse, revision: number): void {
    const request = this.#asked!;
    this.#asked = undefined;
    expect(response.header!.revision).toBe(revision);
    const refused = request.start_revision < 0 || (request.watch_id !== 0n && this.#isTaken(request.watch_id));
    expect(response.canceled).toBe(refused);
    if (refused) return;
    expect(this.#isTaken(response.watch_id)).toBe(false);
    const from = request.start_revision || revision + 1;
    if (from <= revision) tally.caughtUp++;
    this.watches.set(response.watch_id, { request, from, events: [], partial: [], ended: 'no' });
  }

  #compacted(response: m.WatchResponse): void {
    const seen = this.watches.get(response.watch_id)!;
    const compacted = this.#h.machine.store.compactRevision;
    expect([response.header!.revision, response.compact_revision]).toEqual([0, compacted]);
    // Whatever it has not seen begins before the compaction: otherwise it could have gone on.
    expect(Math.max(seen.from, lastRevision(seen) + 1)).toBeLessThan(compacted);
    this.#end(response.watch_id, 'compacted');
    this.#compactedIds.add(response.watch_id);
    tally.compacted++;
  }

  #canceled(response: m.WatchResponse, revision: number): void {
    expect([response.watch_id, response.header!.revision]).toEqual([this.#canceling, revision]);
    this.#canceling = undefined;
    if (!this.#compactedIds.delete(response.watch_id)) this.#end(response.watch_id, 'canceled');
  }

  #isTaken(id: bigint): boolean {
    return this.watches.has(id) || this.#compactedIds.has(id);
  }

  #end(id: bigint, how: 'canceled' | 'compacted'): void {
    const seen = this.watches.get(id)!;
    seen.ended = how;
    this.finished.push(seen);
    this.watches.delete(id);
  }

  #events(response: m.WatchResponse, revision: number): void {
    expect(this.blocked).toBe(false);
    const seen = this.watches.get(response.watch_id)!;
    expect(seen, 'created comes before events').toBeDefined();
    expect(response.header!.revision).toBeLessThanOrEqual(revision);
    expect(response.header!.revision).toBeGreaterThanOrEqual(response.events.at(-1)!.kv!.mod_revision);
    const revisions = new Set(response.events.map((event) => event.kv!.mod_revision));
    const bytes = encode(m.WatchResponse, response).length;
    if (bytes > RESPONSE_BYTES_MAX) expect(seen.request.fragment ? response.events.length : revisions.size).toBe(1);
    if (response.fragment) expect(seen.request.fragment).toBe(true);
    for (const event of response.events) this.#checkPrevious(seen, event);
    seen.partial.push(...response.events);
    tally.events += response.events.length;
    if (response.fragment) tally.fragments++;
    else {
      seen.events.push(...seen.partial);
      seen.partial = [];
      // Now it could resume at the next revision: whole revisions only, and none left out.
      this.checkSeen(seen, lastRevision(seen));
    }
  }

  #checkPrevious(seen: Seen, event: m.Event): void {
    const { key, mod_revision } = event.kv!;
    const older = this.#past.events.filter((e) => e.kv!.key === key && e.kv!.mod_revision < mod_revision).at(-1);
    const previous = older?.type === 0 ? older.kv : undefined;
    if (event.prev_kv !== undefined) {
      expect(seen.request.prev_kv).toBe(true);
      expect(briefEvent({ type: 0, kv: event.prev_kv })).toBe(briefEvent({ type: 0, kv: previous! }));
      tally.previous++;
    } else if (seen.request.prev_kv && previous !== undefined) {
      expect(mod_revision - 1).toBeLessThan(this.#h.machine.store.compactRevision);
    }
  }

  #progress(response: m.WatchResponse, revision: number): void {
    expect(response.header!.revision).toBe(revision);
    const about = response.watch_id === -1n ? [...this.watches.values()] : [this.watches.get(response.watch_id)!];
    expect(about.length).toBeGreaterThan(0);
    for (const seen of about) this.checkSeen(seen, revision);
    if (response.watch_id === -1n) tally.progress++;
    else {
      expect(about[0]!.request.progress_notify).toBe(true);
      tally.notifications++;
    }
  }

  /** `seen` must have had exactly what it asked for, up to `revision`. */
  checkSeen(seen: Seen, revision: number): void {
    expect(seen.partial).toEqual([]);
    const expected = this.#past.events.filter((e) => e.kv!.mod_revision <= revision && wants(seen, e));
    expect(seen.events.map((e) => briefEvent({ ...e, prev_kv: undefined }))).toEqual(expected.map(briefEvent));
  }
}

/** Of the last event it has seen whole; 0 before the first. */
function lastRevision(seen: Seen): number {
  return seen.events.at(-1)?.kv?.mod_revision ?? 0;
}

function wants({ request, from }: Seen, { type, kv }: m.Event): boolean {
  const { key, range_end: end, filters } = request;
  const inRange = end === '' ? kv!.key === key : kv!.key >= key && (end === '\0' || kv!.key < end);
  return inRange && kv!.mod_revision >= from && !filters.includes(type);
}

/** Applies puts and deletes of distinct keys as one transaction, and writes down what that makes of the past. */
function write(h: Harness, past: Past, changes: readonly { key: string; value: string | undefined }[]): void {
  const revision = h.machine.store.revision + 1;
  const ops: m.RequestOp[] = [];
  for (const { key, value } of changes) {
    const old = past.live.get(key);
    if (value === undefined) {
      ops.push(del(key));
      if (old === undefined) continue;
      past.live.delete(key);
      const kv = { key, create_revision: 0, mod_revision: revision, version: 0, value: Buffer.alloc(0), lease: 0n };
      past.events.push({ type: 1, kv });
    } else {
      ops.push(put(key, value));
      const version = (old?.version ?? 0) + 1;
      const created = old?.create_revision ?? revision;
      const kv = {
        key,
        create_revision: created,
        mod_revision: revision,
        version,
        value: Buffer.from(value),
        lease: 0n,
      };
      past.live.set(key, kv);
      past.events.push({ type: 0, kv });
    }
  }
  h.txn({ success: ops });
}

const key = fc.constantFrom('a', 'b', 'c', 'd');
const change = fc.record({
  key,
  value: fc.option(fc.constantFrom('', 'v', 'w'.repeat(60)), { nil: undefined, freq: 3 }),
});
const who = fc.nat({ max: 2 });
const request = fc
  .record({
    key,
    range_end: fc.constantFrom('', '', '\0', 'e'),
    start_revision: fc.oneof(fc.constant(0), fc.integer({ min: -1, max: 60 })),
    filters: fc.constantFrom<number[]>([], [], [0], [1]),
    prev_kv: fc.boolean(),
    fragment: fc.boolean(),
    progress_notify: fc.boolean(),
    watch_id: fc.constantFrom(0n, 0n, 0n, 1n, 9n),
  })
  .map((more) => watch(more.key, more));
const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc
      .uniqueArray(change, { minLength: 1, maxLength: 4, selector: (c) => c.key })
      .map((changes) => ({ do: 'write' as const, changes })),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('create' as const), who, request }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), who, id: fc.integer({ min: 0, max: 9 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('limit' as const), who, room: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('read' as const), who, room: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('ask' as const), who }) },
  { weight: 6, arbitrary: fc.constant({ do: 'work' as const }) },
  { weight: 2, arbitrary: fc.constant({ do: 'tick' as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('compact' as const), back: fc.nat({ max: 12 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const), who }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function run(h: Harness, past: Past, peers: Peer[], s: Step): void {
  if (s.do === 'write') write(h, past, s.changes);
  else if (s.do === 'work') h.machine.work();
  else if (s.do === 'compact') h.compact(Math.max(0, h.machine.store.revision - s.back));
  else if (s.do === 'tick') {
    h.clock.ms += PROGRESS_MS;
    h.machine.hub.tick();
  } else if (s.do === 'close') {
    peers[s.who]!.close();
    peers[s.who] = new Peer(h, past, isCopying(s.who));
  } else ask(peers[s.who]!, s);
}

/** Whether that peer's transport takes what goes to several watches at once. */
const isCopying = (who: number): boolean => who > 0;

function ask(peer: Peer, s: Extract<Step, { do: 'create' | 'cancel' | 'read' | 'limit' | 'ask' }>): void {
  if (s.do === 'create') peer.create(s.request);
  else if (s.do === 'cancel') peer.cancel(BigInt(s.id));
  else if (s.do === 'read') peer.read(s.room);
  else if (s.do === 'ask') peer.stream.requestProgress();
  else if (!peer.blocked) peer.room = s.room;
}

it('every watch sees its part of history once, in order, whole, and to the end', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 40, maxLength: 150, size: 'max' }), (steps) => {
      const h = harness({
        responseBytesMax: RESPONSE_BYTES_MAX,
        copiesBytesMax: 2 * RESPONSE_BYTES_MAX,
        sliceRevisionsMax: 5,
        sliceCostMax: 12,
      });
      const past: Past = { events: [], live: new Map() };
      const peers = [0, 1, 2].map((who) => new Peer(h, past, isCopying(who)));
      for (const s of steps) run(h, past, peers, s);
      const { revision } = h.machine.store;
      for (const peer of peers) {
        // However slowly they read, they get there.
        for (let i = 0; peer.blocked && i < 1_000; i++) {
          peer.read(2);
          h.settle();
        }
        peer.read(Number.POSITIVE_INFINITY);
        h.settle();
        for (const seen of peer.watches.values()) peer.checkSeen(seen, revision);
        for (const seen of peer.finished) peer.checkSeen({ ...seen, partial: [] }, lastRevision(seen));
        const pending = [...peer.watches.values()].filter((seen) => seen.request.start_revision > revision).length;
        const before = tally.progress;
        peer.stream.requestProgress();
        expect(tally.progress - before).toBe(peer.watches.size > 0 && pending === 0 ? 1 : 0);
        peer.close();
      }
      expect(h.machine.hub.counts).toEqual({ streams: 0, watchers: 0, unsynced: 0 });
      expect(h.machine.work()).toBe(false);
    }),
    { numRuns: 300, seed: 7 },
  );
  // The generator reaches what it is meant to reach.
  for (const [what, count] of Object.entries(tally)) expect(count, what).toBeGreaterThan(100);
  expect(together).toBeGreaterThan(20);
});
