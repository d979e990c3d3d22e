/** The conditions of a transaction, decided on the state before it. Reads only. */
import type { KvReader } from '../mvcc/kv-store.ts';
import { compareBytes, EMPTY_BYTES } from '../util/bytes.ts';
import { type Compare, CompareResult, CompareTarget, type KeyValue } from '../wire/messages.ts';

const { VERSION, CREATE, MOD, VALUE, LEASE } = CompareTarget.values;
const { EQUAL, GREATER, LESS, NOT_EQUAL } = CompareResult.values;

/** Whether all of `compares` hold; an empty list does. */
export function allHold(reader: KvReader, compares: readonly Compare[]): boolean {
  for (const compare of compares) if (!holds(reader, compare)) return false;
  return true;
}

/** What compares see of a pair; all zero for a key that does not exist. */
type Compared = Pick<KeyValue, 'version' | 'create_revision' | 'mod_revision' | 'value' | 'lease'>;

const MISSING: Compared = { version: 0, create_revision: 0, mod_revision: 0, value: EMPTY_BYTES, lease: 0n };

function holds(reader: KvReader, compare: Compare): boolean {
  const { target } = compare;
  if (compare.range_end === '' && (target === VERSION || target === CREATE || target === MOD)) {
    // The index alone knows the answer, and this is what nearly every transaction asks.
    const meta = reader.meta(compare.key);
    const number = meta === undefined ? 0 : numberOf(meta, target);
    return accepts(compare.result, number - wantedNumber(compare));
  }
  const result = reader.range(compare.key, compare.range_end);
  if (typeof result === 'string') return false;
  // A value that is not there cannot be told from an empty one, so comparing it always fails.
  if (result.kvs.length === 0) return target !== VALUE && accepts(compare.result, order(compare, MISSING));
  for (const kv of result.kvs) if (!accepts(compare.result, order(compare, kv))) return false;
  return true;
}

function numberOf(kv: Omit<Compared, 'value' | 'lease'>, target: number): number {
  if (target === VERSION) return kv.version;
  return target === CREATE ? kv.create_revision : kv.mod_revision;
}

/** The right-hand side; one given for another target does not count. */
function wantedNumber(compare: Compare): number {
  if (compare.target === VERSION) return compare.version ?? 0;
  return (compare.target === CREATE ? compare.create_revision : compare.mod_revision) ?? 0;
}

/** Negative, 0 or positive, as the pair is below, at or above what the compare names. An unknown target is equal. */
function order(compare: Compare, kv: Compared): number {
  switch (compare.target) {
    case VALUE:
      return compareBytes(kv.value, compare.value ?? EMPTY_BYTES);
    case LEASE: {
      const lease = compare.lease ?? 0n;
      if (kv.lease === lease) return 0;
      return kv.lease < lease ? -1 : 1;
    }
    case VERSION:
    case CREATE:
    case MOD:
      return numberOf(kv, compare.target) - wantedNumber(compare);
    default:
      return 0;
  }
}

/** An unknown relation holds, as in etcd. */
function accepts(result: number, order: number): boolean {
  switch (result) {
    case EQUAL:
      return order === 0;
    case NOT_EQUAL:
      return order !== 0;
    case GREATER:
      return order > 0;
    case LESS:
      return order < 0;
    default:
      return true;
  }
}
