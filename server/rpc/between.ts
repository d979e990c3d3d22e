/** Stands between a stream's transport and its method, so that either side, or whoever is between, can end the call once. */
import type { RosterError } from '../../core/errors.ts';
import type { Responder, StreamHandler } from './service.ts';

export class Between implements Responder<object>, StreamHandler<object> {
  readonly #responder: Responder<object>;
  #handler: StreamHandler<object> | undefined;
  #over = false;

  constructor(responder: Responder<object>) {
    this.#responder = responder;
  }

  /** `handler` is the method's; it may have ended the call already. */
  begin(handler: StreamHandler<object>): this {
    this.#handler = handler;
    return this;
  }

  protected get over(): boolean {
    return this.#over;
  }

  /** Ends the call for both sides. */
  protected refuse(error: RosterError): void {
    if (this.#over) return;
    this.cancel();
    this.#responder.end(error);
  }

  /** The call is over, for whatever reason. */
  protected finished(): void {}

  // ---- for the method

  get onDrain(): (() => void) | undefined {
    return this.#responder.onDrain;
  }

  set onDrain(run: (() => void) | undefined) {
    this.#responder.onDrain = run;
  }

  get takesCopies(): boolean {
    return this.#responder.takesCopies === true;
  }

  send(response: object): boolean {
    return this.#responder.send(response);
  }

  end(error?: RosterError): void {
    this.#finish();
    this.#responder.end(error);
  }

  // ---- for the transport

  message(request: object): void {
    if (!this.#over) this.#handler?.message(request);
  }

  halfClose(): void {
    if (!this.#over) this.#handler?.halfClose();
  }

  cancel(): void {
    if (this.#over) return;
    this.#finish();
    this.#handler?.cancel();
  }

  #finish(): void {
    this.#over = true;
    this.finished();
  }
}
