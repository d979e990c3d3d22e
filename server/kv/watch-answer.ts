/**
 * One watch at this door, whatever it is spoken in: a Watch call under the reader's flow control. Owns the keep-alives and
 * the end: refused, compacted, cut off because nobody reads, or stopped. Holds no events: a watch that is held back goes on
 * from history.
 */
import { GrpcStatus, otherError, type RosterError, rosterError } from '../../core/errors.ts';
import { assert } from '../../core/util/assert.ts';
import type * as m from '../../core/wire/messages.ts';
import { TextBody } from '../http/text-body.ts';
import type { Responder, StreamHandler, StreamMethod } from '../rpc/service.ts';
import { errorAnswer, refusalOf } from './errors.ts';
import type { KvCall } from './kv-call.ts';
import { type Format, revisionMessages, type WatchMessage } from './watch-lines.ts';

export interface WatchTimes {
  /** A watch that has nothing to say says so this often. */
  readonly keepAliveMs: number;
  /** A reader that has taken nothing for so long, while something waited for it, is told and cut off. */
  readonly stallMs: number;
  /** What it gets to read the reason. */
  readonly cutMs: number;
}

export const WATCH_TIMES: WatchTimes = { keepAliveMs: 15_000, stallMs: 60_000, cutMs: 5_000 };

export interface WatchAnswerOptions {
  readonly call: KvCall;
  readonly create: m.WatchCreateRequest;
  readonly format: Format;
  readonly contentType: string;
  readonly times: WatchTimes;
  /** Of this member, at present. */
  readonly compactRevision: () => number;
  /** Ends the connection of who does not read. */
  readonly cut: () => void;
  /** It has answered, in whatever way. */
  readonly settle: { resolve: (response: Response) => void; reject: (error: RosterError) => void };
  readonly onOver: () => void;
}

export class WatchAnswer implements Responder<m.WatchResponse> {
  onDrain: (() => void) | undefined;
  readonly #options: WatchAnswerOptions;
  #handler: StreamHandler<m.WatchRequest> | undefined;
  #body: TextBody | undefined;
  #over = false;
  #spoken = false;
  #ticker: NodeJS.Timeout | undefined;
  #stall: NodeJS.Timeout | undefined;

  constructor(options: WatchAnswerOptions) {
    this.#options = options;
  }

  begin(method: StreamMethod<m.WatchRequest, m.WatchResponse>): void {
    const { call, create } = this.#options;
    const handler = method.open(call, this);
    // Refused as it was opened, perhaps.
    if (this.#over) return;
    this.#handler = handler;
    call.onCancel(() => this.#leave());
    if (!this.#over) handler.message({ create_request: create });
  }

  /** The member stops. */
  stop(error: RosterError): void {
    this.#fail(error);
  }

  // ---- for the method

  send(response: m.WatchResponse): boolean {
    if (this.#over) return true;
    const { header, created, canceled, compact_revision, cancel_reason, events } = response;
    if (created && canceled) this.#refuse(refusalOf(cancel_reason));
    else if (created) this.#created(header!.revision);
    else if (canceled && compact_revision > 0) this.#compacted(compact_revision);
    else if (canceled) this.#fail(refusalOf(cancel_reason));
    else if (events.length === 0) this.#say({ type: 'progress', revision: header!.revision }, header!.revision);
    else for (const message of revisionMessages(events)) this.#say(message, message.revision);
    return this.#over || this.#body?.full !== true;
  }

  end(error: RosterError = otherError(GrpcStatus.UNAVAILABLE, 'the watch is over')): void {
    if (this.#over) return;
    this.#handler = undefined;
    this.#fail(error);
  }

  // ---- inner

  #created(revision: number): void {
    const { create, contentType, settle, times } = this.#options;
    const body = new TextBody();
    body.onDrain = () => this.#drained();
    body.onLeave = () => this.#leave();
    this.#body = body;
    const headers = {
      'Content-Type': contentType,
      'Cache-Control': 'no-cache',
      'X-Content-Type-Options': 'nosniff',
      // For nginx, which would hold events back.
      'X-Accel-Buffering': 'no',
      Vary: 'Accept',
    };
    settle.resolve(new Response(body.stream, { headers }));
    const from = create.start_revision > 0 ? create.start_revision : revision + 1;
    this.#say({ type: 'watching', revision, from }, from - 1);
    this.#ticker = setInterval(() => this.#tick(), times.keepAliveMs);
    this.#ticker.unref();
  }

  #say(message: WatchMessage, seen: number | undefined): void {
    const body = this.#body;
    assert(body !== undefined, 'a watch is created before anything is told of it');
    this.#spoken = true;
    if (body.write(this.#options.format(message, seen)) || this.#stall !== undefined) return;
    const { stallMs } = this.#options.times;
    this.#stall = setTimeout(() => this.#stalled(), stallMs);
    this.#stall.unref();
  }

  #drained(): void {
    clearTimeout(this.#stall);
    this.#stall = undefined;
    this.onDrain?.();
  }

  /** Asks how far it is, which is answered at once unless there are events on their way or the start is still to come. */
  #tick(): void {
    if (!this.#spoken && this.#body?.full === false) {
      this.#handler?.message({ progress_request: {} });
      if (!this.#spoken && !this.#over) this.#say({ type: 'keep-alive' }, undefined);
    }
    this.#spoken = false;
  }

  #compacted(compactRevision: number): void {
    const error = `the changes before revision ${compactRevision} are compacted`;
    const hint = `Read the keys anew and watch from there; or go on with ?rev=${compactRevision} and miss what is gone.`;
    // A browser that comes back by itself goes on with what there is.
    this.#say({ type: 'compacted', compactRevision, error, hint }, compactRevision - 1);
    this.#finish();
    this.#body!.end();
  }

  #stalled(): void {
    const { cut, times } = this.#options;
    const seconds = Math.round(times.stallMs / 1000);
    const error = otherError(GrpcStatus.RESOURCE_EXHAUSTED, `nothing was read for ${seconds} seconds`);
    const body = this.#body!;
    this.#lastWords(body, error);
    // Whoever reads on in time sees why. What was written stays until then, or until the connection is cut.
    const timer = setTimeout(() => {
      cut();
      body.end();
    }, times.cutMs);
    timer.unref();
    body.onLeave = () => clearTimeout(timer);
    body.onDrain = () => {
      clearTimeout(timer);
      body.end();
    };
  }

  #refuse(error: RosterError): void {
    this.#finish();
    this.#options.settle.reject(error);
  }

  /** Before the first message it is the answer, later the last message. */
  #fail(error: RosterError): void {
    if (this.#over) return;
    const body = this.#body;
    if (body === undefined) {
      this.#refuse(error);
      return;
    }
    this.#lastWords(body, error);
    body.end();
  }

  #lastWords(body: TextBody, error: RosterError): void {
    const { code, hint } = errorAnswer(error, this.#options.compactRevision()).body;
    body.write(this.#options.format({ type: 'failed', error: error.message, code, hint }, undefined));
    this.#finish();
  }

  #leave(): void {
    if (this.#over) return;
    if (this.#body === undefined) this.#refuse(rosterError('Canceled'));
    else this.#finish();
  }

  #finish(): void {
    this.#over = true;
    clearInterval(this.#ticker);
    clearTimeout(this.#stall);
    const handler = this.#handler;
    this.#handler = undefined;
    handler?.cancel();
    this.#options.call.over();
    this.#options.onOver();
  }
}
