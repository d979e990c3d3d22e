/**
 * A counted B+tree keyed by byte strings: an ordered map that also knows how many keys lie in a range, in O(log n).
 * Owns its nodes; what the values mean is the caller's. Not to be changed while a cursor or a scan is under way.
 */
import { assert } from './assert.ts';
import type { ByteString } from './bytes.ts';

/** Most keys in a leaf, most children of an inner node. */
const NODE_MAX = 64;
/** A node with fewer is joined with a neighbour or filled up from it. */
const NODE_MIN = NODE_MAX / 4;

class Leaf<V> {
  readonly leaf = true;
  keys: ByteString[];
  values: V[];
  next: Leaf<V> | undefined;

  constructor(keys: ByteString[], values: V[], next: Leaf<V> | undefined) {
    this.keys = keys;
    this.values = values;
    this.next = next;
  }

  get count(): number {
    return this.keys.length;
  }

  get width(): number {
    return this.keys.length;
  }
}

class Inner<V> {
  readonly leaf = false;
  /** `bounds[i]` parts child i (keys below it) from child i + 1 (keys from it on). */
  bounds: ByteString[];
  children: Node<V>[];
  /** Keys in all leaves below. */
  count: number;

  constructor(bounds: ByteString[], children: Node<V>[]) {
    this.bounds = bounds;
    this.children = children;
    this.count = countOf(children);
  }

  get width(): number {
    return this.children.length;
  }
}

type Node<V> = Leaf<V> | Inner<V>;

/** What a node broke off when it was full: its right half, and the smallest key there. */
interface Split<V> {
  bound: ByteString;
  right: Node<V>;
}

/** A place between keys that moves forward. */
export class BTreeCursor<V> {
  #leaf: Leaf<V> | undefined;
  #index: number;

  /** For the tree only: {@link BTree.cursor}. */
  constructor(leaf: Leaf<V>, index: number) {
    this.#leaf = leaf;
    this.#index = index;
    this.#skipEnd();
  }

  /** The key under the cursor; `undefined` past the last one. */
  get key(): ByteString | undefined {
    return this.#leaf?.keys[this.#index];
  }

  /** The value under the cursor. Past the last one a bug. */
  get value(): V {
    assert(this.#leaf !== undefined, 'the cursor is past the end');
    return this.#leaf.values[this.#index]!;
  }

  advance(): void {
    this.#index++;
    this.#skipEnd();
  }

  #skipEnd(): void {
    while (this.#leaf !== undefined && this.#index >= this.#leaf.keys.length) {
      this.#leaf = this.#leaf.next;
      this.#index = 0;
    }
  }
}

export class BTree<V> {
  #root: Node<V> = new Leaf<V>([], [], undefined);
  #lastLeaf: Leaf<V> = this.#root as Leaf<V>;

  get size(): number {
    return this.#root.count;
  }

  /** What lies beyond the greatest key costs no search. */
  get(key: ByteString): V | undefined {
    const last = this.lastKey();
    if (last === undefined || key > last) return undefined;
    const leaf = this.#leafOf(key);
    const at = lowerBound(leaf.keys, key);
    return leaf.keys[at] === key ? leaf.values[at] : undefined;
  }

  has(key: ByteString): boolean {
    const leaf = this.#leafOf(key);
    return leaf.keys[lowerBound(leaf.keys, key)] === key;
  }

  /** The greatest key; `undefined` in an empty tree. */
  lastKey(): ByteString | undefined {
    return this.#lastLeaf.keys[this.#lastLeaf.keys.length - 1];
  }

  /** Adds or replaces. Keys that arrive in ascending order cost no search. True when the key is new. */
  set(key: ByteString, value: V): boolean {
    const last = this.lastKey();
    const append = last === undefined || key > last;
    const before = this.#root.count;
    const split = this.#insert(this.#root, key, value, append);
    if (split !== undefined) this.#root = new Inner<V>([split.bound], [this.#root, split.right]);
    return this.#root.count > before;
  }

  /** True when the key was there. */
  delete(key: ByteString): boolean {
    if (!this.#remove(this.#root, key)) return false;
    if (!this.#root.leaf && this.#root.children.length === 1) this.#root = this.#root.children[0]!;
    return true;
  }

  /** How many keys are below `key`. */
  rank(key: ByteString): number {
    let node = this.#root;
    let rank = 0;
    while (!node.leaf) {
      const at = upperBound(node.bounds, key);
      for (let i = 0; i < at; i++) rank += node.children[i]!.count;
      node = node.children[at]!;
    }
    return rank + lowerBound(node.keys, key);
  }

  /** How many keys lie in [from, to); `to` undefined: no end. */
  countRange(from: ByteString, to: ByteString | undefined): number {
    const end = to === undefined ? this.size : this.rank(to);
    return Math.max(0, end - this.rank(from));
  }

  /** A cursor on the first key that is not below `from`. */
  cursor(from: ByteString): BTreeCursor<V> {
    const leaf = this.#leafOf(from);
    return new BTreeCursor(leaf, lowerBound(leaf.keys, from));
  }

  /** Visits [from, to) in order until `visit` returns false; `to` undefined: no end. */
  scan(from: ByteString, to: ByteString | undefined, visit: (key: ByteString, value: V) => boolean): void {
    let leaf: Leaf<V> | undefined = this.#leafOf(from);
    let at = lowerBound(leaf.keys, from);
    for (; leaf !== undefined; leaf = leaf.next, at = 0) {
      const { keys, values } = leaf;
      for (; at < keys.length; at++) {
        const key = keys[at]!;
        if (to !== undefined && key >= to) return;
        if (!visit(key, values[at]!)) return;
      }
    }
  }

  #leafOf(key: ByteString): Leaf<V> {
    let node = this.#root;
    while (!node.leaf) node = node.children[upperBound(node.bounds, key)]!;
    return node;
  }

  #insert(node: Node<V>, key: ByteString, value: V, append: boolean): Split<V> | undefined {
    if (node.leaf) return this.#insertIntoLeaf(node, key, value, append);
    const at = append ? node.children.length - 1 : upperBound(node.bounds, key);
    const child = node.children[at]!;
    const before = child.count;
    const split = this.#insert(child, key, value, append);
    if (split === undefined) {
      node.count += child.count - before;
      return undefined;
    }
    node.count++;
    node.bounds.splice(at, 0, split.bound);
    node.children.splice(at + 1, 0, split.right);
    return node.children.length > NODE_MAX ? splitInner(node, append) : undefined;
  }

