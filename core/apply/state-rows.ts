/**
 * A state as rows in a fixed order, the way members hand it to each other: buckets in the order of BUCKETS, keys
 * ascending. Owns the form of a piece and of the places between two; knows nothing of what the rows mean.
 */
import { GrpcStatus, otherError, RosterError } from '../errors.ts';
import { BACKEND_KEY_BYTES_MAX, BUCKETS, type Bucket } from '../mvcc/backend.ts';
import type { ByteString } from '../util/bytes.ts';
import { decode, encode } from '../wire/binary.ts';
import { bytes, counter, type Decoded, key, message, repeated, sub } from '../wire/schema.ts';
import { SNAPSHOT_MARK } from './snapshot-mark.ts';

export const StateRow = message('roster.StateRow', {
  /** Number in BUCKETS. */
  bucket: counter(1),
  key: key(2),
  value: bytes(3),
});
export type StateRow = Decoded<typeof StateRow>;

const StateRows = message('roster.StateRows', { rows: repeated(sub(1, () => StateRow)) });

/** What a row takes in a piece beyond its key and its value. */
export const ROW_OVERHEAD_BYTES = 10;

/** Whether the row belongs to this member alone and not to the state. */
export function isOwnRow(bucket: Bucket, rowKey: ByteString): boolean {
  return bucket === 'meta' && rowKey === SNAPSHOT_MARK;
}

export function encodeRows(rows: StateRow[]): Uint8Array {
  return encode(StateRows, { rows });
}

/** The rows of a piece, in order. DATA_LOSS when it is none. Values are views into `piece`. */
export function decodeRows(piece: Uint8Array): StateRow[] | RosterError {
  let rows: StateRow[];
  try {
    rows = decode(StateRows, piece).rows;
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    return otherError(GrpcStatus.DATA_LOSS, `a piece of a snapshot cannot be read: ${error.message}`, { cause: error });
  }
  for (const row of rows) {
    const bucket = BUCKETS[row.bucket];
    if (bucket === undefined) return otherError(GrpcStatus.DATA_LOSS, 'a snapshot holds rows of an unknown kind');
    if (row.key === '' || row.key.length > BACKEND_KEY_BYTES_MAX || isOwnRow(bucket, row.key)) {
      return otherError(GrpcStatus.DATA_LOSS, 'a snapshot holds a row with a key that no row has');
    }
  }
  return rows;
}

/** A place in the order of rows: that of row `rowKey`, whether or not there is one. '' is the beginning. */
export function placeOf(bucket: number, rowKey: ByteString): ByteString {
  return String.fromCharCode(bucket) + rowKey;
}

/** The bucket's number and the key of a place. It may come from anyone: a key longer than any row's is cut. */
export function parsePlace(place: ByteString): { bucket: number; rowKey: ByteString } {
  if (place === '') return { bucket: 0, rowKey: '' };
  return { bucket: place.charCodeAt(0), rowKey: place.slice(1, 2 + BACKEND_KEY_BYTES_MAX) };
}
