/**
 * etcdserverpb.Watch through the proxy: one client's stream, its ids and its answers in order. Holds no events back in
 * memory: while the client does not read, its watches stay where they are in history.
 */
import { methods } from '../../client/methods.ts';
import { GrpcStatus, otherError, type RosterError, rosterError } from '../../core/errors.ts';
import type { ByteString } from '../../core/util/bytes.ts';
import { OPEN_END } from '../../core/watch/interval-tree.ts';
import { encodedEvent, eventsResponse, eventsThatFit, NO_WATCH, watchResponse } from '../../core/watch/responses.ts';
import type * as m from '../../core/wire/messages.ts';
import { type Event, FilterType, type ResponseHeader } from '../../core/wire/messages.ts';
import type { CallContext, Method, Responder, StreamHandler } from '../rpc/service.ts';
import type { Broadcast, Receiver } from './broadcast.ts';
import { callerOf, wantsLeader } from './caller.ts';
import { type HubMember, WatchHub, type WatchWorld } from './watch-hub.ts';

/** Watches on one client's stream. */
export const STREAM_WATCHES_MAX = 10_000;
/** Messages of one client that wait for an earlier one to be answered. */
export const STREAM_REQUESTS_MAX = 10_000;
/** Answers to a client that does not read them. */
export const UNREAD_ANSWERS_MAX = 1_000;
/** Where a response is cut, for a client that can join the pieces. */
const FRAGMENT_BYTES = 2 * 1024 * 1024;

const FIRST_KEY: ByteString = '\0';

export function watchMethods(world: WatchWorld): Method[] {
  const hubs = new Map<string, WatchHub>();
  return [
    {
      kind: 'stream',
      path: methods.watch.path,
      request: methods.watch.request,
      response: methods.watch.response,
      open: (call: CallContext, responder: Responder<m.WatchResponse>) => {
        const caller = callerOf(call);
        const hub = hubs.get(caller.id) ?? new WatchHub(world, caller);
        hubs.set(caller.id, hub);
        const onEnd = () => {
          if (hub.members.size === 0) hubs.delete(caller.id);
        };
        return new WatchCall(world, hub, responder, wantsLeader(call), onEnd);
      },
    },
  ];
}

class WatchCall implements StreamHandler<m.WatchRequest>, HubMember {
  readonly wantsLeader: boolean;
  blocked = false;
  readonly #world: WatchWorld;
  readonly #hub: WatchHub;
  readonly #responder: Responder<m.WatchResponse>;
  readonly #onEnd: () => void;
  readonly #watches = new Map<bigint, ClientWatch>();
  readonly #parked = new Set<ClientWatch>();
  #waiting: m.WatchRequest[] = [];
  /** The watch that is being created: what follows it waits, since clients count on answers in order. */
  #creating: ClientWatch | undefined;
  #going = false;
  #nextId = 0n;
  #unread = 0;
  #over = false;

  constructor(
    world: WatchWorld,
    hub: WatchHub,
    responder: Responder<m.WatchResponse>,
    leader: boolean,
    onEnd: () => void,
  ) {
    this.#world = world;
    this.#hub = hub;
    this.#responder = responder;
    this.#onEnd = onEnd;
    this.wantsLeader = leader;
    hub.members.add(this);
    responder.onDrain = () => this.#drained();
  }

