/**
 * The HTTP answer to a wait: its head goes out when the watch has begun, then one event and the end, or with `stream` one
 * event a line under the reader's flow control. Never reads the request.
 */
import type { RosterError } from '../../core/errors.ts';
import type { Responder } from '../rpc/service.ts';
import { V2Error, V2ErrorCode } from './errors.ts';
import { answerText, type Clock } from './json.ts';
import type { V2WatchAnswer } from './watch.ts';

/** Bytes a stream may hold for a reader that is behind, before the watch is told to wait. */
export const WATCH_BYTES_MAX = 1024 * 1024;
/** The same in events. */
export const WATCH_EVENTS_MAX = 64;

export interface WatchResponse {
  headers(index: number): Record<string, string>;
  clock(): Clock;
  /** The answer instead of a watch. */
  refused(error: RosterError | V2Error): Response;
  /** To be called once. */
  resolve(response: Response): void;
}

export class V2WatchResponder implements Responder<V2WatchAnswer> {
  onDrain: (() => void) | undefined;
  /** Tells the watch to end; called at most once, and not after `end`. */
  onCancel: () => void = () => {};
  /** It is over, for whatever reason. */
  onOver: () => void = () => {};
  readonly #stream: boolean;
  readonly #to: WatchResponse;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #slow = false;
  #over = false;

  constructor(stream: boolean, to: WatchResponse) {
    this.#stream = stream;
    this.#to = to;
  }

  send(answer: V2WatchAnswer): boolean {
    if (this.#over) return true;
    if ('began' in answer) this.#begin(answer.began);
    else if ('cleared' in answer) this.#cleared(answer.cleared);
    else this.#events(answer.events);
    return !this.#slow;
  }

  /** Nothing more comes. A watch that had begun ends without a word, as with etcd: the client asks again. */
  end(error?: RosterError): void {
    if (this.#over) return;
    this.#finish();
    if (this.#controller !== undefined) this.#controller.close();
    else if (error !== undefined) this.#to.resolve(this.#to.refused(error));
  }

  /** The reader has gone. */
  leave(): void {
    if (this.#over) return;
    this.#finish();
    this.onCancel();
  }

  refuse(error: RosterError): void {
    if (this.#over) return;
    this.onCancel();
    this.end(error);
  }

  #cleared({ oldest, asked, index }: { oldest: number; asked: number; index: number }): void {
    const cause = `the requested history has been cleared [${oldest}/${asked}]`;
    this.#finish();
    this.#to.resolve(this.#to.refused(new V2Error(V2ErrorCode.EVENT_INDEX_CLEARED, cause, index)));
  }

  #events(events: Extract<V2WatchAnswer, { events: unknown }>['events']): void {
    const clock = this.#to.clock();
    const controller = this.#controller!;
    if (!this.#stream) {
      controller.enqueue(Buffer.from(answerText(events[0]!, clock), 'utf8'));
      this.#finish();
      controller.close();
      this.onCancel();
      return;
    }
    for (const event of events) controller.enqueue(Buffer.from(answerText(event, clock), 'utf8'));
    this.#slow = (controller.desiredSize ?? 0) <= 0;
  }

  #begin(index: number): void {
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => {
          if (!this.#slow) return;
          this.#slow = false;
          this.onDrain?.();
        },
        cancel: () => this.leave(),
      },
      { highWaterMark: WATCH_BYTES_MAX, size: (line) => Math.max(line!.length, WATCH_BYTES_MAX / WATCH_EVENTS_MAX) },
    );
    // Said beforehand, the head goes out at once: whoever waits wants to know that it does.
    const headers = { ...this.#to.headers(index), 'Transfer-Encoding': 'chunked' };
    this.#to.resolve(new Response(body, { headers }));
  }

  #finish(): void {
    this.#over = true;
    this.onOver();
  }
}
