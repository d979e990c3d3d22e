/**
 * The keys of a mirror as a tree of path segments, so that listing one level costs what it returns. Owns values and
 * the account of what each write changed; knows nothing of stores, revisions or templates.
 */
import { compareText } from './go-path.ts';

/** A key, a directory above keys, or both. */
export interface KeyNode {
  readonly name: string;
  /** The whole key; '' for the root. */
  readonly path: string;
  readonly parent: KeyNode | undefined;
  /** undefined: no such key (a directory only). */
  value: KeyValueText | undefined;
  children: Map<string, KeyNode> | undefined;
}

/** A value as text; as bytes when it is not UTF-8. */
export type KeyValueText = string | Uint8Array;

/** What one write changed. */
export interface Change {
  key: string;
  /** Directories whose list of children (or of child directories) is no longer the same. */
  names: readonly string[];
}

interface Node extends KeyNode {
  readonly parent: Node | undefined;
  children: Map<string, Node> | undefined;
  sorted: Node[] | undefined;
}

function sameValue(a: KeyValueText | undefined, b: KeyValueText): boolean {
  if (typeof a === 'string' || typeof b === 'string' || a === undefined) return a === b;
  return Buffer.compare(a, b) === 0;
}

/** `/a/b` as segments: absolute, no empty, `.` or `..` segment, no trailing slash. undefined for any other key. */
function segmentsOf(key: string): string[] | undefined {
  if (!key.startsWith('/') || key.length === 1) return undefined;
  const segments = key.slice(1).split('/');
  for (const segment of segments) if (segment === '' || segment === '.' || segment === '..') return undefined;
  return segments;
}

/** Keys that are not clean absolute paths (`/a//b`, `/a/`, `/a/../b`, `a`) have no place in the tree. */
export function isCleanKey(key: string): boolean {
  return segmentsOf(key) !== undefined;
}

function newNode(parent: Node | undefined, name: string): Node {
  const path = parent === undefined ? '' : `${parent.path}/${name}`;
  return { name, path, parent, value: undefined, children: undefined, sorted: undefined };
}

export class KeyTree {
  readonly #root: Node = newNode(undefined, '');
  #size = 0;

  /** Keys with a value. */
  get size(): number {
    return this.#size;
  }

  get root(): KeyNode {
    return this.#root;
  }

  /** The node at a path ('' or `/a/b`); undefined when there is neither a key nor anything below. */
  node(path: string): KeyNode | undefined {
    if (path === '') return this.#root;
    const segments = segmentsOf(path);
    let node: Node | undefined = segments === undefined ? undefined : this.#root;
    for (const segment of segments ?? []) node = node?.children?.get(segment);
    return node;
  }

  /** Children in order of their names. */
  children(node: KeyNode): readonly KeyNode[] {
    const own = node as Node;
    if (own.children === undefined) return [];
    own.sorted ??= [...own.children.values()].sort((a, b) => compareText(a.name, b.name));
    return own.sorted;
  }

  /** Sets a clean key; undefined when it had that value already. */
  set(key: string, value: KeyValueText): Change | undefined {
    const names: string[] = [];
    let node = this.#root;
    for (const segment of segmentsOf(key) ?? []) {
      let child = node.children?.get(segment);
      if (child === undefined) {
        if (node.children === undefined) {
          node.children = new Map();
          if (node.parent !== undefined) names.push(node.parent.path);
        }
        child = newNode(node, segment);
        node.children.set(segment, child);
        node.sorted = undefined;
        names.push(node.path);
      }
      node = child;
    }
    if (sameValue(node.value, value)) return undefined;
    if (node.value === undefined) this.#size++;
    node.value = value;
    return { key, names };
  }

  /** Removes a key; undefined when there was none. */
  delete(key: string): Change | undefined {
    let node = this.node(key) as Node | undefined;
    if (node?.value === undefined) return undefined;
    node.value = undefined;
    this.#size--;
    const names: string[] = [];
    while (node.parent !== undefined && node.value === undefined && node.children === undefined) {
      const { parent } = node as { parent: Node };
      parent.children!.delete(node.name);
      parent.sorted = undefined;
      names.push(parent.path);
      if (parent.children!.size === 0) {
        parent.children = undefined;
        if (parent.parent !== undefined) names.push(parent.parent.path);
      }
      node = parent;
    }
    return { key, names };
  }

  /** Every key at or below a path, in no particular order. */
  *keysUnder(path: string): Generator<string> {
    const start = this.node(path);
    const waiting = start === undefined ? [] : [start];
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      if (node.value !== undefined) yield node.path;
      if (node.children !== undefined) waiting.push(...node.children.values());
    }
  }
}
