/**
 * The answer to a large Range, read and encoded while it is sent: a first walk over the index says how long it will be,
 * a second one reads the pairs as fast as the client takes them. Memory holds one piece of it. All of it is of one
 * revision; a client that is slow holds up compaction for some seconds and no longer.
 */
import type { RangeReader } from '../../core/apply/range-reader.ts';
import { RosterError } from '../../core/errors.ts';
import { assert } from '../../core/util/assert.ts';
import { encode } from '../../core/wire/binary.ts';
import { type RangeRequest, RangeResponse, type ResponseHeader } from '../../core/wire/messages.ts';
import type { PiecedReply, PieceSink } from './pieced-reply.ts';

/** What is read and sent in one turn of the event loop: whoever asks for one key waits for no more than that. */
const PIECE = { pairs: 500, bytes: 64 * 1024 };
/** While a client takes nothing, compaction waits so long. */
const HOLD_MS_MAX = 5000;

/**
 * Calls `done` with the reply, or with why there is none: `header`, then the pairs, then what else there is to say, in
 * the order of the fields. `gone`: nobody waits for it any more.
 */
export function measureRange(
  reader: RangeReader,
  header: ResponseHeader,
  gone: () => boolean,
  done: (result: PiecedReply | RosterError) => void,
): void {
  let bytes = 0;
  const step = (): void => {
    const measured = reader.measure((pairBytes) => {
      bytes += fieldBytes(pairBytes);
    });
    if (measured instanceof RosterError) {
      reader.close();
      done(measured);
    } else if (measured || gone()) {
      const { leavesOut: more, count } = reader;
      const first = encode(RangeResponse, { header });
      done(new PiecedRange(reader, first, bytes, encode(RangeResponse, { more, count })));
    } else setImmediate(step);
  };
  step();
}

/** Whether the pairs of `request` can be sent as they are stored. */
export function isStored({ keys_only, count_only }: RangeRequest): boolean {
  return !keys_only && !count_only;
}

class PiecedRange implements PiecedReply {
  readonly pieced = true;
  readonly bytes: number;
  readonly #reader: RangeReader;
  /** Bytes before the last piece. */
  #left: number;
  #first: Uint8Array | undefined;
  readonly #last: Uint8Array;
  #sink: PieceSink | undefined;
  #letGo: NodeJS.Timeout | undefined;
  #waiting = false;
  #over = false;

  constructor(reader: RangeReader, first: Uint8Array, pairsBytes: number, last: Uint8Array) {
    this.#reader = reader;
    this.#first = first;
    this.#last = last;
    this.bytes = first.length + pairsBytes + last.length;
    this.#left = this.bytes - last.length;
  }

  begin(sink: PieceSink): void {
    this.#sink = sink;
    this.#step();
  }

  drained(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    clearTimeout(this.#letGo);
    const compacted = this.#reader.goOn();
    if (compacted === undefined) this.#later();
    else this.#fail(compacted);
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#letGo);
    this.#reader.close();
  }

  #step(): void {
    const sink = this.#sink!;
    let goesOn = true;
    if (this.#first !== undefined) {
      this.#left -= this.#first.length;
      goesOn = sink.write(this.#first);
      this.#first = undefined;
    } else {
      const kvs = this.#reader.step(PIECE);
      if (kvs instanceof RosterError) {
        this.#fail(kvs);
        return;
      }
      const piece = encode(RangeResponse, { kvs });
      this.#left -= piece.length;
      goesOn = sink.write(piece);
    }
    assert(this.#left >= 0, 'range: more was read than had been measured');
    if (this.#over) return;
    if (this.#left === 0) {
      this.cancel();
      sink.write(this.#last);
      sink.end();
    } else if (goesOn) this.#later();
    else {
      this.#waiting = true;
      this.#letGo = setTimeout(() => this.#reader.letGo(), HOLD_MS_MAX);
    }
  }

  /** When requests that wait have had their turn. */
  #later(): void {
    setImmediate(() => {
      if (!this.#over) this.#step();
    });
  }

  #fail(error: RosterError): void {
    this.cancel();
    this.#sink!.fail(error);
  }
}

/** Of one pair among the fields of the response: tag, length, pair. */
function fieldBytes(pairBytes: number): number {
  let lengthBytes = 1;
  for (let rest = pairBytes; rest >= 0x80; rest >>>= 7) lengthBytes++;
  return 1 + lengthBytes + pairBytes;
}
