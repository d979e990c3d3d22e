/**
 * Half-open key ranges [start, end) and what is attached to each: finds all ranges that hold a key in O(log n) plus
 * what it finds (an AVL tree by start and end, each node knowing the greatest end below it). Owns its nodes only.
 */
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';

/** The end of a range that has none; no other end is this string. */
export const OPEN_END = '\0';

class Node<T> {
  readonly start: ByteString;
  readonly end: ByteString;
  /** Everything attached to exactly this range. */
  readonly items = new Set<T>();
  /** The greatest `end` in this subtree. */
  endMax: ByteString;
  height = 1;
  left: Node<T> | undefined;
  right: Node<T> | undefined;

  constructor(start: ByteString, end: ByteString) {
    this.start = start;
    this.end = end;
    this.endMax = end;
  }
}

type Child<T> = Node<T> | undefined;

export class IntervalTree<T> {
  #root: Child<T>;
  /** Scratch for `add` and `delete`: the node the operation is about. */
  #target: Child<T>;
  #ranges = 0;

  /** Distinct ranges. */
  get ranges(): number {
    return this.#ranges;
  }

  /** Attaches `item` to [start, end); `end` is {@link OPEN_END} or above `start`. */
  add(start: ByteString, end: ByteString, item: T): void {
    assert(end === OPEN_END || start < end, 'a range must not be empty');
    this.#root = this.#insert(this.#root, start, end);
    this.#target!.items.add(item);
    this.#target = undefined;
  }

  /** Detaches `item`, which must be attached to this range. */
  delete(start: ByteString, end: ByteString, item: T): void {
    let node = this.#root;
    while (node !== undefined) {
      const order = compareRange(start, end, node);
      if (order === 0) break;
      node = order < 0 ? node.left : node.right;
    }
    assert(node !== undefined, 'nothing is attached to this range');
    assert(node.items.delete(item), 'the item is not attached to this range');
    if (node.items.size > 0) return;
    this.#root = remove(this.#root, node);
    this.#ranges--;
  }

  /** Adds everything attached to a range that holds `key` to `into`. */
  match(key: ByteString, into: T[]): void {
    if (this.#root !== undefined) collect(this.#root, key, into);
  }

  /** Adds everything that is attached to any range to `into`. */
  collectAll(into: T[]): void {
    const waiting: Node<T>[] = this.#root === undefined ? [] : [this.#root];
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      for (const item of node.items) into.push(item);
      if (node.left !== undefined) waiting.push(node.left);
      if (node.right !== undefined) waiting.push(node.right);
    }
  }

  /** Whether any range holds `key`. */
  covers(key: ByteString): boolean {
    return covers(this.#root, key);
  }

  #insert(node: Child<T>, start: ByteString, end: ByteString): Node<T> {
    if (node === undefined) {
      this.#ranges++;
      this.#target = new Node<T>(start, end);
      return this.#target;
    }
    const order = compareRange(start, end, node);
    if (order === 0) this.#target = node;
    else if (order < 0) node.left = this.#insert(node.left, start, end);
    else node.right = this.#insert(node.right, start, end);
    return balance(node);
  }
}

function collect<T>(node: Node<T>, key: ByteString, into: T[]): void {
  const { left, right } = node;
  if (left !== undefined && isBelowEnd(key, left.endMax)) collect(left, key, into);
  if (key < node.start) return;
  if (isBelowEnd(key, node.end)) for (const item of node.items) into.push(item);
  if (right !== undefined && isBelowEnd(key, right.endMax)) collect(right, key, into);
}

function covers<T>(node: Child<T>, key: ByteString): boolean {
  // If a range to the left ends above the key but begins above it too, every range here begins above it.
  let at = node;
  while (at !== undefined) {
    if (at.start <= key && isBelowEnd(key, at.end)) return true;
    at = at.left !== undefined && isBelowEnd(key, at.left.endMax) ? at.left : at.right;
  }
  return false;
}

function isBelowEnd(key: ByteString, end: ByteString): boolean {
  return end === OPEN_END || key < end;
}

function laterEnd(a: ByteString, b: ByteString): ByteString {
  if (a === OPEN_END || b === OPEN_END) return OPEN_END;
  return a > b ? a : b;
}

function compareRange<T>(start: ByteString, end: ByteString, node: Node<T>): number {
  if (start !== node.start) return start < node.start ? -1 : 1;
  if (end === node.end) return 0;
  return end < node.end ? -1 : 1;
}

function heightOf<T>(node: Child<T>): number {
  return node === undefined ? 0 : node.height;
}

function refresh<T>(node: Node<T>): void {
  node.height = 1 + Math.max(heightOf(node.left), heightOf(node.right));
  let endMax = node.end;
  if (node.left !== undefined) endMax = laterEnd(endMax, node.left.endMax);
  if (node.right !== undefined) endMax = laterEnd(endMax, node.right.endMax);
  node.endMax = endMax;
}

/** Restores the AVL invariant at `node`, whose subtrees hold it; returns the subtree's new root. */
function balance<T>(node: Node<T>): Node<T> {
  const lean = heightOf(node.left) - heightOf(node.right);
  if (lean > 1) {
    const left = node.left!;
    if (heightOf(left.left) < heightOf(left.right)) node.left = rotateLeft(left);
    return rotateRight(node);
  }
  if (lean < -1) {
    const right = node.right!;
    if (heightOf(right.right) < heightOf(right.left)) node.right = rotateRight(right);
    return rotateLeft(node);
  }
  refresh(node);
  return node;
}

function rotateLeft<T>(node: Node<T>): Node<T> {
  const up = node.right!;
  node.right = up.left;
  up.left = node;
  refresh(node);
  refresh(up);
  return up;
}

function rotateRight<T>(node: Node<T>): Node<T> {
  const up = node.left!;
  node.left = up.right;
  up.right = node;
  refresh(node);
  refresh(up);
  return up;
}

function remove<T>(root: Child<T>, gone: Node<T>): Child<T> {
  assert(root !== undefined, 'the node is not in this tree');
  if (root === gone) {
    if (root.left === undefined) return root.right;
    if (root.right === undefined) return root.left;
    // The successor takes the place; it is the node itself that moves, so nobody's reference changes meaning.
    let heir = root.right;
    while (heir.left !== undefined) heir = heir.left;
    const right = remove(root.right, heir);
    heir.left = root.left;
    heir.right = right;
    return balance(heir);
  }
  if (compareRange(gone.start, gone.end, root) < 0) root.left = remove(root.left, gone);
  else root.right = remove(root.right, gone);
  return balance(root);
}
