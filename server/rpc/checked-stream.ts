/** A stream each of whose messages must be permitted before its method sees it. Keeps their order while a check waits. */
import { GrpcStatus, otherError, type RosterError } from '../../core/errors.ts';
import { Between } from './between.ts';
import type { CheckDone, Responder } from './service.ts';

/** Messages that may wait for the check of the one before them. */
export const CHECKS_WAITING_MAX = 1000;

const HALF_CLOSE = Symbol('the client has finished sending');

export class CheckedStream extends Between {
  readonly #check: (request: object, done: CheckDone) => void;
  #waiting: (object | typeof HALF_CLOSE)[] = [];
  #busy = false;

  constructor(responder: Responder<object>, check: (request: object, done: CheckDone) => void) {
    super(responder);
    this.#check = check;
  }

  override message(request: object): void {
    if (this.#waiting.length >= CHECKS_WAITING_MAX) this.refuse(tooMany());
    else this.#take(request);
  }

  override halfClose(): void {
    this.#take(HALF_CLOSE);
  }

  protected override finished(): void {
    this.#waiting = [];
  }

  #take(next: object | typeof HALF_CLOSE): void {
    this.#waiting.push(next);
    while (!this.#busy && !this.over && this.#waiting.length > 0) this.#step(this.#waiting.shift()!);
  }

  #step(next: object | typeof HALF_CLOSE): void {
    if (typeof next === 'symbol') {
      super.halfClose();
      return;
    }
    this.#busy = true;
    let waited = false;
    this.#check(next, (refusal) => {
      this.#busy = false;
      if (refusal === undefined) super.message(next);
      else this.refuse(refusal);
      if (waited) this.#goOn();
    });
    waited = true;
  }

  #goOn(): void {
    while (!this.#busy && !this.over && this.#waiting.length > 0) this.#step(this.#waiting.shift()!);
  }
}

function tooMany(): RosterError {
  return otherError(GrpcStatus.RESOURCE_EXHAUSTED, 'etcdserver: too many requests wait on one stream');
}
