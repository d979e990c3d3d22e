import { describe, expect, it } from 'vitest';
import { WATCH_QUEUE_BYTES_MAX, WATCH_QUEUE_ITEMS_MAX, Watch, type WatchHost } from '../../client/watch.ts';
import { defaults } from '../../core/wire/binary.ts';
import { type Event, KeyValue, WatchResponse } from '../../core/wire/messages.ts';

/** Stands where the stream would be and remembers what the watch asked of it. */
class RecordingHost implements WatchHost {
  created: number[] = [];
  released = 0;
  removed = 0;

  create(watch: Watch): void {
    this.created.push(watch.createRequest().start_revision);
  }

  release(): void {
    this.released++;
  }

  remove(): void {
    this.removed++;
  }
}

const put = (revision: number, size = 0): Event => ({
  type: 0,
  kv: { ...defaults(KeyValue), key: 'k', mod_revision: revision, value: new Uint8Array(size) },
});
const response = (part: Partial<WatchResponse>): WatchResponse => ({ ...defaults(WatchResponse), ...part });
const header = (revision: number) => ({ cluster_id: 0n, member_id: 0n, revision, raft_term: 0 });

async function drain(watch: Watch, count: number): Promise<number[]> {
  const revisions: number[] = [];
  for (let i = 0; i < count; i++) {
    const { value } = await watch.next();
    if (value?.kind === 'events') revisions.push(value.revision);
  }
  return revisions;
}

describe('the queue of a watch', () => {
  it('is given back to the server at one item too many, and taken up again where it stands', async () => {
    const host = new RecordingHost();
    const watch = new Watch(host, { key: 'k', start_revision: 1 });
    for (let revision = 1; revision <= WATCH_QUEUE_ITEMS_MAX; revision++) {
      watch.receive(response({ events: [put(revision)] }));
    }
    expect(host.released).toBe(0);
    watch.receive(response({ events: [put(WATCH_QUEUE_ITEMS_MAX + 1)] }));
    expect([host.released, watch.released]).toEqual([1, true]);
    // What was under way already is not queued: it will come again.
    watch.receive(response({ events: [put(WATCH_QUEUE_ITEMS_MAX + 2)] }));
    const half = WATCH_QUEUE_ITEMS_MAX / 2;
    expect(await drain(watch, half)).toHaveLength(half);
    expect(host.created).toEqual([]);
    await watch.next();
    expect(host.created).toEqual([WATCH_QUEUE_ITEMS_MAX + 2]);
    watch.receive(response({ events: [put(WATCH_QUEUE_ITEMS_MAX + 2)] }));
    const rest = await drain(watch, half + 1);
    expect(rest.at(-1)).toBe(WATCH_QUEUE_ITEMS_MAX + 2);
    expect(rest).toHaveLength(half + 1);
  });

  it('is bounded in octets too', async () => {
    const host = new RecordingHost();
    const watch = new Watch(host, { key: 'k', start_revision: 1 });
    watch.receive(response({ events: [put(1, WATCH_QUEUE_BYTES_MAX / 2)] }));
    expect(host.released).toBe(0);
    watch.receive(response({ events: [put(2, WATCH_QUEUE_BYTES_MAX / 2)] }));
    expect(host.released).toBe(1);
    expect(await drain(watch, 2)).toEqual([1, 2]);
    expect(host.created).toEqual([3]);
  });

  it('does not count what a consumer already waits for', async () => {
    const host = new RecordingHost();
    const watch = new Watch(host, { key: 'k', start_revision: 1 });
    const waiting = watch.next();
    watch.receive(response({ events: [put(1, WATCH_QUEUE_BYTES_MAX + 1)] }));
    expect(host.released).toBe(0);
    expect((await waiting).value).toMatchObject({ revision: 1 });
  });
});

describe('the place of a watch', () => {
  it('splits responses by revision, puts fragments together, and drops what it has had', async () => {
    const watch = new Watch(new RecordingHost(), { key: 'k', start_revision: 3 });
    watch.receive(response({ created: true, header: header(9) }));
    watch.receive(response({ fragment: true, events: [put(3), put(4)] }));
    watch.receive(response({ fragment: true, events: [put(4)] }));
    watch.receive(response({ events: [put(4), put(6)] }));
    watch.receive(response({ events: [put(6), put(7)] }));
    const items = [await watch.next(), await watch.next(), await watch.next(), await watch.next()];
    expect(items.map(({ value }) => [value.revision, value.events.length])).toEqual([
      [3, 1],
      [4, 3],
      [6, 1],
      [7, 1],
    ]);
    expect(watch.createRequest().start_revision).toBe(8);
  });

  it('forgets the fragments of a broken stream', async () => {
    const watch = new Watch(new RecordingHost(), { key: 'k', start_revision: 3 });
    watch.receive(response({ fragment: true, events: [put(3)] }));
    expect(watch.createRequest().start_revision).toBe(3);
    watch.receive(response({ events: [put(3), put(3)] }));
    expect((await watch.next()).value.events).toHaveLength(2);
  });

  it('begins after the revision of its creation when it was to begin now', () => {
    const watch = new Watch(new RecordingHost(), { key: 'k' });
    expect(watch.createRequest().start_revision).toBe(0);
    watch.receive(response({ created: true, header: header(9) }));
    watch.receive(response({ created: true, header: header(12) }));
    expect(watch.createRequest().start_revision).toBe(10);
  });

  it('moves on by progress, of which only the latest waits', async () => {
    const watch = new Watch(new RecordingHost(), { key: 'k', start_revision: 3 });
    for (const revision of [5, 6, 7]) watch.receive(response({ header: header(revision) }));
    watch.receive(response({ header: header(7), events: [put(8)] }));
    expect(await watch.next()).toEqual({ value: { kind: 'progress', revision: 7 }, done: false });
    expect(watch.createRequest().start_revision).toBe(9);
  });

  it('delivers what is queued before the error, and the error once', async () => {
    const host = new RecordingHost();
    const watch = new Watch(host, { key: 'k' });
    watch.receive(response({ events: [put(1)] }));
    const reason = 'rpc error: code = PermissionDenied desc = etcdserver: permission denied';
    watch.receive(response({ canceled: true, cancel_reason: reason }));
    expect(host.removed).toBe(1);
    expect((await watch.next()).value.revision).toBe(1);
    await expect(watch.next()).rejects.toMatchObject({ code: 'PermissionDenied' });
    expect((await watch.next()).done).toBe(true);
  });
});
