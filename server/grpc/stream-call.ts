/** A call with a stream of messages in either direction. Owns the method's handler; call.ts has the rest. */
import type { RosterError } from '../../core/errors.ts';
import { GrpcStatus } from '../../core/errors.ts';
import { allocateBytes } from '../../core/util/bytes.ts';
import { encodeLent } from '../../core/wire/binary.ts';
import type { CloseReason, Http2Stream } from '../http2/stream.ts';
import { Copies } from '../rpc/copies.ts';
import type { Responder, StreamHandler, StreamMethod } from '../rpc/service.ts';
import { Call, type CallEnvironment, prefixed } from './call.ts';
import { none, tooMany } from './cardinality.ts';
import { stencilOf } from './copies.ts';
import { decodeRequest } from './decode.ts';
import { PREFIX_BYTES } from './message-reader.ts';
import { RESPONSE_HEADERS } from './status.ts';

/** What the method sees of the way out. */
class CallResponder implements Responder<object> {
  readonly #call: StreamCall;
  readonly takesCopies = true;
  onDrain: (() => void) | undefined;

  constructor(call: StreamCall) {
    this.#call = call;
  }

  send(response: object): boolean {
    return this.#call.send(response);
  }

  end(error?: RosterError): void {
    this.#call.endWith(error);
  }
}

export class StreamCall extends Call {
  readonly takesPieces = true;
  readonly #method: StreamMethod;
  readonly #open: Set<StreamCall>;
  readonly #responder: CallResponder;
  #handler: StreamHandler<object> | undefined;
  #messages = 0;

  /** `open` holds the calls that are under way. */
  constructor(environment: CallEnvironment, stream: Http2Stream, method: StreamMethod, open: Set<StreamCall>) {
    super(environment, stream);
    this.#method = method;
    this.#open = open;
    this.#responder = new CallResponder(this);
  }

  /** Hands the call to the method. Not part of the constructor, because the method may answer at once. */
  start(): void {
    this.#open.add(this);
    try {
      const handler = this.#method.open(this, this.#responder);
      if (this.cancelled) handler.cancel();
      else if (!this.over) this.#handler = handler;
    } catch (error) {
      this.bug(error);
    }
  }

  message(bytes: Uint8Array, start: number, end: number): boolean {
    if (++this.#messages > 1 && this.#method.single) throw tooMany();
    this.#handler?.message(decodeRequest(this.#method.request, bytes, start, end));
    return !this.over;
  }

  protected override halfClosed(): void {
    if (this.#messages === 0 && this.#method.single) {
      const { status, message } = none();
      this.fail(status, message);
      return;
    }
    try {
      this.#handler?.halfClose();
    } catch (error) {
      this.bug(error);
    }
  }

  override close(reason: CloseReason): void {
    this.#open.delete(this);
    super.close(reason);
  }

  drain(): void {
    if (!this.over) this.#responder.onDrain?.();
  }

  protected override release(): void {
    const handler = this.#handler;
    this.#handler = undefined;
    handler?.cancel();
  }

  // ---- for the responder

  send(response: object): boolean {
    if (this.over) return true;
    if (!this.stream.headersSent) this.stream.sendHeaders(RESPONSE_HEADERS);
    if (response instanceof Copies) return this.#sendCopies(response);
    return this.stream.sendLent(prefixed(encodeLent(this.#method.response, response, PREFIX_BYTES)));
  }

  #sendCopies(copies: Copies): boolean {
    const stencil = stencilOf(this.#method.response, copies);
    const bytes = stencil.bytesFor(copies.values);
    const room = this.stream.room(bytes);
    const into = room ?? allocateBytes(bytes);
    stencil.write(copies.values, into);
    return room !== undefined || this.stream.sendData(into);
  }

  endWith(error: RosterError | undefined): void {
    if (this.over) return;
    if (error === undefined) this.finish(GrpcStatus.OK, '');
    else this.finish(error.status, error.message);
  }
}
