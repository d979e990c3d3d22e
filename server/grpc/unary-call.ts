/** A call of one request and one response. Owns the request until it is whole; see call.ts for the rest. */
import { RosterError } from '../../core/errors.ts';
import { assert } from '../../core/util/assert.ts';
import { encode } from '../../core/wire/binary.ts';
import type { Http2Stream } from '../http2/stream.ts';
import type { UnaryMethod } from '../rpc/service.ts';
import { Call, type CallEnvironment, prefixed } from './call.ts';
import { none, tooMany } from './cardinality.ts';
import { decodeRequest } from './decode.ts';
import { PREFIX_BYTES } from './message-reader.ts';
import { OK_TRAILERS, RESPONSE_HEADERS } from './status.ts';

export class UnaryCall extends Call {
  readonly #method: UnaryMethod;
  /** The request's bytes, once there. */
  #bytes: Uint8Array | undefined;
  #start = 0;
  #end = 0;
  #done = false;

  constructor(environment: CallEnvironment, stream: Http2Stream, method: UnaryMethod) {
    super(environment, stream);
    this.#method = method;
  }

  message(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#bytes !== undefined) {
      throw tooMany();
    }
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    return true;
  }

  protected override halfClosed(): void {
    const bytes = this.#bytes;
    if (bytes === undefined) {
      const { status, message } = none();
      this.fail(status, message);
      return;
    }
    try {
      const request = decodeRequest(this.#method.request, bytes, this.#start, this.#end);
      this.#method.handle(this, request, (result) => this.#answer(result));
    } catch (error) {
      if (error instanceof RosterError) this.fail(error.status, error.message);
      else this.bug(error);
    }
  }

  drain(): void {}

  protected override release(): void {}

  #answer(result: object): void {
    assert(!this.#done, `${this.#method.path}: answered twice`);
    this.#done = true;
    if (this.over) return;
    if (result instanceof RosterError) {
      this.finish(result.status, result.message);
      return;
    }
    this.over = true;
    this.stream.respond(RESPONSE_HEADERS, prefixed(encode(this.#method.response, result, PREFIX_BYTES)), OK_TRAILERS);
  }
}
