/**
 * What one render may read: the keys in a resource's scopes, its prefix taken off. Owns the record of everything that
 * was read, which decides later whether a change concerns the resource. Lives for one synchronous render.
 */

import { compileGlob, type Glob } from './glob.ts';
import { basePath, compareText, sortText } from './go-path.ts';
import type { KeyNode, KeyTree } from './key-tree.ts';
import { inScope } from './scope.ts';

export interface KeyPair {
  key: string;
  value: string;
}

/** A glob as it was read: it concerns whole keys below `directory` whose rest after `prefix` it matches. */
export interface GlobRead {
  readonly prefix: string;
  /** Whole path above which nothing can match. */
  readonly directory: string;
  readonly glob: Glob;
}

/** Everything one render looked at, in whole keys. */
export interface Reads {
  /** Keys whose presence or value was read. */
  readonly keys: ReadonlySet<string>;
  /** Directories whose children were listed. */
  readonly names: ReadonlySet<string>;
  readonly globs: ReadonlyMap<string, GlobRead>;
}

/** A getter without an answer; the message names the key and never a value. */
export class ReadError extends Error {
  override name = 'ReadError';
}

export class Reader {
  readonly #tree: KeyTree;
  readonly #prefix: string;
  readonly #scopes: readonly string[];
  readonly #keys = new Set<string>();
  readonly #names = new Set<string>();
  readonly #globs = new Map<string, GlobRead>();

  /** `prefix` and `scopes` are normal paths ('' or `/a/b`); scopes are whole paths, prefix included. */
  constructor(tree: KeyTree, prefix: string, scopes: readonly string[]) {
    this.#tree = tree;
    this.#prefix = prefix;
    this.#scopes = scopes;
  }

  get reads(): Reads {
    return { keys: this.#keys, names: this.#names, globs: this.#globs };
  }

  exists(key: string): boolean {
    return this.#valueNode(key) !== undefined;
  }

  /** The value of a key; undefined when there is none. */
  value(key: string): string | undefined {
    const node = this.#valueNode(key);
    return node === undefined ? undefined : this.#text(node);
  }

  /** Pairs whose key (without the prefix) matches a Go glob, by key. */
  glob(pattern: string): KeyPair[] {
    const glob = compileGlob(pattern);
    if (!pattern.startsWith('/')) return [];
    const directory = this.#prefix + glob.directory;
    this.#globs.set(`${this.#prefix}\0${pattern}`, { prefix: this.#prefix, directory, glob });
    const start = this.#tree.node(directory);
    if (start === undefined) return [];
    const pairs: KeyPair[] = [];
    const add = (node: KeyNode) => {
      if (this.#readable(node.path)) pairs.push({ key: this.#strip(node.path), value: this.#text(node) });
    };
    if (glob.segments === undefined) {
      for (const path of this.#tree.keysUnder(directory))
        if (glob.match(this.#strip(path))) add(this.#tree.node(path)!);
    } else this.#walk(start, glob.segments, 0, add);
    // Segment order is key order within one level only: "-" and "." sort before "/".
    if (glob.segments?.length !== 1) pairs.sort((a, b) => compareText(a.key, b.key));
    return pairs;
  }

  /** Sorted names one level below a path; the path's own base name too when it is a key itself (as confd does). */
  list(path: string): string[] {
    const whole = this.#whole(path);
    const names = this.#children(whole).map((node) => node.name);
    this.#keys.add(whole);
    if (whole !== this.#prefix && this.#readable(whole) && this.#tree.node(whole)?.value !== undefined) {
      const own = basePath(whole);
      if (!names.includes(own)) names.push(own);
      sortText(names);
    }
    return names;
  }

  /** Sorted names one level below a path that have keys below them. */
  listDirectories(path: string): string[] {
    return this.#children(this.#whole(path))
      .filter((node) => node.children !== undefined)
      .map((node) => node.name);
  }

  #whole(path: string): string {
    const trimmed = path.endsWith('/') ? path.slice(0, -1) : path;
    return this.#prefix + trimmed;
  }

  #strip(path: string): string {
    return path.slice(this.#prefix.length);
  }

  #readable(path: string): boolean {
    return this.#scopes.some((scope) => inScope(scope, path));
  }

  /** On the way to a scope, or inside one. */
  #passable(path: string): boolean {
    return this.#scopes.some((scope) => inScope(scope, path) || inScope(path, scope));
  }

  #valueNode(key: string): KeyNode | undefined {
    const whole = this.#prefix + key;
    this.#keys.add(whole);
    if (key === '' || !this.#readable(whole)) return undefined;
    const node = this.#tree.node(whole);
    return node?.value === undefined ? undefined : node;
  }

  #text(node: KeyNode): string {
    if (typeof node.value === 'string') return node.value;
    throw new ReadError(`the value of ${node.path} is not UTF-8 text`);
  }

  #children(whole: string): readonly KeyNode[] {
    this.#names.add(whole);
    const node = this.#tree.node(whole);
    if (node === undefined) return [];
    const children = this.#tree.children(node);
    if (this.#readable(whole)) return children;
    return children.filter((child) => this.#readable(child.path) || this.#leadsToKeys(child));
  }

  /** A directory above a scope is shown only when the scope has keys. */
  #leadsToKeys(node: KeyNode): boolean {
    return (
      this.#passable(node.path) &&
      this.#scopes.some((scope) => {
        if (!inScope(node.path, scope)) return false;
        this.#names.add(scope);
        this.#keys.add(scope);
        return this.#tree.node(scope) !== undefined;
      })
    );
  }

  #walk(node: KeyNode, segments: NonNullable<Glob['segments']>, depth: number, add: (node: KeyNode) => void): void {
    const segment = segments[depth]!;
    const last = depth === segments.length - 1;
    const visit = (child: KeyNode) => {
      if (!last) this.#walk(child, segments, depth + 1, add);
      else if (child.value !== undefined) add(child);
    };
    if (typeof segment === 'string') {
      const child = node.children?.get(segment);
      if (child !== undefined) visit(child);
      return;
    }
    for (const child of this.#tree.children(node)) if (segment(child.name)) visit(child);
  }
}
