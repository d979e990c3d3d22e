/**
 * The answer of a streaming call of the JSON gateway: one JSON object a line, under the reader's flow control. Owns the
 * HTTP status, which is settled by what comes first: a line, or a failure. Never reads the request.
 */
import type { RosterError } from '../../core/errors.ts';
import { toJson } from '../../core/wire/json.ts';
import type { Responder, StreamMethod } from '../rpc/service.ts';
import { httpStatusOf, streamErrorBody } from './grpc-status.ts';
import { TextBody } from './text-body.ts';

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
  #body: TextBody | undefined;
  #over = false;

  constructor(method: StreamMethod, resolve: (response: Response) => void) {
    this.#method = method;
    this.#resolve = resolve;
  }

  send(response: object): boolean {
    if (this.#over) return true;
    return this.#open().write(`{"result":${toJson(this.#method.response, response)}}\n`);
  }

  end(error?: RosterError): void {
    if (this.#over) return;
    this.#over = true;
    this.onOver();
    if (error !== undefined && this.#body === undefined) {
      const headers = { 'Content-Type': 'application/json' };
      this.#resolve(new Response(errorLine(error), { status: httpStatusOf(error), headers }));
      return;
    }
    const body = this.#open();
    if (error !== undefined) body.write(errorLine(error));
    body.end();
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

  #open(): TextBody {
    if (this.#body !== undefined) return this.#body;
    const body = new TextBody();
    body.onDrain = () => this.onDrain?.();
    body.onLeave = () => this.leave();
    this.#body = body;
    this.#resolve(new Response(body.stream, { status: 200, headers: JSON_HEADERS }));
    return body;
  }
}

function errorLine(error: RosterError): string {
  return `${JSON.stringify(streamErrorBody(error))}\n`;
}
