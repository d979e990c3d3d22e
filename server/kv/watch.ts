/** `GET ?watch`: chooses what it is spoken in, and where it begins. Owns the watches that are open, for the end. */
import { rosterError } from '../../core/errors.ts';
import type { ByteString } from '../../core/util/bytes.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { badRequest } from './errors.ts';
import type { KvCall } from './kv-call.ts';
import { prefixRange } from './list.ts';
import type { Parameters } from './parameters.ts';
import type { Rpcs } from './rpcs.ts';
import { WatchAnswer, type WatchTimes } from './watch-answer.ts';
import { asLine, asServerSentEvent } from './watch-lines.ts';

export interface WatchRequest {
  readonly call: KvCall;
  readonly key: ByteString;
  readonly parameters: Parameters;
  /** Server-Sent Events; else a line of JSON for each message. */
  readonly serverSentEvents: boolean;
  readonly lastEventId: string | undefined;
  readonly cut: () => void;
}

export class Watches {
  readonly #rpcs: Rpcs;
  readonly #times: WatchTimes;
  readonly #compactRevision: () => number;
  readonly #open = new Set<WatchAnswer>();

  /** When `stopping` fires, each is told so and ends. */
  constructor(rpcs: Rpcs, times: WatchTimes, compactRevision: () => number, stopping: AbortSignal | undefined) {
    this.#rpcs = rpcs;
    this.#times = times;
    this.#compactRevision = compactRevision;
    stopping?.addEventListener('abort', () => {
      for (const answer of [...this.#open]) answer.stop(rosterError('Stopped'));
    });
  }

  get size(): number {
    return this.#open.size;
  }

  watch(request: WatchRequest): Promise<Response> {
    const { call, key, parameters, serverSentEvents: sse, cut } = request;
    const create: m.WatchCreateRequest = {
      ...defaults(m.WatchCreateRequest),
      ...(parameters.flag('prefix') ? prefixRange(key) : { key }),
      start_revision: startOf(request),
      prev_kv: parameters.flag('prev'),
      progress_notify: true,
    };
    return new Promise((resolve, reject) => {
      const answer: WatchAnswer = new WatchAnswer({
        ...{ call, create, cut },
        format: sse ? asServerSentEvent : asLine,
        contentType: sse ? 'text/event-stream' : 'application/x-ndjson',
        times: this.#times,
        compactRevision: this.#compactRevision,
        settle: { resolve, reject },
        onOver: () => this.#open.delete(answer),
      });
      this.#open.add(answer);
      answer.begin(this.#rpcs.watch);
    });
  }
}

/** What a browser has seen goes before what it was told at first. 0: from now on. */
function startOf({ parameters, lastEventId }: WatchRequest): number {
  if (lastEventId === undefined || lastEventId === '') return parameters.number('rev') ?? 0;
  const seen = /^[0-9]{1,15}$/.test(lastEventId) ? Number(lastEventId) : Number.NaN;
  if (Number.isSafeInteger(seen)) return seen + 1;
  throw badRequest(
    'BadHeader',
    'the header Last-Event-ID is none of this server',
    'Give the id of an event, a revision.',
  );
}