  #insertIntoLeaf(leaf: Leaf<V>, key: ByteString, value: V, append: boolean): Split<V> | undefined {
    const { keys, values } = leaf;
    if (append) {
      keys.push(key);
      values.push(value);
    } else {
      const at = lowerBound(keys, key);
      if (keys[at] === key) {
        values[at] = value;
        return undefined;
      }
      insertAt(keys, at, key);
      insertAt(values, at, value);
    }
    if (keys.length <= NODE_MAX) return undefined;
    // Ascending keys leave full leaves behind instead of half-empty ones.
    const cut = append ? NODE_MAX : NODE_MAX >> 1;
    const right = new Leaf<V>(keys.splice(cut), values.splice(cut), leaf.next);
    leaf.next = right;
    if (this.#lastLeaf === leaf) this.#lastLeaf = right;
    return { bound: right.keys[0]!, right };
  }

  #remove(node: Node<V>, key: ByteString): boolean {
    if (node.leaf) {
      const at = lowerBound(node.keys, key);
      if (node.keys[at] !== key) return false;
      node.keys.splice(at, 1);
      node.values.splice(at, 1);
      return true;
    }
    const at = upperBound(node.bounds, key);
    const child = node.children[at]!;
    if (!this.#remove(child, key)) return false;
    node.count--;
    if (child.width < NODE_MIN && node.children.length > 1) this.#refill(node, at === 0 ? 0 : at - 1);
    return true;
  }

  /** Joins children `at` and `at + 1`, or shares their content evenly when it does not fit into one. */
  #refill(parent: Inner<V>, at: number): void {
    const left = parent.children[at]!;
    const right = parent.children[at + 1]!;
    if (left.leaf) {
      assert(right.leaf, 'leaves lie at one depth');
      const keys = left.keys.concat(right.keys);
      const values = left.values.concat(right.values);
      const cut = keys.length <= NODE_MAX ? keys.length : keys.length >> 1;
      right.keys = keys.splice(cut);
      right.values = values.splice(cut);
      left.keys = keys;
      left.values = values;
      if (right.keys.length > 0) {
        parent.bounds[at] = right.keys[0]!;
        return;
      }
      left.next = right.next;
      if (this.#lastLeaf === right) this.#lastLeaf = left;
    } else {
      assert(!right.leaf, 'leaves lie at one depth');
      const bounds = [...left.bounds, parent.bounds[at]!, ...right.bounds];
      const children = left.children.concat(right.children);
      const cut = children.length <= NODE_MAX ? children.length : children.length >> 1;
      if (cut < children.length) {
        parent.bounds[at] = bounds[cut - 1]!;
        setChildren(right, bounds.slice(cut), children.slice(cut));
        setChildren(left, bounds.slice(0, cut - 1), children.slice(0, cut));
        return;
      }
      setChildren(left, bounds, children);
    }
    parent.bounds.splice(at, 1);
    parent.children.splice(at + 1, 1);
  }
}

function setChildren<V>(node: Inner<V>, bounds: ByteString[], children: Node<V>[]): void {
  node.bounds = bounds;
  node.children = children;
  node.count = countOf(children);
}

function splitInner<V>(node: Inner<V>, append: boolean): Split<V> {
  // Never an inner node with a single child: a leaf must always have a neighbour to be joined with.
  const cut = append ? NODE_MAX - 1 : (NODE_MAX + 1) >> 1;
  const bound = node.bounds[cut - 1]!;
  const right = new Inner<V>(node.bounds.splice(cut), node.children.splice(cut));
  node.bounds.pop();
  node.count -= right.count;
  return { bound, right };
}

function countOf<V>(children: readonly Node<V>[]): number {
  let count = 0;
  for (const child of children) count += child.count;
  return count;
}

/** What splice does, without the array that splice returns. */
function insertAt<T>(list: T[], at: number, item: T): void {
  list.push(item);
  for (let i = list.length - 1; i > at; i--) list[i] = list[i - 1]!;
  list[at] = item;
}

/** The first index whose key is not below `key`. */
function lowerBound(keys: readonly ByteString[], key: ByteString): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first index whose key is above `key`. */
function upperBound(keys: readonly ByteString[], key: ByteString): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! <= key) low = middle + 1;
    else high = middle;
  }
  return low;
}
