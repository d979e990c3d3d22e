/**
 * All watches of callers with the same token on one stream to the store, equal ones as one. Owns who joins whom, who has
 * caught up with whom, and that after a break everything goes on from where it stood.
 */
import type { LastingStream } from '../../client/lasting-stream.ts';
import { methods } from '../../client/methods.ts';
import { GrpcStatus, type RosterError } from '../../core/errors.ts';
import { NO_WATCH } from '../../core/watch/responses.ts';
import { defaults } from '../../core/wire/binary.ts';
import {
  type ResponseHeader,
  WatchCreateRequest,
  type WatchRequest,
  type WatchResponse,
} from '../../core/wire/messages.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { Broadcast, NO_HEADER, type Receiver } from './broadcast.ts';
import type { Caller } from './caller.ts';
import type { Namespace } from './namespace.ts';
import type { ReadCache } from './read-cache.ts';
import type { Revisions } from './revisions.ts';

export interface WatchWorld {
  readonly upstream: Upstream;
  readonly namespace: Namespace;
  readonly cache: ReadCache;
  readonly revisions: Revisions;
  readonly counts: WatchCounts;
}

/** Of all hubs together. */
export interface WatchCounts {
  /** Watches of clients, and watches at the store that serve them. */
  receivers: number;
  broadcasts: number;
  /** Watches created at the store so far. */
  created: number;
  /** Events that were sent to clients without being asked for again. */
  eventsShared: number;
}

/** A client's stream, as the hub sees it. */
export interface HubMember {
  readonly wantsLeader: boolean;
  /** The answer to its request for progress. */
  progress(header: ResponseHeader): void;
  /** Its watches cannot go on. */
  fail(error: RosterError): void;
}

/** The store's last word: asking again would not change it. */
const FINAL: ReadonlySet<number> = new Set([
  GrpcStatus.UNIMPLEMENTED,
  GrpcStatus.PERMISSION_DENIED,
  GrpcStatus.UNAUTHENTICATED,
  GrpcStatus.INVALID_ARGUMENT,
]);

export class WatchHub {
  readonly members = new Set<HubMember>();
  readonly #world: WatchWorld;
  readonly #stream: LastingStream<WatchRequest, WatchResponse>;
  readonly #byRange = new Map<string, Set<Broadcast>>();
  /** Asked for on the present stream and not answered yet: the store answers in order. Undefined: no longer wanted. */
  #creating: (Broadcast | undefined)[] = [];
  readonly #byId = new Map<bigint, Broadcast>();
  #open = false;
  /** Who waits to be told of progress. */
  readonly #waiting = new Set<HubMember>();

  constructor(world: WatchWorld, { metadata }: Caller) {
    this.#world = world;
    const owner = {
      opened: () => this.#opened(),
      message: (response: WatchResponse) => this.#received(response),
      broken: (error: RosterError) => this.#broken(error),
    };
    this.#stream = world.upstream.lasting(methods.watch, owner, { metadata, requireLeader: true });
  }