  message(request: m.WatchRequest): void {
    if (this.#over) return;
    if (this.#waiting.length >= STREAM_REQUESTS_MAX) {
      this.fail(otherError(GrpcStatus.RESOURCE_EXHAUSTED, 'etcdserver: too many requests wait on one watch stream'));
      return;
    }
    this.#waiting.push(request);
    this.#goOn();
  }

  /** Events go on: a client that has said all it wants may close its side. */
  halfClose(): void {}

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#waiting = [];
    for (const watch of this.#watches.values()) this.#hub.leave(watch);
    this.#watches.clear();
    this.#parked.clear();
    this.#hub.remove(this);
    this.#onEnd();
  }

  // ---- for the hub

  progress(header: ResponseHeader): void {
    if (this.#parked.size > 0 || this.#creating !== undefined) return;
    for (const { next } of this.#watches.values()) if (next > header.revision + 1) return;
    this.#answer({ ...watchResponse(0, NO_WATCH), header });
  }

  fail(error: RosterError): void {
    if (this.#over) return;
    this.cancel();
    this.#responder.end(error);
  }

  // ---- for the watches

  send(response: m.WatchResponse): void {
    if (this.#over) return;
    if (!this.#responder.send(response)) this.blocked = true;
  }

  created(watch: ClientWatch, header: ResponseHeader): void {
    if (this.#creating !== watch) return;
    this.#creating = undefined;
    this.#answer({ ...watchResponse(0, watch.id), header, created: true });
    this.#goOn();
  }

  ended(watch: ClientWatch, response: m.WatchResponse): void {
    this.#watches.delete(watch.id);
    const creating = this.#creating === watch;
    if (creating) this.#creating = undefined;
    if (creating && response.created) this.#answer({ ...response, watch_id: NO_WATCH });
    else this.#answer({ ...response, watch_id: watch.id, created: false });
    if (creating) this.#goOn();
  }

  park(watch: ClientWatch): void {
    this.#parked.add(watch);
    this.#hub.left(watch);
  }

  // ---- inner

  #goOn(): void {
    if (this.#going) return;
    this.#going = true;
    while (!this.#over && this.#creating === undefined && this.#waiting.length > 0) {
      const request = this.#waiting.shift()!;
      if (request.create_request !== undefined) this.#create(request.create_request);
      else if (request.cancel_request !== undefined) this.#cancelWatch(request.cancel_request.watch_id);
      else if (request.progress_request !== undefined) this.#requestProgress();
    }
    this.#going = false;
  }

  #create(request: m.WatchCreateRequest): void {
    const key = request.key === '' ? FIRST_KEY : request.key;
    const reason = this.#refusal(request, key);
    if (reason !== undefined) {
      const refused = { ...watchResponse(this.#world.revisions.latest, NO_WATCH), created: true, canceled: true };
      this.#answer({ ...refused, cancel_reason: reason });
      return;
    }
    const id = this.#takeId(request.watch_id);
    const watch = new ClientWatch(this, id, key, request, this.#world.revisions.latest);
    this.#watches.set(id, watch);
    this.#creating = watch;
    this.#hub.join(watch);
  }

  /** The store's own reasons, in its words. */
  #refusal({ start_revision: start, range_end: end, watch_id: id }: m.WatchCreateRequest, key: ByteString) {
    if (start < 0) return rosterError('Compacted').message;
    if (end !== '' && end !== OPEN_END && key >= end) return 'mvcc: watcher range is empty';
    if (id !== 0n && this.#watches.has(id)) return 'mvcc: duplicate watch ID provided on the WatchStream';
    if (this.#watches.size < STREAM_WATCHES_MAX) return undefined;
    return `grpc-proxy: too many watches on one stream (limit ${STREAM_WATCHES_MAX})`;
  }

  #takeId(wanted: bigint): bigint {
    if (wanted !== 0n) return wanted;
    while (this.#watches.has(this.#nextId)) this.#nextId++;
    return this.#nextId++;
  }

  #cancelWatch(id: bigint): void {
    const watch = this.#watches.get(id);
    if (watch === undefined) return;
    this.#watches.delete(id);
    if (!this.#parked.delete(watch)) this.#hub.leave(watch);
    this.#answer({ ...watchResponse(this.#world.revisions.latest, id), canceled: true });
  }

  /** With nothing watched, or while a watch is behind, there is no answer, as with etcd: the client asks again. */
  #requestProgress(): void {
    if (this.#watches.size > 0 && this.#parked.size === 0) this.#hub.requestProgress(this);
  }

  /** Sends an answer even to who does not read, but not without end. */
  #answer(response: m.WatchResponse): void {
    if (this.#over) return;
    if (this.blocked && ++this.#unread > UNREAD_ANSWERS_MAX) {
      this.fail(otherError(GrpcStatus.RESOURCE_EXHAUSTED, 'etcdserver: the watch client does not read its responses'));
      return;
    }
    this.send(response);
  }

  #drained(): void {
    if (this.#over) return;
    this.blocked = false;
    this.#unread = 0;
    for (const watch of [...this.#parked]) {
      this.#parked.delete(watch);
      this.#hub.join(watch);
    }
  }
}

class ClientWatch implements Receiver {
  readonly id: bigint;
  readonly key: ByteString;
  readonly rangeEnd: ByteString;
  readonly prevKv: boolean;
  next: number;
  readonly floor: number;
  broadcast: Broadcast | undefined;
  readonly #call: WatchCall;
  readonly #progress: boolean;
  readonly #fragment: boolean;
  readonly #without: readonly number[];

  constructor(call: WatchCall, id: bigint, key: ByteString, request: m.WatchCreateRequest, floor: number) {
    this.#call = call;
    this.id = id;
    this.key = key;
    this.rangeEnd = request.range_end;
    this.prevKv = request.prev_kv;
    this.next = request.start_revision;
    this.floor = floor;
    this.#progress = request.progress_notify;
    this.#fragment = request.fragment;
    const { NOPUT, NODELETE } = FilterType.values;
    // The types of events that it does not want: 0 is a put, 1 a deletion.
    this.#without = request.filters.flatMap((filter) => (filter === NOPUT ? [0] : filter === NODELETE ? [1] : []));
  }

  get blocked(): boolean {
    return this.#call.blocked;
  }

  created(header: ResponseHeader): void {
    this.#call.created(this, header);
  }

  events(header: ResponseHeader, events: Event[]): void {
    const wanted = this.#without.length === 0 ? events : events.filter(({ type }) => !this.#without.includes(type));
    if (wanted.length === 0) return;
    if (!this.#fragment) {
      this.#call.send({ ...eventsResponse(0, this.id, wanted), header });
      return;
    }
    const sized = wanted.map(encodedEvent);
    for (let from = 0; from < sized.length; ) {
      const cut = eventsThatFit(sized, from, sized.length, FRAGMENT_BYTES);
      const part = eventsResponse(0, this.id, sized.slice(from, cut));
      this.#call.send({ ...part, header, fragment: cut < sized.length });
      from = cut;
    }
  }

  progress(header: ResponseHeader): void {
    if (this.#progress) this.#call.send({ ...watchResponse(0, this.id), header });
  }

  canceled(response: m.WatchResponse): void {
    this.#call.ended(this, response);
  }

  parked(): void {
    this.#call.park(this);
  }
}
