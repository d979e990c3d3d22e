/**
 * Whether a list of operations changes a key twice: puts it twice, or puts it and deletes it. The rule is etcd's to the
 * letter, with its two blind spots, which clients use: a delete without an end ("from key") is not looked at, and puts
 * in a nested transaction are not held against deletes in a later one beside it.
 */
import type { ByteString } from '../util/bytes.ts';
import type { RequestOp } from '../wire/messages.ts';

/** The changes of one list of operations. */
interface Level {
  puts: ByteString[];
  /** Half-open, none of them open-ended. */
  deletes: { from: ByteString; to: ByteString }[];
  /** The branches of each nested transaction: only one of the two will happen. */
  nested: [Level, Level][];
  /** Changes in here, nested ones included. */
  weight: number;
}

/** True when some key would be changed twice. `ops` are valid one by one and not nested too deeply. */
export function changesOverlap(ops: readonly RequestOp[]): boolean {
  const keys: ByteString[] = [];
  const level = readLevel(ops, keys);
  if (keys.length === 0) return false;
  if (level.weight === keys.length && level.nested.length === 0) return new Set(keys).size < keys.length;
  return new OverlapCheck(keys).walk(level);
}

function readLevel(ops: readonly RequestOp[], keys: ByteString[]): Level {
  const level: Level = { puts: [], deletes: [], nested: [], weight: 0 };
  for (const { request_put: put, request_delete_range: remove, request_txn: txn } of ops) {
    if (put !== undefined) {
      level.puts.push(put.key);
      keys.push(put.key);
    } else if (remove !== undefined) {
      const { key, range_end: end } = remove;
      if (end === '') level.deletes.push({ from: key, to: `${key}\0` });
      else if (key < end) level.deletes.push({ from: key, to: end });
    } else if (txn !== undefined) {
      const branches: [Level, Level] = [readLevel(txn.success, keys), readLevel(txn.failure, keys)];
      level.nested.push(branches);
      level.weight += branches[0].weight + branches[1].weight;
    }
  }
  level.weight += level.puts.length + level.deletes.length;
  return level;
}

/** A change that has been taken note of, as places in the sorted list of all keys that are put anywhere. */
interface Change {
  put: boolean;
  first: number;
  /** Exclusive. */
  end: number;
}

/**
 * Walks the tree so that each put meets exactly the changes it must not coincide with: deletes of its own level and
 * of nested levels first, its own level's puts last. While one branch of a nested transaction is walked, the other's
 * changes are hidden; the lighter branch is the one hidden, so a change is moved O(log n) times at most.
 */
class OverlapCheck {
  readonly #keys: ByteString[];
  /** Visible puts of each key. */
  readonly #puts: Int32Array;
  /** Fenwick tree over differences: how many visible deletes cover each key. */
  readonly #cover: Int32Array;
  readonly #changes: Change[] = [];

  constructor(keys: readonly ByteString[]) {
    this.#keys = [...new Set(keys)].sort();
    this.#puts = new Int32Array(this.#keys.length);
    this.#cover = new Int32Array(this.#keys.length + 2);
  }

  /** True at the first key that is changed twice. */
  walk(level: Level): boolean {
    for (const { from, to } of level.deletes) {
      this.#record({ put: false, first: this.#placeOf(from), end: this.#placeOf(to) });
    }
    for (const branches of level.nested) if (this.#walkNested(branches)) return true;
    for (const key of level.puts) {
      const first = this.#placeOf(key);
      if (this.#puts[first]! > 0 || this.#covering(first) > 0) return true;
      this.#record({ put: true, first, end: first + 1 });
    }
    return false;
  }

  #walkNested([success, failure]: [Level, Level]): boolean {
    const [light, heavy] = success.weight <= failure.weight ? [success, failure] : [failure, success];
    const start = this.#changes.length;
    if (this.walk(light)) return true;
    const end = this.#changes.length;
    for (let i = start; i < end; i++) this.#show(this.#changes[i]!, -1);
    if (this.walk(heavy)) return true;
    for (let i = start; i < end; i++) this.#show(this.#changes[i]!, 1);
    return false;
  }

  #record(change: Change): void {
    this.#changes.push(change);
    this.#show(change, 1);
  }

  /** Makes a change visible (1) or hides it (-1). */
  #show({ put, first, end }: Change, by: 1 | -1): void {
    if (put) this.#puts[first]! += by;
    else if (first < end) {
      this.#addFrom(first, by);
      this.#addFrom(end, -by);
    }
  }

  #addFrom(place: number, by: number): void {
    for (let i = place + 1; i < this.#cover.length; i += i & -i) this.#cover[i]! += by;
  }

  #covering(place: number): number {
    let sum = 0;
    for (let i = place + 1; i > 0; i -= i & -i) sum += this.#cover[i]!;
    return sum;
  }

  /** The first place whose key is not below `key`. */
  #placeOf(key: ByteString): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#keys[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
