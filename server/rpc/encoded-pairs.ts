/**
 * Pairs as they are stored, one after the other, as the field `kvs` of a RangeResponse: so a long answer is made without
 * a look into its pairs. Owns memory for one piece of an answer, which is used again.
 */
import { assert } from '../../core/util/assert.ts';

/** Field 2 of etcdserverpb.RangeResponse, a message. */
const KVS_TAG = 0x12;
const LENGTH_BYTES_MAX = 5;
/** Memory that had to grow beyond this is let go after the piece. */
const KEPT_BYTES_MAX = 1024 * 1024;
const BYTES_MIN = 128 * 1024;

export class EncodedPairs {
  #bytes = new Uint8Array(BYTES_MIN);
  #length = 0;

  /** Copies `pair`, an encoded mvccpb.KeyValue. */
  add(pair: Uint8Array): void {
    const most = this.#length + 1 + LENGTH_BYTES_MAX + pair.length;
    if (most > this.#bytes.length) this.#grow(most);
    const bytes = this.#bytes;
    let at = this.#length;
    bytes[at++] = KVS_TAG;
    let rest = pair.length;
    for (; rest >= 0x80; rest >>>= 7) bytes[at++] = (rest & 0x7f) | 0x80;
    bytes[at++] = rest;
    bytes.set(pair, at);
    this.#length = at + pair.length;
  }

  /** What was added since the last call: lent until the next pair is added. */
  take(): Uint8Array {
    const piece = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    if (this.#bytes.length > KEPT_BYTES_MAX) this.#bytes = new Uint8Array(BYTES_MIN);
    return piece;
  }

  #grow(bytesMin: number): void {
    let bytes = this.#bytes.length;
    while (bytes < bytesMin) bytes *= 2;
    const larger = new Uint8Array(bytes);
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}

/** Bytes that {@link EncodedPairs.add} makes of a pair of so many. */
export function fieldBytes(pairBytes: number): number {
  assert(pairBytes < 2 ** 31, 'a pair fits into a message');
  let lengthBytes = 1;
  for (let rest = pairBytes; rest >= 0x80; rest >>>= 7) lengthBytes++;
  return 1 + lengthBytes + pairBytes;
}
