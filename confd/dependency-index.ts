/**
 * Which reader is concerned by a changed key. Owns the reverse index of the reads of each reader's last render; a
 * change costs its depth, not the number of readers.
 */
import type { Change } from './key-tree.ts';
import type { GlobRead, Reads } from './reader.ts';

interface GlobEntry<T> {
  read: GlobRead;
  readers: Set<T>;
}

function link<T>(index: Map<string, Set<T>>, at: string, reader: T): void {
  const readers = index.get(at);
  if (readers === undefined) index.set(at, new Set([reader]));
  else readers.add(reader);
}

function unlink<T>(index: Map<string, Set<T>>, at: string, reader: T): void {
  const readers = index.get(at);
  if (readers?.delete(reader) && readers.size === 0) index.delete(at);
}

export class DependencyIndex<T> {
  readonly #reads = new Map<T, Reads>();
  readonly #keys = new Map<string, Set<T>>();
  readonly #names = new Map<string, Set<T>>();
  /** Directory -> glob -> readers. */
  readonly #globs = new Map<string, Map<string, GlobEntry<T>>>();

  /** Replaces what `reader` depends on. */
  set(reader: T, reads: Reads): void {
    this.delete(reader);
    this.#reads.set(reader, reads);
    for (const key of reads.keys) link(this.#keys, key, reader);
    for (const path of reads.names) link(this.#names, path, reader);
    for (const [id, read] of reads.globs) {
      const here = this.#globs.get(read.directory) ?? new Map<string, GlobEntry<T>>();
      this.#globs.set(read.directory, here);
      const entry = here.get(id);
      if (entry === undefined) here.set(id, { read, readers: new Set([reader]) });
      else entry.readers.add(reader);
    }
  }

  delete(reader: T): void {
    const reads = this.#reads.get(reader);
    if (reads === undefined) return;
    this.#reads.delete(reader);
    for (const key of reads.keys) unlink(this.#keys, key, reader);
    for (const path of reads.names) unlink(this.#names, path, reader);
    for (const [id, read] of reads.globs) {
      const here = this.#globs.get(read.directory);
      const entry = here?.get(id);
      if (here === undefined || entry === undefined) continue;
      entry.readers.delete(reader);
      if (entry.readers.size === 0) here.delete(id);
      if (here.size === 0) this.#globs.delete(read.directory);
    }
  }

  /** Adds every reader concerned by `change` to `found`. */
  collect(change: Change, found: Set<T>): void {
    for (const reader of this.#keys.get(change.key) ?? []) found.add(reader);
    for (const path of change.names) for (const reader of this.#names.get(path) ?? []) found.add(reader);
    let at = change.key.lastIndexOf('/');
    for (; at >= 0; at = at === 0 ? -1 : change.key.lastIndexOf('/', at - 1)) {
      for (const { read, readers } of this.#globs.get(change.key.slice(0, at))?.values() ?? []) {
        if (!read.glob.match(change.key.slice(read.prefix.length))) continue;
        for (const reader of readers) found.add(reader);
      }
    }
  }
}
