/**
 * The part of the Raft log that is held in memory, firstIndex..lastIndex, and the marks on it:
 * applied <= applying <= min(committed, stable), but for a snapshot on its way to the disk; stable <= accepted <= lastIndex. "Accepted" entries have been handed
 * out to be written, "stable" ones are on this node's disk. Owns the rules of figure 2 about logs; never writes a file.
 */
import { assert } from '../util/assert.ts';
import { type Entry, EntryType } from '../wire/stored.ts';
import type { Restored } from './config.ts';
import type { Snapshot } from './messages.ts';

/** What an entry costs beyond its data, in every limit that counts bytes of entries. */
export const ENTRY_OVERHEAD_BYTES = 32;

export function entryBytes(entry: Entry): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES;
}

function bytesOf(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entryBytes(entry);
  return bytes;
}

/** A write under way: when it is done, the log on disk agrees with this one up to `lastIndex`. */
interface LogWrite {
  sequence: number;
  lastIndex: number;
}

export class RaftLog {
  /** #entries[i] has index #prevIndex + 1 + i. */
  #entries: Entry[];
  #prevIndex: number;
  #prevTerm: number;
  #bytes: number;
  #committed: number;
  #applying: number;
  #applied: number;
  #accepted: number;
  #stable: number;
  #writes: LogWrite[] = [];
  /** Places of the changes of the configuration that are not applied yet. */
  #confChanges: number[] = [];
  /** Received and not durable yet: everything up to its index is in it. `sequence` 0: not handed out yet. */
  #snapshot: { snapshot: Snapshot; sequence: number } | undefined;

