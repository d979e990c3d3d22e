/** A call of one request and one response. Owns the request until it is whole; see call.ts for the rest. */
import { GrpcStatus, RosterError } from '../../core/errors.ts';
import { assert } from '../../core/util/assert.ts';
import { encode } from '../../core/wire/binary.ts';
import type { Http2Stream } from '../http2/stream.ts';
import { isPieced, type PiecedReply } from '../rpc/pieced-reply.ts';
import type { UnaryMethod } from '../rpc/service.ts';
import { Call, type CallEnvironment, prefixed } from './call.ts';
import { none, tooMany } from './cardinality.ts';
import { decodeRequest } from './decode.ts';
import { PREFIX_BYTES } from './message-reader.ts';
import { OK_TRAILERS, RESPONSE_HEADERS } from './status.ts';

/** What grpc-go sends at most in one message. */
const MESSAGE_BYTES_MAX = 2 ** 31 - 1;

export class UnaryCall extends Call {
  readonly #method: UnaryMethod;
  /** The request's bytes, once there. */
  #bytes: Uint8Array | undefined;
  #start = 0;
  #end = 0;
  #done = false;
  #pieces: PiecedReply | undefined;
  readonly takesPieces = true;

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

  drain(): void {
    if (!this.over) this.#pieces?.drained();
  }

  protected override release(): void {
    this.#pieces?.cancel();
  }

  #answer(result: object): void {
    assert(!this.#done, `${this.#method.path}: answered twice`);
    this.#done = true;
    if (this.over) {
      if (isPieced(result)) result.cancel();
      return;
    }
    if (result instanceof RosterError) {
      this.finish(result.status, result.message);
      return;
    }
    if (isPieced(result)) {
      this.#sendPieces(result);
      return;
    }
    this.over = true;
    this.stream.respond(RESPONSE_HEADERS, prefixed(encode(this.#method.response, result, PREFIX_BYTES)), OK_TRAILERS);
  }

  #sendPieces(reply: PiecedReply): void {
    if (reply.bytes > MESSAGE_BYTES_MAX) {
      reply.cancel();
      this.finish(
        GrpcStatus.RESOURCE_EXHAUSTED,
        `trying to send message larger than max (${reply.bytes} vs. ${MESSAGE_BYTES_MAX})`,
      );
      return;
    }
    this.#pieces = reply;
    const { stream } = this;
    const prefix = new Uint8Array(PREFIX_BYTES);
    new DataView(prefix.buffer).setUint32(1, reply.bytes);
    stream.sendHeaders(RESPONSE_HEADERS);
    stream.sendData(prefix);
    reply.begin({
      write: (piece) => this.over || stream.sendLent(piece),
      end: () => {
        if (!this.over) this.finish(GrpcStatus.OK, '');
      },
      fail: (error) => {
        if (!this.over) this.finish(error.status, error.message);
      },
    });
  }
}
