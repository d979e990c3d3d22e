/**
 * etcdserverpb.KV/RangeStream: a range in pieces, each sent when the client has taken the one before, all of one revision.
 * Header, `more` and `count` come with the last piece; all pieces together are the answer of Range.
 */
import { asWanted, filters, isPlain } from '../../core/apply/range.ts';
import type { RangeReader, StepLimits } from '../../core/apply/range-reader.ts';
import { checkRange } from '../../core/apply/validate.ts';
import { GrpcStatus, otherError, RosterError } from '../../core/errors.ts';
import type { HeldStore } from '../../core/mvcc/held-store.ts';
import { encode } from '../../core/wire/binary.ts';
import { withEncoded } from '../../core/wire/encoded.ts';
import * as m from '../../core/wire/messages.ts';
import { header, type RpcContext } from './context.ts';
import { EncodedPairs } from './encoded-pairs.ts';
import { PacedCall, type Pieces } from './paced-call.ts';
import { PIECE } from './paced-reading.ts';
import { isStored } from './pieced-range.ts';
import type { StreamMethod } from './service.ts';

/** Pairs of the first piece (etcd's); each further one may have twice as many. */
const FIRST_PAIRS = 10;

const pairs = new EncodedPairs();

export function rangeStreamMethod(context: RpcContext): StreamMethod<m.RangeRequest, m.RangeStreamResponse> {
  return {
    kind: 'stream',
    single: true,
    path: '/etcdserverpb.KV/RangeStream',
    request: m.RangeRequest,
    response: m.RangeStreamResponse,
    open: (call, responder) =>
      new PacedCall<m.RangeRequest, m.RangeStreamResponse>(context, call, responder, {
        refusal,
        open: (request) => {
          const reader = context.machine.rangeReader(request);
          if (reader instanceof RosterError) return reader;
          if (call.takesPieces !== true || !isStored(request)) return new RangePieces(context, request, reader);
          // What stands for the responses is for the door alone: no other part looks into it.
          return new EncodedRangePieces(context, reader) as Pieces<object> as Pieces<m.RangeStreamResponse>;
        },
      }),
  };
}

/** Etcd's refusals of what cannot be sent before all is seen. */
function refusal(request: m.RangeRequest): RosterError | undefined {
  const wrong = checkRange(request);
  if (wrong !== undefined || isPlain(request)) return wrong;
  const what = filters(request) ? 'revision filters' : 'custom sort orders';
  return otherError(GrpcStatus.UNIMPLEMENTED, `RangeStream does not support ${what}`);
}

class RangePieces implements Pieces<m.RangeStreamResponse> {
  readonly #context: RpcContext;
  readonly #request: m.RangeRequest;
  readonly #reader: RangeReader;
  readonly #limits = new GrowingLimits();

  constructor(context: RpcContext, request: m.RangeRequest, reader: RangeReader) {
    this.#context = context;
    this.#request = request;
    this.#reader = reader;
  }

  get held(): HeldStore {
    return this.#reader.held;
  }

  get done(): boolean {
    return this.#reader.done;
  }

  next(): m.RangeStreamResponse | undefined | RosterError {
    const reader = this.#reader;
    const read = reader.step(this.#limits);
    if (read instanceof RosterError) return read;
    if (read.length > 0) this.#limits.grow();
    const kvs = this.#request.keys_only ? read.map((kv) => asWanted(kv, this.#request)) : read;
    if (!reader.done) return kvs.length === 0 ? undefined : { range_response: { kvs, more: false, count: 0 } };
    const { count, more } = reader;
    return { range_response: { header: header(this.#context, reader.held.storeRevision), kvs, more, count } };
  }
}

/** The same, of pairs as they are stored, for a door that makes bytes of them. */
class EncodedRangePieces implements Pieces<{ range_response: object }> {
  readonly #context: RpcContext;
  readonly #reader: RangeReader;
  readonly #limits = new GrowingLimits();

  constructor(context: RpcContext, reader: RangeReader) {
    this.#context = context;
    this.#reader = reader;
  }

  get held(): HeldStore {
    return this.#reader.held;
  }

  get done(): boolean {
    return this.#reader.done;
  }

  next(): { range_response: object } | undefined | RosterError {
    const reader = this.#reader;
    const refused = reader.stepEncoded(this.#limits, (pair) => pairs.add(pair));
    const piece = pairs.take();
    if (refused !== undefined) return refused;
    if (piece.length > 0) this.#limits.grow();
    if (!reader.done) return piece.length === 0 ? undefined : { range_response: withEncoded({}, piece) };
    const { count, more } = reader;
    const first = encode(m.RangeResponse, { header: header(this.#context, reader.held.storeRevision) });
    const last = encode(m.RangeResponse, { more, count });
    return { range_response: withEncoded({}, Buffer.concat([first, piece, last])) };
  }
}

class GrowingLimits implements StepLimits {
  pairs = FIRST_PAIRS;
  readonly bytes = PIECE.bytes;

  /** After a piece that had pairs. */
  grow(): void {
    this.pairs = Math.min(2 * this.pairs, PIECE.pairs);
  }
}
