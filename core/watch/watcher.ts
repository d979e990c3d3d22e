/** One watch of one stream: what it asks for and how far it has got. Owns no queue: what it has yet to see is history. */
import type { ByteString } from '../util/bytes.ts';
import { type Event, EventType, FilterType, type WatchCreateRequest } from '../wire/messages.ts';
import type { EventList } from './event-list.ts';
import type { WatchStream } from './watch-stream.ts';

/** `rangeEnd` as in a request: '' one key, '\0' no end, else the exclusive end. */
export interface KeyRange {
  readonly key: ByteString;
  readonly rangeEnd: ByteString;
}

export class Watcher {
  readonly stream: WatchStream;
  readonly id: bigint;
  readonly key: ByteString;
  /** '' one key, '\0' no end, else the exclusive end. */
  readonly rangeEnd: ByteString;
  /** Keys it watches besides, apart from the others. */
  readonly also: KeyRange | undefined;
  /** Events of earlier revisions are none of its business. */
  readonly startRevision: number;
  readonly prevKv: boolean;
  readonly fragment: boolean;
  readonly progressNotify: boolean;
  readonly #noPut: boolean;
  readonly #noDelete: boolean;

  /** In one of the hub's indexes; not yet while its client is being told that it was created. */
  begun = false;
  /** True: everything up to the store's revision has been handed to the sink, and live events go straight there. */
  synced = true;
  /** While not synced: the first revision whose events are still to be sent. */
  nextRevision = 0;
  /** Nothing was sent for one progress interval. */
  quiet = true;
  /** Cancelled, or its stream closed. */
  gone = false;
  /** Scratch of one delivery: the events given to it, not yet sent. */
  pending: EventList | undefined = undefined;

  constructor(
    stream: WatchStream,
    id: bigint,
    key: ByteString,
    request: WatchCreateRequest,
    startRevision: number,
    also?: KeyRange,
  ) {
    this.also = also;
    this.stream = stream;
    this.id = id;
    this.key = key;
    this.rangeEnd = request.range_end;
    this.startRevision = startRevision;
    this.prevKv = request.prev_kv;
    this.fragment = request.fragment;
    this.progressNotify = request.progress_notify;
    this.#noPut = request.filters.includes(FilterType.values.NOPUT);
    this.#noDelete = request.filters.includes(FilterType.values.NODELETE);
  }

  /** Whether `event`, whose key is in range, passes the filters. */
  wants(event: Event): boolean {
    return event.type === EventType.values.PUT ? !this.#noPut : !this.#noDelete;
  }
}
