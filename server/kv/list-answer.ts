/**
 * A list that is sent while it is read: as one JSON object, or a line for each entry (NDJSON). Owns the HTTP status, which
 * is settled by what comes first, and that a list which breaks off cannot be taken for a whole one.
 */
import type { RosterError } from '../../core/errors.ts';
import { TextBody } from '../http/text-body.ts';
import type { Responder } from '../rpc/service.ts';

export interface ListFormat {
  /** The name of the list in JSON. */
  readonly name: string;
  readonly lines: boolean;
}

export class ListAnswer<Res extends object> implements Responder<Res> {
  onDrain: (() => void) | undefined;
  /** The reader has gone. */
  onLeave: () => void = () => {};
  /** Nothing more will be sent. */
  over = false;
  readonly #format: ListFormat;
  readonly #entries: (response: Res) => Iterable<object>;
  readonly #summary: () => object;
  readonly #resolve: (response: Response) => void;
  readonly #reject: (error: RosterError) => void;
  #body: TextBody | undefined;
  #first = true;

  /**
   * `entries` makes JSON of what comes; `summary` what is said at the end. Rejects with what the list was refused with
   * before anything was sent.
   */
  constructor(
    format: ListFormat,
    make: { entries: (response: Res) => Iterable<object>; summary: () => object },
    settle: { resolve: (response: Response) => void; reject: (error: RosterError) => void },
  ) {
    this.#format = format;
    this.#entries = make.entries;
    this.#summary = make.summary;
    this.#resolve = settle.resolve;
    this.#reject = settle.reject;
  }

  send(response: Res): boolean {
    if (this.over) return true;
    let text = '';
    for (const entry of this.#entries(response)) {
      if (!this.#format.lines) text += this.#first ? `{"${this.#format.name}":[\n` : ',\n';
      text += JSON.stringify(entry);
      if (this.#format.lines) text += '\n';
      this.#first = false;
    }
    return this.#open().write(text);
  }

  end(error?: RosterError): void {
    if (this.over) return;
    this.over = true;
    if (error !== undefined) {
      if (this.#body === undefined) this.#reject(error);
      else this.#body.breakOff(error);
      return;
    }
    const summary = JSON.stringify(this.#summary());
    const body = this.#open();
    if (this.#format.lines) body.write(`${summary}\n`);
    else body.write(`${this.#first ? `{"${this.#format.name}":[` : '\n'}],${summary.slice(1)}\n`);
    body.end();
  }

  #open(): TextBody {
    if (this.#body !== undefined) return this.#body;
    const body = new TextBody();
    body.onDrain = () => this.onDrain?.();
    body.onLeave = () => this.onLeave();
    this.#body = body;
    const type = this.#format.lines ? 'application/x-ndjson' : 'application/json';
    this.#resolve(new Response(body.stream, { status: 200, headers: { 'Content-Type': type, Vary: 'Accept' } }));
    return body;
  }
}
