/** The shapes of a WatchResponse, and where a long run of events is cut into several. Sends nothing. */
import { assert } from '../util/assert.ts';
import { encode } from '../wire/binary.ts';
import { encodedOf, withEncoded } from '../wire/encoded.ts';
import { Event, type WatchResponse } from '../wire/messages.ts';

/** The watch id of a response about a whole stream or about a watch that never was (clientv3.InvalidWatchID). */
export const NO_WATCH = -1n;

/** Room for everything in a response but its events: six varints of ten bytes, two flags, tags and lengths. */
export const ENVELOPE_BYTES = 80;
/** Tag and length of one event. */
const EVENT_FRAME_BYTES = 6;

/** A response without events. `revision` is the header's. */
export function watchResponse(revision: number, watchId: bigint): WatchResponse {
  return {
    header: { cluster_id: 0n, member_id: 0n, revision, raft_term: 0 },
    watch_id: watchId,
    created: false,
    canceled: false,
    compact_revision: 0,
    cancel_reason: '',
    fragment: false,
    events: [],
  };
}

export function eventsResponse(revision: number, watchId: bigint, events: Event[]): WatchResponse {
  const response = watchResponse(revision, watchId);
  response.events = events;
  return response;
}

/** `event`, carrying its encoding from now on, so that it is made once for all who watch it. */
export function encodedEvent(event: Event): Event {
  return encodedOf(event) === undefined ? withEncoded(event, encode(Event, event)) : event;
}

/** Bytes that `event`, which carries its encoding, takes in a response. */
export function eventBytes(event: Event): number {
  const bytes = encodedOf(event);
  assert(bytes !== undefined, 'events are encoded before they are sent');
  return bytes.length + EVENT_FRAME_BYTES;
}

/** The main revision an event belongs to. */
export function revisionOf(event: Event): number {
  assert(event.kv !== undefined, 'an event has a pair');
  return event.kv.mod_revision;
}

/**
 * The end of the longest run of whole revisions from `start` that fits into `bytesMax`; at least one revision, however
 * large it is.
 */
export function revisionsThatFit(events: readonly Event[], start: number, bytesMax: number): number {
  let bytes = ENVELOPE_BYTES;
  let end = start;
  for (let i = start; i < events.length; ) {
    const revision = revisionOf(events[i]!);
    let next = i;
    for (; next < events.length && revisionOf(events[next]!) === revision; next++) bytes += eventBytes(events[next]!);
    if (bytes > bytesMax && end > start) break;
    end = next;
    i = next;
  }
  return end;
}

/** How many responses of `responseBytes` are sent at once; at least one. */
export function copiesThatFit(responseBytes: number, bytesMax: number): number {
  return Math.max(1, Math.floor(bytesMax / responseBytes));
}

/** The end of the longest run of events from `start`, below `limit`, that fits into `bytesMax`; at least one event. */
export function eventsThatFit(events: readonly Event[], start: number, limit: number, bytesMax: number): number {
  let bytes = ENVELOPE_BYTES;
  let end = start;
  while (end < limit) {
    bytes += eventBytes(events[end]!);
    if (bytes > bytesMax && end > start) break;
    end++;
  }
  return end;
}