  constructor(restored: Restored) {
    this.#entries = restored.entries.slice();
    this.#prevIndex = restored.firstIndex - 1;
    this.#prevTerm = restored.prevTerm;
    this.#bytes = bytesOf(this.#entries);
    this.#applied = this.#applying = restored.appliedIndex;
    // An applied entry was committed, whether or not the hard state had been written since.
    this.#committed = Math.max(restored.hardState?.commit ?? 0, restored.appliedIndex);
    for (const { index, type } of this.#entries)
      if (type === EntryType.values.CONF_CHANGE && index > this.#applied) this.#confChanges.push(index);
    this.#accepted = this.#stable = this.lastIndex;
  }

  get firstIndex(): number {
    return this.#prevIndex + 1;
  }
  get lastIndex(): number {
    return this.#prevIndex + this.#entries.length;
  }
  get lastTerm(): number {
    return this.#entries.length === 0 ? this.#prevTerm : this.#entries[this.#entries.length - 1]!.term;
  }
  get committed(): number {
    return this.#committed;
  }
  get applied(): number {
    return this.#applied;
  }
  get stable(): number {
    return this.#stable;
  }
  /** Bytes of the entries in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The term of entry `index`; `undefined` when it is compacted or not there yet. Entry firstIndex - 1 is still known. */
  term(index: number): number | undefined {
    if (index === this.#prevIndex) return this.#prevTerm;
    return this.#entries[index - this.#prevIndex - 1]?.term;
  }

  /** The entry, which must be in memory. */
  entry(index: number): Entry {
    const entry = this.#entries[index - this.#prevIndex - 1];
    assert(entry !== undefined, 'raft log: the entry is not in memory');
    return entry;
  }

  /** Entries `from`..`to` inclusive, cut to `bytesMax` but never to nothing. */
  slice(from: number, to: number, bytesMax: number): Entry[] {
    if (from > to) return [];
    assert(from > this.#prevIndex && to <= this.lastIndex, 'raft log: slice outside the log');
    const start = from - this.#prevIndex - 1;
    const stop = to - this.#prevIndex;
    let end = start;
    for (let bytes = 0; end < stop; end++) {
      bytes += entryBytes(this.#entries[end]!);
      if (bytes > bytesMax && end > start) break;
    }
    return this.#entries.slice(start, end);
  }

  /** Bytes of entries `from`..`to` inclusive. */
  bytesBetween(from: number, to: number): number {
    let bytes = 0;
    for (let index = from; index <= to; index++) bytes += entryBytes(this.entry(index));
    return bytes;
  }

  /** Whether a log that ends with (`index`, `term`) is at least as up to date as this one (5.4.1). */
  isUpToDate(index: number, term: number): boolean {
    return term > this.lastTerm || (term === this.lastTerm && index >= this.lastIndex);
  }

  // ---- growing

  /** Adds entries of this node's own term at the end (leader only; 5.3: a leader never overwrites its log). */
  append(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1 && entry.term >= this.lastTerm, 'raft log: append out of order');
    this.#entries.push(entry);
    this.#bytes += entryBytes(entry);
    if (entry.type === EntryType.values.CONF_CHANGE) this.#confChanges.push(entry.index);
  }

  /**
   * AppendEntries receiver, rules 2 to 4 of figure 2: refuses when entry `prevIndex` is not of `prevTerm`; drops what
   * conflicts; adds what is new. The index of the last entry now known to be the leader's, or `undefined` when refused.
   */
  tryAppend(prevIndex: number, prevTerm: number, entries: readonly Entry[]): number | undefined {
    if (this.term(prevIndex) !== prevTerm) return undefined;
    const conflict = entries.findIndex((entry) => this.term(entry.index) !== entry.term);
    if (conflict >= 0) {
      this.#truncate(entries[conflict]!.index);
      for (let i = conflict; i < entries.length; i++) this.append(entries[i]!);
    }
    return prevIndex + entries.length;
  }

  /** Drops entry `index` and what follows. Writes under way still reach the disk, but what they wrote there is void. */
  #truncate(index: number): void {
    if (index > this.lastIndex) return;
    assert(index > this.#committed, 'raft log: a committed entry must never be overwritten');
    for (const entry of this.#entries.splice(index - this.#prevIndex - 1)) this.#bytes -= entryBytes(entry);
    while ((this.#confChanges.at(-1) ?? 0) >= index) this.#confChanges.pop();
    this.#accepted = Math.min(this.#accepted, index - 1);
    this.#stable = Math.min(this.#stable, index - 1);
    for (const write of this.#writes) write.lastIndex = Math.min(write.lastIndex, index - 1);
  }

  /**
   * The last place at or before `index` whose term is at most `term`: two logs cannot agree on anything after it (5.3,
   * "the protocol can be optimized"). Term 0 stands for unknown.
   */
  conflictByTerm(index: number, term: number): { index: number; term: number } {
    for (let at = Math.min(index, this.lastIndex); at > 0; at--) {
      const own = this.term(at);
      if (own === undefined) return { index: at, term: 0 };
      if (own <= term) return { index: at, term: own };
    }
    return { index: 0, term: 0 };
  }

  // ---- committing and applying

  commitTo(index: number): void {
    if (index <= this.#committed) return;
    assert(index <= this.lastIndex, 'raft log: committed entries are missing: this node lost part of its log');
    this.#committed = index;
  }

  /** The changes of the configuration that are not applied here, by index. */
  get unappliedConfChanges(): Entry[] {
    return this.#confChanges.map((index) => this.entry(index));
  }

  /** The last of them, if any. */
  get pendingConfChange(): Entry | undefined {
    const index = this.#confChanges.at(-1);
    return index === undefined ? undefined : this.entry(index);
  }

  hasConfChangeUpTo(index: number): boolean {
    return this.#confChanges.length > 0 && this.#confChanges[0]! <= index;
  }

  /** A change of the configuration is committed but not in force here yet. */
  get hasUnappliedConfChange(): boolean {
    return this.hasConfChangeUpTo(this.#committed);
  }

  /** Entries to apply are ready: committed, on this node's own disk, and the previous page is done with. */
  get hasNextToApply(): boolean {
    return this.#applying === this.#applied && Math.min(this.#committed, this.#stable) > this.#applied;
  }

  /** Hands out the next page; `appliedTo` must confirm it before there is another. */
  nextToApply(entriesMax: number, bytesMax: number): Entry[] {
    if (!this.hasNextToApply) return [];
    const last = Math.min(this.#committed, this.#stable, this.#applied + entriesMax);
    const page = this.slice(this.#applied + 1, last, bytesMax);
    this.#applying += page.length;
    return page;
  }

  appliedTo(index: number): void {
    // Handed out before a snapshot took its place.
    if (index <= this.#prevIndex) return;
    assert(index >= this.#applied && index <= this.#applying, 'raft log: applied what was not handed out');
    this.#applied = index;
    while (this.#confChanges.length > 0 && this.#confChanges[0]! <= index) this.#confChanges.shift();
  }

  // ---- writing

  get hasUnaccepted(): boolean {
    return this.#accepted < this.lastIndex || this.#snapshot?.sequence === 0;
  }

  /** Hands out what is not yet on its way to the disk, as part of write `sequence`. */
  accept(sequence: number): Entry[] {
    const entries = this.slice(this.#accepted + 1, this.lastIndex, Infinity);
    if (entries.length > 0) {
      this.#accepted = this.lastIndex;
      this.#writes.push({ sequence, lastIndex: this.lastIndex });
    }
    return entries;
  }

  /** Hands out the snapshot that has come, once, as part of write `sequence`. Call before `accept`. */
  acceptSnapshot(sequence: number): Snapshot | undefined {
    if (this.#snapshot?.sequence !== 0) return undefined;
    this.#snapshot.sequence = sequence;
    return this.#snapshot.snapshot;
  }

  /** Writes up to `sequence` are on disk. */
  persisted(sequence: number): void {
    if (this.#snapshot !== undefined && this.#snapshot.sequence > 0 && this.#snapshot.sequence <= sequence) {
      const { index } = this.#snapshot.snapshot;
      this.#snapshot = undefined;
      this.#applied = index;
      this.#stable = Math.max(this.#stable, index);
    }
    let done = 0;
    while (done < this.#writes.length && this.#writes[done]!.sequence <= sequence)
      this.#stable = Math.max(this.#stable, this.#writes[done++]!.lastIndex);
    if (done > 0) this.#writes.splice(0, done);
  }

  // ---- forgetting (paper section 7)

  /** Forgets entries up to and including `index`, which must be applied. Its term is kept. */
  compactTo(index: number): void {
    if (index <= this.#prevIndex) return;
    assert(index <= this.#applied, 'raft log: only applied entries may be compacted');
    const term = this.term(index)!;
    for (const entry of this.#entries.splice(0, index - this.#prevIndex)) this.#bytes -= entryBytes(entry);
    this.#prevIndex = index;
    this.#prevTerm = term;
  }

  /** A snapshot is being installed; the state machine is not at its index yet. */
  get hasPendingSnapshot(): boolean {
    return this.#snapshot !== undefined;
  }

  /**
   * InstallSnapshot receiver (figure 13, step 7): the log is what follows `snapshot`, and that is nothing. Writes under
   * way are void.
   */
  restore(snapshot: Snapshot): void {
    const { index, term } = snapshot;
    assert(index > this.#committed, 'raft log: a snapshot must not take committed entries back');
    this.#entries = [];
    this.#bytes = 0;
    this.#prevIndex = index;
    this.#prevTerm = term;
    this.#writes = [];
    this.#confChanges = [];
    this.#stable = Math.min(this.#stable, this.#committed);
    this.#committed = this.#accepted = this.#applying = index;
    this.#snapshot = { snapshot, sequence: 0 };
  }
}
