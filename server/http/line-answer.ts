/**
 * The answer of a streaming call of the JSON gateway: one JSON object a line, under the reader's flow control. Owns the
 * HTTP status, which is settled by what comes first: a line, or a failure. Never reads the request.
 */
import type { RosterError } from '../../core/errors.ts';
import { toJson } from '../../core/wire/json.ts';
import type { Responder, StreamMethod } from '../rpc/service.ts';
import { httpStatusOf, streamErrorBody } from './grpc-status.ts';

/** Lines a stream may hold for a reader that is behind, before its handler is told to wait. */
export const STREAM_LINES_MAX = 64;
/** The same in bytes. */
export const STREAM_BYTES_MAX = 1024 * 1024;

/** What grpc-gateway tells with every answer. */
export const JSON_HEADERS: Readonly<Record<string, string>> = {
  'Content-Type': 'application/json',
  'Grpc-Metadata-Content-Type': 'application/grpc',
};

export class LineAnswer implements Responder<object> {
  onDrain: (() => void) | undefined;
  /** Tells the handler to release everything; called at most once, and not after `end`. */
  onCancel: () => void = () => {};
  /** The call is over, for whatever reason. */
  onOver: () => void = () => {};
  readonly #method: StreamMethod;
  readonly #resolve: (response: Response) => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #slow = false;
  #over = false;

  constructor(method: StreamMethod, resolve: (response: Response) => void) {
    this.#method = method;
    this.#resolve = resolve;
  }

  send(response: object): boolean {
    if (this.#over) return true;
    this.#line(`{"result":${toJson(this.#method.response, response)}}\n`);
    this.#slow = (this.#controller!.desiredSize ?? 0) <= 0;
    return !this.#slow;
  }

  end(error?: RosterError): void {
    if (this.#over) return;
    this.#over = true;
    this.onOver();
    if (error !== undefined && this.#controller === undefined) {
      const headers = { 'Content-Type': 'application/json' };
      this.#resolve(new Response(errorLine(error), { status: httpStatusOf(error), headers }));
      return;
    }
    if (error !== undefined) this.#line(errorLine(error));
    this.#open().close();
  }

  /** The reader has gone. */
  leave(): void {
    if (this.#over) return;
    this.#over = true;
    this.onOver();
    this.onCancel();
  }

  /** The request cannot be read on, or its time is up. */
  refuse(error: RosterError): void {
    if (this.#over) return;
    this.onCancel();
    this.end(error);
  }

  #line(text: string): void {
    this.#open().enqueue(Buffer.from(text, 'utf8'));
  }

  #open(): ReadableStreamDefaultController<Uint8Array> {
    if (this.#controller !== undefined) return this.#controller;
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
      // A short line counts as much as its share of the bytes would: that bounds both.
      { highWaterMark: STREAM_BYTES_MAX, size: (line) => Math.max(line!.length, STREAM_BYTES_MAX / STREAM_LINES_MAX) },
    );
    this.#resolve(new Response(body, { status: 200, headers: JSON_HEADERS }));
    return this.#controller!;
  }
}

function errorLine(error: RosterError): string {
  return `${JSON.stringify(streamErrorBody(error))}\n`;
}
