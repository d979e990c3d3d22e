/**
 * What lies one level below a prefix: keys without a further delimiter, and groups of keys that share the next part of
 * their names. A group is found at its first key and passed over with one search, so the cost is per child and not per
 * key. Owns no state.
 */
import { assert } from '../util/assert.ts';
import { type ByteString, prefixEnd } from '../util/bytes.ts';
import type { KeyIndex } from './key-index.ts';
import type { Child, ChildrenLimits, ChildrenQuery, ChildrenSlice } from './kv-store.ts';
import type { View } from './reader.ts';

/** KvStore.children. */
export function readChildren(view: View, query: ChildrenQuery, limits: ChildrenLimits): ChildrenSlice {
  assert(query.delimiter !== '', 'groups end with something');
  return new ChildrenScan(view, query, limits).run();
}

class ChildrenScan {
  readonly #view: View;
  readonly #query: ChildrenQuery;
  readonly #children: Child[] = [];
  readonly #most: number;
  #looks: number;
  /** Where to go on; undefined: nothing is left. */
  #at: ByteString | undefined;

  constructor(view: View, query: ChildrenQuery, limits: ChildrenLimits) {
    this.#view = view;
    this.#query = query;
    this.#most = limits.children;
    this.#looks = limits.looks;
    this.#at = query.from;
  }

  run(): ChildrenSlice {
    while (this.#at !== undefined && this.#children.length < this.#most && this.#looks > 0) this.#scan(this.#at);
    return { children: this.#children, next: this.#at };
  }

  /** From `from` to the end of the next group, or until a limit is reached. */
  #scan(from: ByteString): void {
    const { space, current } = this.#view;
    const { to, revision } = this.#query;
    this.#at = undefined;
    if (revision === current) space.scanLive(from, to, (_key, entry) => this.#look(entry));
    else space.scanEach(from, to, (entry) => this.#look(entry));
  }

  /** False: the scan is not to go on from here. */
  #look(entry: KeyIndex): boolean {
    const { key } = entry;
    const { prefix, delimiter, revision } = this.#query;
    this.#looks--;
    const at = entry.find(revision);
    if (at !== undefined) {
      const cut = key.indexOf(delimiter, prefix.length);
      if (cut >= 0) {
        this.#group(key.slice(0, cut + delimiter.length));
        return false;
      }
      this.#children.push({ name: key, group: false, modRevision: at.main, keys: 1 });
    }
    if (this.#children.length < this.#most && this.#looks > 0) return true;
    this.#at = `${key}\0`;
    return false;
  }

  #group(name: ByteString): void {
    const { space, current } = this.#view;
    const { to, revision } = this.#query;
    const end = prefixEnd(name);
    const after = end === '\0' ? undefined : end;
    // What has happened since is counted change by change.
    this.#looks -= current - revision;
    const keys = this.#query.count ? space.knownCount(name, after, revision) : undefined;
    this.#children.push({ name, group: true, modRevision: undefined, keys });
    this.#at = after === undefined || (to !== undefined && after >= to) ? undefined : after;
  }
}
