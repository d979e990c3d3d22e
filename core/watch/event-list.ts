/**
 * The events of one delivery, in order. Watchers that get the same events hold the same list, so that what is made of it
 * is made once, however many they are. A list never changes: one with one more event is another list.
 */
import { assert } from '../util/assert.ts';
import type { Event, WatchResponse } from '../wire/messages.ts';
import { ENVELOPE_BYTES, eventBytes, eventsResponse } from './responses.ts';

export class EventList {
  /** At most what a response with these events takes. */
  readonly responseBytes: number;
  readonly length: number;
  /** Watchers that get exactly these events. */
  holders = 0;
  readonly #before: EventList | undefined;
  readonly #last: Event | undefined;
  /** The list that this one became last. Watchers are given one event after the other, so no earlier one is asked for. */
  #next: EventList | undefined;
  #response: WatchResponse | undefined;

  private constructor(before: EventList | undefined, last: Event | undefined) {
    this.#before = before;
    this.#last = last;
    this.length = before === undefined ? 0 : before.length + 1;
    this.responseBytes = before === undefined ? ENVELOPE_BYTES : before.responseBytes + eventBytes(last!);
  }

  /** A list without events, which knows of no other. */
  static empty(): EventList {
    return new EventList(undefined, undefined);
  }

  /** This list and then `event`, which carries its encoding. The same one for all who ask in a row. */
  with(event: Event): EventList {
    const next = this.#next;
    if (next !== undefined && next.#last === event) return next;
    const made = new EventList(this, event);
    this.#next = made;
    return made;
  }

  /** An array of the caller's own. */
  toArray(): Event[] {
    return EventList.#arrayOf(this);
  }

  /** A response with these events and no watch id; the same one for all who ask. `revision` is the header's. */
  response(revision: number): WatchResponse {
    this.#response ??= eventsResponse(revision, 0n, this.toArray());
    assert(this.#response.header!.revision === revision, 'a list is of one delivery');
    return this.#response;
  }

  static #arrayOf(last: EventList): Event[] {
    const events = new Array<Event>(last.length);
    for (let list = last; list.#before !== undefined; list = list.#before) events[list.length - 1] = list.#last!;
    return events;
  }
}
