/**
 * A call of one request that is answered in pieces, each sent when the client has taken the one before, all read at one
 * revision: asks for leave, opens what is to be read, and keeps the pace. What a piece is, is the method's.
 */
import { RosterError } from '../../core/errors.ts';
import type { HeldStore } from '../../core/mvcc/held-store.ts';
import { permitted, type RpcContext } from './context.ts';
import { PacedReading } from './paced-reading.ts';
import type { CallContext, Responder, StreamHandler } from './service.ts';

/** What is sent, a piece at a time. */
export interface Pieces<Res extends object> {
  readonly held: HeldStore;
  /** The next piece, if there is something to send already. It may be lent, until the next call. */
  next(): Res | undefined | RosterError;
  /** Whether what `next` has given is the last. */
  readonly done: boolean;
}

export interface PacedRequest {
  /** Whether the state of this member will do. */
  readonly serializable: boolean;
}

export interface Paced<Req, Res extends object> {
  /** Why there can be no answer, whoever asks. */
  refusal?(request: Req): RosterError | undefined;
  /** What is sent to one who may have it. */
  open(request: Req): Pieces<Res> | RosterError;
}

export class PacedCall<Req extends PacedRequest, Res extends object> implements StreamHandler<Req> {
  readonly #context: RpcContext;
  readonly #call: CallContext;
  readonly #responder: Responder<Res>;
  readonly #paced: Paced<Req, Res>;
  #asked = false;
  #pace: PacedReading | undefined;
  #over = false;

  constructor(context: RpcContext, call: CallContext, responder: Responder<Res>, paced: Paced<Req, Res>) {
    this.#context = context;
    this.#call = call;
    this.#responder = responder;
    this.#paced = paced;
    responder.onDrain = () => this.#pace?.drained();
  }

  message(request: Req): void {
    if (this.#asked) return;
    this.#asked = true;
    const refused = this.#paced.refusal?.(request);
    if (refused !== undefined) this.#end(refused);
    else if (request.serializable) this.#askLeave(request);
    else {
      this.#context.node.linearizableRead((error) => {
        if (error === undefined) this.#askLeave(request);
        else this.#end(error);
      });
    }
  }

  halfClose(): void {}

  cancel(): void {
    this.#over = true;
    this.#pace?.stop();
  }

  #askLeave(request: Req): void {
    permitted(this.#context, this.#call, request, (refusal) => {
      if (this.#over) return;
      if (refusal === undefined) this.#begin(request);
      else this.#end(refusal);
    });
  }

  #begin(request: Req): void {
    const pieces = this.#paced.open(request);
    if (pieces instanceof RosterError) {
      this.#end(pieces);
      return;
    }
    this.#pace = new PacedReading(
      this.#context,
      pieces.held,
      () => this.#send(pieces),
      (error) => this.#end(error),
    );
    this.#pace.step();
  }

  /** Whether the client takes more. */
  #send(pieces: Pieces<Res>): boolean {
    const piece = pieces.next();
    if (piece instanceof RosterError) this.#end(piece);
    else if (!pieces.done) return piece === undefined || this.#responder.send(piece);
    else {
      if (piece !== undefined) this.#responder.send(piece);
      this.#end();
    }
    return false;
  }

  #end(error?: RosterError): void {
    if (this.#over) return;
    this.cancel();
    this.#responder.end(error);
  }
}
