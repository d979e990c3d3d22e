/** What happened, revision by revision, read from the backend: for watchers that catch up. Owns no state. */
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';
import { type Event, EventType } from '../wire/messages.ts';
import type { Backend } from './backend.ts';
import type { RevisionEvents } from './kv-store.ts';
import { decodePair, keyOfPair, tombstonePair } from './pairs.ts';
import { isTombstoneKey, parseRevision, revisionKey } from './revision.ts';

/** KvStore.events, up to and including the revision `current`. */
export function readEvents(
  backend: Backend,
  current: number,
  fromRevision: number,
  revisionsMax: number,
  wanted: (key: ByteString) => boolean,
): { batches: RevisionEvents[]; next: number } {
  assert(fromRevision > 0 && revisionsMax > 0, 'events are read from a revision on, at least one revision of them');
  const batches: RevisionEvents[] = [];
  let batch: RevisionEvents | undefined;
  let revisions = 0;
  let last = 0;
  let next = current + 1;
  backend.scan('key', revisionKey(fromRevision, 0), undefined, (rowKey, value) => {
    const { main } = parseRevision(rowKey);
    if (main !== last) {
      if (revisions === revisionsMax) {
        next = main;
        return false;
      }
      revisions++;
      last = main;
      batch = undefined;
    }
    const key = keyOfPair(value);
    if (!wanted(key)) return true;
    if (batch === undefined) {
      batch = { revision: main, events: [] };
      batches.push(batch);
    }
    batch.events.push(eventOf(rowKey, key, main, value));
    return true;
  });
  return { batches, next: Math.max(next, fromRevision) };
}

function eventOf(rowKey: ByteString, key: ByteString, main: number, value: Uint8Array): Event {
  return isTombstoneKey(rowKey)
    ? { type: EventType.values.DELETE, kv: tombstonePair(key, main), prev_kv: undefined }
    : { type: EventType.values.PUT, kv: decodePair(value), prev_kv: undefined };
}
