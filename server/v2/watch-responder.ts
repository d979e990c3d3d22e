/**
 * The HTTP answer to a wait: its head goes out when the watch has begun, then one event and the end, or with `stream` one
 * event a line under the reader's flow control. Never reads the request.
 */
import type { RosterError } from '../../core/errors.ts';
import { TextBody } from '../http/text-body.ts';
import type { Responder } from '../rpc/service.ts';
import { V2Error, V2ErrorCode } from './errors.ts';
import { answerText, type Clock } from './json.ts';
import type { V2WatchAnswer } from './watch.ts';

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
  #body: TextBody | undefined;
  #over = false;

  constructor(stream: boolean, to: WatchResponse) {
    this.#stream = stream;
    this.#to = to;
  }

  send(answer: V2WatchAnswer): boolean {
    if (this.#over) return true;
    if ('began' in answer) this.#begin(answer.began);
    else if ('cleared' in answer) this.#cleared(answer.cleared);
    else return this.#events(this.#body!, answer.events);
    return true;
  }

  /** Nothing more comes. A watch that had begun ends without a word, as with etcd: the client asks again. */
  end(error?: RosterError): void {
    if (this.#over) return;
    this.#finish();
    if (this.#body !== undefined) this.#body.end();
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

  #events(body: TextBody, events: Extract<V2WatchAnswer, { events: unknown }>['events']): boolean {
    const clock = this.#to.clock();
    if (!this.#stream) {
      body.write(answerText(events[0]!, clock));
      this.#finish();
      body.end();
      this.onCancel();
      return true;
    }
    for (const event of events) body.write(answerText(event, clock));
    return !body.full;
  }

  #begin(index: number): void {
    const body = new TextBody();
    body.onDrain = () => this.onDrain?.();
    body.onLeave = () => this.leave();
    this.#body = body;
    // Said beforehand, the head goes out at once: whoever waits wants to know that it does.
    const headers = { ...this.#to.headers(index), 'Transfer-Encoding': 'chunked' };
    this.#to.resolve(new Response(body.stream, { headers }));
  }

  #finish(): void {
    this.#over = true;
    this.onOver();
  }
}
