/** How a lease lies in the backend: bucket `lease`, 8-byte big-endian id -> StoredLease. Owns the form only. */
import type { ByteString } from '../util/bytes.ts';
import { decode, encode } from '../wire/binary.ts';
import { StoredLease } from '../wire/stored.ts';

/** The id in two's complement, big-endian, so that it survives every sign. */
export function leaseKey(id: bigint): ByteString {
  let key = '';
  for (let shift = 56n; shift >= 0n; shift -= 8n) key += String.fromCharCode(Number((id >> shift) & 0xffn));
  return key;
}

export function leaseValue(lease: StoredLease): Uint8Array {
  return encode(StoredLease, lease);
}

export function readLease(value: Uint8Array): StoredLease {
  return decode(StoredLease, value);
}
