/**
 * One wait of the v2 API: a watch over the keys and the markers of what is waited for, turned into v2 events revision by
 * revision. History is read as far back as it goes; nothing is queued for a client that is behind. The watch ends when the
 * leave to watch does.
 */
import type { RosterError } from '../../core/errors.ts';
import { v2Events, watchedSpans } from '../../core/v2/events.ts';
import type { V2Answer } from '../../core/v2/node.ts';
import type { WatchStream } from '../../core/watch/watch-stream.ts';
import { defaults } from '../../core/wire/binary.ts';
import { type Event, WatchCreateRequest, type WatchResponse } from '../../core/wire/messages.ts';
import type { RpcContext } from '../rpc/context.ts';
import type { CallContext, Responder, StreamHandler } from '../rpc/service.ts';
import type { KeyWatch } from './key-request.ts';

/** What comes of a watch, in this order: it has begun, or cannot; then events. */
export type V2WatchAnswer =
  | { readonly began: number }
  | { readonly cleared: { readonly oldest: number; readonly asked: number; readonly index: number } }
  | { readonly events: readonly V2Answer[] };

export class V2WatchCall implements StreamHandler<KeyWatch> {
  readonly #context: RpcContext;
  readonly #call: CallContext;
  readonly #responder: Responder<V2WatchAnswer>;
  readonly #stream: WatchStream;
  readonly #stopListening: () => void;
  #watch: KeyWatch | undefined;
  #over = false;

  constructor(context: RpcContext, call: CallContext, responder: Responder<V2WatchAnswer>) {
    this.#context = context;
    this.#call = call;
    this.#responder = responder;
    this.#stream = context.machine.hub.stream({ send: (response) => this.#take(response) });
    responder.onDrain = () => this.#stream.drained();
    this.#stopListening = context.security.onChange(() => this.#authChanged());
  }

  message(watch: KeyWatch): void {
    const { admission } = this.#call;
    if (admission === undefined) this.#begin(watch);
    else {
      admission.checkConfirmed(needed(watch), (refusal) => {
        if (this.#over) return;
        if (refusal === undefined) this.#begin(watch);
        else this.#end(refusal);
      });
    }
  }

  #begin(watch: KeyWatch): void {
    const { store } = this.#context.machine;
    const { revision: index, compactRevision } = store;
    // What a compaction has left of its own revision is not all that happened in it.
    if (watch.waitIndex > 0 && watch.waitIndex <= compactRevision) {
      this.#responder.send({ cleared: { oldest: compactRevision + 1, asked: watch.waitIndex, index } });
      this.#end();
      return;
    }
    this.#watch = watch;
    this.#responder.send({ began: index });
    if (this.#over) return;
    const { nodes, markers } = watchedSpans(watch);
    const request = { ...defaults(WatchCreateRequest), key: nodes.from, range_end: nodes.to };
    const error = this.#stream.create(
      { ...request, start_revision: watch.waitIndex },
      { key: markers.from, rangeEnd: markers.to },
    );
    if (error !== undefined) this.#end(error);
  }

  /** What comes of a response; false: the peer is slow. */
  #take(response: WatchResponse): boolean {
    if (this.#over) return true;
    // A compaction has overtaken it: the client asks again, and is told.
    if (response.canceled) {
      this.#end();
      return true;
    }
    const events = this.#eventsOf(response.events);
    return events.length === 0 || this.#responder.send({ events });
  }

  #eventsOf(all: readonly Event[]): V2Answer[] {
    const { store } = this.#context.machine;
    const answers: V2Answer[] = [];
    for (let start = 0; start < all.length; ) {
      const revision = all[start]!.kv!.mod_revision;
      let end = start + 1;
      while (end < all.length && all[end]!.kv!.mod_revision === revision) end++;
      const ofRevision = start === 0 && end === all.length ? all : all.slice(start, end);
      for (const answer of v2Events(store, revision, ofRevision, this.#watch!)) answers.push(answer);
      start = end;
    }
    return answers;
  }

  #authChanged(): void {
    const { admission } = this.#call;
    if (admission === undefined || this.#watch === undefined || !this.#context.machine.auth.enabled) return;
    admission.stillMay(needed(this.#watch), (refusal) => {
      if (refusal !== undefined) this.#end(refusal);
    });
  }

  #end(error?: RosterError): void {
    if (this.#over) return;
    this.cancel();
    this.#responder.end(error);
  }

  halfClose(): void {}

  cancel(): void {
    this.#over = true;
    this.#stopListening();
    this.#stream.close();
  }
}

function needed({ path, recursive }: KeyWatch): object {
  return { path, subtree: recursive };
}
