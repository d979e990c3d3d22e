/**
 * The answer to a large Range, read and encoded while it is sent: a first walk over the index says how long it will be,
 * a second one reads the pairs as fast as the client takes them. Memory holds one piece of it. All of it is of one
 * revision.
 */
import type { RangeReader } from '../../core/apply/range-reader.ts';
import { RosterError } from '../../core/errors.ts';
import { assert } from '../../core/util/assert.ts';
import { encode } from '../../core/wire/binary.ts';
import { type RangeRequest, RangeResponse } from '../../core/wire/messages.ts';
import { header, type RpcContext } from './context.ts';
import { EncodedPairs, fieldBytes } from './encoded-pairs.ts';
import { GiveWay } from './give-way.ts';
import { PacedReading, PIECE } from './paced-reading.ts';
import type { PiecedReply, PieceSink } from './pieced-reply.ts';

/**
 * Calls `done` with the reply, or with why there is none: the header, then the pairs, then what else there is to say, in
 * the order of the fields. `gone`: nobody waits for it any more.
 */
export function measureRange(
  context: RpcContext,
  reader: RangeReader,
  gone: () => boolean,
  done: (result: PiecedReply | RosterError) => void,
): void {
  const giveWay = new GiveWay(context);
  let bytes = 0;
  const step = (): void => {
    const measured = reader.measure((pairBytes) => {
      bytes += fieldBytes(pairBytes);
    });
    if (measured instanceof RosterError) {
      reader.held.letGo();
      done(measured);
    } else if (measured || gone()) {
      const { leavesOut: more, count } = reader;
      const first = encode(RangeResponse, { header: header(context, reader.held.storeRevision) });
      done(new PiecedRange(context, reader, first, bytes, encode(RangeResponse, { more, count })));
    } else giveWay.before(step);
  };
  step();
}

/** Whether the pairs of `request` can be sent as they are stored. */
export function isStored({ keys_only, count_only }: RangeRequest): boolean {
  return !keys_only && !count_only;
}

const pairs = new EncodedPairs();
const take = (pair: Uint8Array): void => pairs.add(pair);

class PiecedRange implements PiecedReply {
  readonly pieced = true;
  readonly bytes: number;
  readonly #reader: RangeReader;
  /** Bytes before the last piece. */
  #left: number;
  #first: Uint8Array | undefined;
  readonly #last: Uint8Array;
  readonly #pace: PacedReading;
  #sink: PieceSink | undefined;

  constructor(context: RpcContext, reader: RangeReader, first: Uint8Array, pairsBytes: number, last: Uint8Array) {
    this.#reader = reader;
    this.#first = first;
    this.#last = last;
    this.bytes = first.length + pairsBytes + last.length;
    this.#left = this.bytes - last.length;
    this.#pace = new PacedReading(
      context,
      reader.held,
      () => this.#piece(this.#sink!),
      (error) => this.#fail(error),
    );
  }

  begin(sink: PieceSink): void {
    this.#sink = sink;
    this.#pace.step();
  }

  drained(): void {
    this.#pace.drained();
  }

  cancel(): void {
    this.#pace.stop();
  }

  #piece(sink: PieceSink): boolean {
    let piece = this.#first;
    this.#first = undefined;
    if (piece === undefined) {
      const refused = this.#reader.stepEncoded(PIECE, take);
      piece = pairs.take();
      if (refused !== undefined) {
        this.#fail(refused);
        return false;
      }
    }
    this.#left -= piece.length;
    assert(this.#left >= 0, 'range: more was read than had been measured');
    const goesOn = sink.write(piece);
    if (this.#left > 0 || this.#pace.over) return goesOn;
    this.#pace.stop();
    sink.write(this.#last);
    sink.end();
    return false;
  }

  #fail(error: RosterError): void {
    this.#pace.stop();
    this.#sink!.fail(error);
  }
}