  /** Takes part in a watch that suits, or begins one. */
  join(receiver: Receiver): void {
    const id = rangeId(receiver);
    const same = this.#byRange.get(id) ?? new Set();
    this.#byRange.set(id, same);
    this.#world.counts.receivers++;
    const suiting = [...same].filter((broadcast) => broadcast.suits(receiver.next));
    let broadcast = suiting.find(({ live }) => live) ?? suiting[0];
    if (broadcast === undefined) {
      broadcast = new Broadcast(receiver.key, receiver.rangeEnd, receiver.next);
      same.add(broadcast);
      this.#world.counts.broadcasts++;
      this.#stream.start();
      if (this.#open) this.#create(broadcast);
    }
    broadcast.add(receiver);
  }

  /** No longer wants what it took part in. No effect when it took part in nothing. */
  leave(receiver: Receiver): void {
    const { broadcast } = receiver;
    if (broadcast === undefined) return;
    broadcast.receivers.delete(receiver);
    receiver.broadcast = undefined;
    this.#left(broadcast);
  }

  /** A receiver has been put out because its client does not read. */
  left(receiver: Receiver): void {
    this.#world.counts.receivers--;
    for (const broadcast of this.#byRange.get(rangeId(receiver)) ?? []) {
      if (broadcast.receivers.size === 0) this.#end(broadcast);
    }
  }

  requestProgress(member: HubMember): void {
    if (!this.#open) return;
    this.#waiting.add(member);
    this.#stream.send({ progress_request: {} });
  }

  /** A stream has gone, with all its watches. */
  remove(member: HubMember): void {
    this.members.delete(member);
    this.#waiting.delete(member);
    if (this.members.size > 0) return;
    this.#forgetStream();
    this.#stream.stop();
  }

  #left(broadcast: Broadcast): void {
    this.#world.counts.receivers--;
    if (broadcast.receivers.size === 0) this.#end(broadcast);
  }

  #end(broadcast: Broadcast): void {
    const same = this.#byRange.get(rangeId(broadcast));
    if (same?.delete(broadcast) !== true) return;
    if (same.size === 0) this.#byRange.delete(rangeId(broadcast));
    this.#world.counts.broadcasts--;
    const place = this.#creating.indexOf(broadcast);
    if (place !== -1) this.#creating[place] = undefined;
    const { upstreamId } = broadcast;
    if (upstreamId === undefined || !this.#byId.delete(upstreamId)) return;
    if (this.#open) this.#stream.send({ cancel_request: { watch_id: upstreamId } });
  }

  // ---- the stream to the store

  #opened(): void {
    this.#forgetStream();
    this.#open = true;
    for (const same of this.#byRange.values()) for (const broadcast of same) this.#create(broadcast);
  }

  #create(broadcast: Broadcast): void {
    const { key, rangeEnd, next } = broadcast;
    this.#creating.push(broadcast);
    this.#world.counts.created++;
    const create = { ...defaults(WatchCreateRequest), key, range_end: rangeEnd, start_revision: next };
    // Some want the pairs before and some want to hear of progress; those who do not are spared it here.
    const create_request = this.#world.namespace.watch({ ...create, prev_kv: true, progress_notify: true });
    this.#stream.send({ create_request });
  }

  #received(response: WatchResponse): void {
    this.#world.revisions.seen(response);
    const header = response.header ?? NO_HEADER;
    if (response.created) this.#created(response, header);
    else if (response.canceled) this.#canceled(response);
    else if (response.events.length > 0) this.#events(response, header);
    else if (response.watch_id === NO_WATCH) this.#progress(header);
    else {
      const broadcast = this.#byId.get(response.watch_id);
      if (broadcast === undefined) return;
      broadcast.progressed(header);
      this.#merge(broadcast);
    }
  }

  #created(response: WatchResponse, header: ResponseHeader): void {
    const broadcast = this.#creating.shift();
    if (response.canceled) {
      if (broadcast !== undefined) this.#refused(broadcast, response);
    } else if (broadcast === undefined) this.#stream.send({ cancel_request: { watch_id: response.watch_id } });
    else {
      this.#byId.set(response.watch_id, broadcast);
      broadcast.begun(response.watch_id, header);
      this.#merge(broadcast);
    }
  }

  #events({ watch_id: id, events }: WatchResponse, header: ResponseHeader): void {
    const { cache, namespace, counts } = this.#world;
    const broadcast = this.#byId.get(id);
    for (const event of events) {
      cache.changed(event.kv!.key);
      namespace.event(event);
    }
    if (broadcast === undefined) return;
    const served = broadcast.deliver(header, events);
    counts.eventsShared += Math.max(0, served - 1) * events.length;
    this.#merge(broadcast);
  }

  #canceled(response: WatchResponse): void {
    const broadcast = this.#byId.get(response.watch_id);
    if (broadcast === undefined) return;
    // After a compaction the store counts the watch until it is cancelled; otherwise it has forgotten it.
    if (response.compact_revision === 0) this.#byId.delete(response.watch_id);
    this.#refused(broadcast, response);
  }

  #refused(broadcast: Broadcast, response: WatchResponse): void {
    for (const receiver of [...broadcast.receivers]) {
      this.leave(receiver);
      receiver.canceled(response);
    }
  }

  #progress(header: ResponseHeader): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const member of waiting) member.progress(header);
  }

  /** Who has caught up with a live watch of the same range goes over to it. */
  #merge({ key, rangeEnd }: Broadcast): void {
    const same = this.#byRange.get(rangeId({ key, rangeEnd }));
    if (same === undefined || same.size < 2) return;
    let target: Broadcast | undefined;
    for (const one of same) if (one.live && (target === undefined || one.next < target.next)) target = one;
    if (target === undefined) return;
    for (const other of [...same]) {
      if (other === target || other.upstreamId === undefined || other.next < target.next) continue;
      for (const receiver of other.receivers) {
        receiver.broadcast = target;
        target.receivers.add(receiver);
      }
      other.receivers.clear();
      this.#end(other);
    }
  }

  #broken(error: RosterError): void {
    this.#forgetStream();
    const final = FINAL.has(error.status);
    const leaderless = error.code === 'NoLeader';
    for (const member of [...this.members]) if (final || (leaderless && member.wantsLeader)) member.fail(error);
  }

  #forgetStream(): void {
    this.#open = false;
    this.#creating = [];
    this.#byId.clear();
    this.#waiting.clear();
    for (const same of this.#byRange.values()) for (const broadcast of same) broadcast.interrupted();
  }
}

function rangeId({ key, rangeEnd }: Pick<Receiver, 'key' | 'rangeEnd'>): string {
  return `${key.length}:${key}${rangeEnd}`;
}
