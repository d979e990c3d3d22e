/**
 * One watch at the store and all who take part in it: where it stands, and who gets what of an answer. Sends nothing to the
 * store; watch-hub.ts does.
 */

import type { ByteString } from '../../core/util/bytes.ts';
import { encodedEvent } from '../../core/watch/responses.ts';
import type { Event, ResponseHeader, WatchResponse } from '../../core/wire/messages.ts';

/** One watch of one client. */
export interface Receiver {
  readonly key: ByteString;
  readonly rangeEnd: ByteString;
  readonly prevKv: boolean;
  /** The first revision it has not got yet; 0: from now on, and what now is has not been said. */
  next: number;
  /** For who begins now: the latest revision it may have heard of. */
  readonly floor: number;
  /** Where it takes part; undefined while its client does not read. */
  broadcast: Broadcast | undefined;
  /** Its client does not read: it stays where it is in history. */
  readonly blocked: boolean;
  /** The watch exists from here on; `header.revision` is what now is. */
  created(header: ResponseHeader): void;
  /** Whole revisions, all of them at or after `next`. */
  events(header: ResponseHeader, events: Event[]): void;
  /** There is nothing up to the header's revision that it has not got. */
  progress(header: ResponseHeader): void;
  /** The store has ended the watch, or refused it. */
  canceled(response: WatchResponse): void;
  /** It could not be served now and is out of the broadcast. */
  parked(): void;
}

export const NO_HEADER: ResponseHeader = { cluster_id: 0n, member_id: 0n, revision: 0, raft_term: 0 };

export class Broadcast {
  readonly key: ByteString;
  readonly rangeEnd: ByteString;
  readonly receivers = new Set<Receiver>();
  /** The first revision the store has not told of; 0: it watches from now on, and has not said what now is. */
  next: number;
  /** On the present stream to the store; undefined until it has answered. */
  upstreamId: bigint | undefined;
  /** It tells what happens, not what has happened. */
  live = false;
  header: ResponseHeader = NO_HEADER;

  constructor(key: ByteString, rangeEnd: ByteString, start: number) {
    this.key = key;
    this.rangeEnd = rangeEnd;
    this.next = start;
  }

  /** Whether who is at `next` misses nothing here, and need not wait for history it does not want. */
  suits(next: number): boolean {
    if (next === 0) return this.next === 0 || this.live;
    return this.next > 0 && (this.next === next || (this.live && this.next < next));
  }

  add(receiver: Receiver): void {
    this.receivers.add(receiver);
    receiver.broadcast = this;
    if (this.upstreamId !== undefined) this.#tellCreated(receiver);
  }

  /** The store has answered: the watch is there. */
  begun(upstreamId: bigint, header: ResponseHeader): void {
    this.upstreamId = upstreamId;
    this.header = header;
    if (this.next === 0) this.next = header.revision + 1;
    this.live = this.next > header.revision;
    for (const receiver of [...this.receivers]) this.#tellCreated(receiver);
  }

  /** The stream to the store is gone; the watch will be asked for again, from where it stands. */
  interrupted(): void {
    this.upstreamId = undefined;
    this.live = false;
  }

  /** Hands on events of whole revisions. Returns how many receivers got any. */
  deliver(header: ResponseHeader, events: readonly Event[]): number {
    this.header = header;
    const last = events.at(-1)!.kv!.mod_revision;
    if (last >= this.next) this.next = last + 1;
    if (last === header.revision) this.live = true;
    const shares = new Shares(events, this.receivers.size > 1);
    let served = 0;
    for (const receiver of [...this.receivers]) {
      if (receiver.broadcast !== this) continue;
      if (receiver.blocked) this.#park(receiver);
      else {
        receiver.events(header, shares.from(receiver.next, receiver.prevKv));
        receiver.next = Math.max(receiver.next, last + 1);
        served++;
      }
    }
    return served;
  }

  /** Everything up to the header's revision has been told. */
  progressed(header: ResponseHeader): void {
    this.header = header;
    this.live = true;
    this.next = Math.max(this.next, header.revision + 1);
    for (const receiver of [...this.receivers]) {
      if (receiver.next > header.revision + 1) continue;
      receiver.next = header.revision + 1;
      if (receiver.blocked) this.#park(receiver);
      else receiver.progress(header);
    }
  }

  #tellCreated(receiver: Receiver): void {
    const revision = Math.max(this.next - 1, this.header.revision, receiver.floor);
    if (receiver.next === 0) receiver.next = revision + 1;
    receiver.created({ ...this.header, revision });
  }

  #park(receiver: Receiver): void {
    this.receivers.delete(receiver);
    receiver.broadcast = undefined;
    receiver.parked();
  }
}

/** The forms of one run of events that receivers want, each made once. */
class Shares {
  readonly #events: readonly Event[];
  readonly #several: boolean;
  readonly #made = new Map<boolean, Event[]>();

  /** `several`: they are sent more than once, so they are encoded once. */
  constructor(events: readonly Event[], several: boolean) {
    this.#events = events;
    this.#several = several;
  }

  from(next: number, prevKv: boolean): Event[] {
    const all = this.#made.get(prevKv) ?? this.#make(prevKv);
    this.#made.set(prevKv, all);
    const first = all.findIndex(({ kv }) => kv!.mod_revision >= next);
    return first === 0 ? all : first === -1 ? [] : all.slice(first);
  }

  #make(prevKv: boolean): Event[] {
    return this.#events.map((event) => {
      const wanted = prevKv || event.prev_kv === undefined ? event : { ...event, prev_kv: undefined };
      return this.#several ? encodedEvent(wanted) : wanted;
    });
  }
}
