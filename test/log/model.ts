/** What a log must hold after any crash: a list of the states its calls led through, and how far they are acknowledged. */
import { expect } from 'vitest';
import type { MemoryDisk } from '../../core/log/memory-disk.ts';
import type { Recovered } from '../../core/log/recover.ts';
import type { Wal } from '../../core/log/wal.ts';
import type { Prng } from '../../core/util/prng.ts';
import type { Entry, HardState } from '../../core/wire/stored.ts';
import { entry, hard, open, plain, recovered } from './rig.ts';

interface State {
  readonly baseIndex: number;
  readonly baseTerm: number;
  /** baseIndex + 1 and on; released ones included. */
  readonly entries: readonly Entry[];
  readonly hardState: HardState;
}

function same(a: Entry, b: Entry): boolean {
  return a.index === b.index && a.term === b.term && a.type === b.type && Buffer.compare(a.data, b.data) === 0;
}

/** A log, driven at random, and every state it may be found in. */
export class Driver {
  disk: MemoryDisk;
  wal: Wal;
  /** The disk has been told to fail. */
  failing = false;
  readonly #random: Prng;
  readonly #segmentBytes: number;
  readonly #entryBytesMax: number;
  #states: State[] = [{ baseIndex: 0, baseTerm: 0, entries: [], hardState: hard(0, 0, 0n) }];
  /** Position in #states of the last one whose call was acknowledged. */
  #acknowledged = 0;
  #released = 0;

  constructor(disk: MemoryDisk, segmentBytes: number, random: Prng, entryBytesMax = 300) {
    this.disk = disk;
    this.#entryBytesMax = entryBytesMax;
    this.#segmentBytes = segmentBytes;
    this.#random = random;
    this.wal = open(disk, { segmentBytes });
  }

  get last(): State {
    return this.#states.at(-1)!;
  }

  get lastIndex(): number {
    return this.last.baseIndex + this.last.entries.length;
  }

  /** One random call to the log. */
  act(): void {
    const dice = this.#random.int(20);
    if (dice < 12) this.#append(this.lastIndex + 1);
    else if (dice < 14) this.#overwrite();
    else if (dice < 15) this.#vote();
    else if (dice < 17) this.#noteCommit();
    else if (dice < 19) this.#release();
    else if (this.#random.int(8) === 0) this.#reset();
  }

  #append(from: number): void {
    const { baseIndex, baseTerm, entries, hardState } = this.last;
    const kept = entries.slice(0, from - baseIndex - 1);
    const newTerm = from <= this.lastIndex || this.#random.int(6) === 0;
    const before = kept.at(-1)?.term ?? baseTerm;
    const term = newTerm ? Math.max(hardState.term, before, entries.at(-1)?.term ?? 0) + 1 : Math.max(before, 1);
    const count = 1 + this.#random.int(4);
    const added = Array.from({ length: count }, (_, i) => entry(from + i, term, this.#random.int(this.#entryBytesMax)));
    const next = hard(Math.max(term, hardState.term), hardState.commit, hardState.vote);
    this.#call({ baseIndex, baseTerm, entries: [...kept, ...added], hardState: next }, (done) =>
      this.wal.append(added, next.term === hardState.term ? undefined : next, done),
    );
  }

  #overwrite(): void {
    // Raft never overwrites what it has applied, even when the note of the commit was lost.
    const first = Math.max(this.last.hardState.commit, this.last.baseIndex, this.#released) + 1;
    if (first <= this.lastIndex) this.#append(first + this.#random.int(this.lastIndex - first + 1));
  }

  #vote(): void {
    const { hardState } = this.last;
    const next = hard(hardState.term + 1, hardState.commit, BigInt(this.#random.int(5)));
    this.#call({ ...this.last, hardState: next }, (done) => this.wal.append([], next, done));
  }

  #noteCommit(): void {
    const { hardState } = this.last;
    const commit = hardState.commit + this.#random.int(this.lastIndex - hardState.commit + 1);
    this.wal.noteCommit(commit);
    // No promise: the next call will carry it.
    this.#states[this.#states.length - 1] = { ...this.last, hardState: { ...hardState, commit } };
  }

  #release(): void {
    const { commit } = this.last.hardState;
    // As the node does: only what is durable is applied, and only what is applied is released.
    const durable = this.#states[this.#acknowledged]!;
    this.#released = Math.max(this.#released, Math.min(commit, durable.baseIndex + durable.entries.length));
    this.wal.release(Math.min(this.#released, this.lastIndex));
  }

  #reset(): void {
    const { hardState } = this.last;
    const baseIndex = this.lastIndex + this.#random.int(10);
    const baseTerm = Math.max(hardState.term, this.last.entries.at(-1)?.term ?? 0, 1) + this.#random.int(2);
    const next = hard(Math.max(hardState.term, baseTerm), baseIndex);
    this.#call({ baseIndex, baseTerm, entries: [], hardState: next }, (done) =>
      this.wal.reset(baseIndex, baseTerm, next, done),
    );
  }

  #call(state: State, call: (done: (error?: Error) => void) => void): void {
    this.#states.push(state);
    const position = this.#states.length - 1;
    const wal = this.wal;
    call((error) => {
      if (error !== undefined && !this.failing) throw error;
      if (error === undefined && wal === this.wal) this.#acknowledged = Math.max(this.#acknowledged, position);
    });
  }

  /** Checks that `image` recovers to one of the states it may have; returns which. */
  check(image: MemoryDisk): number {
    const found = recovered(image);
    for (let i = this.#states.length - 1; i >= this.#acknowledged; i--) if (this.matches(found, i)) return i;
    const { baseIndex, entries, hardState } = this.#states[this.#acknowledged]!;
    expect({ entries: plain(found.entries), hardState: found.hardState, first: found.firstIndex }).toEqual({
      entries: plain(entries.slice(Math.max(0, found.prevIndex - baseIndex))),
      hardState,
      first: 'one of the states between acknowledged and asked for',
    });
    return -1;
  }

  /** Whether that is the state at `position`. */
  matches(found: Recovered, position: number): boolean {
    const { baseIndex, baseTerm, entries, hardState } = this.#states[position]!;
    const { prevIndex, prevTerm } = found;
    if (prevIndex < baseIndex || prevIndex > Math.max(baseIndex, this.#released)) return false;
    const term = prevIndex === baseIndex ? baseTerm : entries[prevIndex - baseIndex - 1]?.term;
    if (term !== prevTerm || found.lastIndex !== baseIndex + entries.length) return false;
    const { term: raftTerm, vote, commit } = found.hardState;
    if (raftTerm !== hardState.term || vote !== hardState.vote || commit > hardState.commit) return false;
    return found.entries.every((item, i) => same(item, entries[prevIndex - baseIndex + i]!));
  }

  /** Goes on with `image`, as a restarted process does. */
  restart(image: MemoryDisk): void {
    const position = this.check(image);
    const found = recovered(image);
    const state = this.#states[position]!;
    this.#states = [{ ...state, hardState: found.hardState }];
    this.#acknowledged = 0;
    this.failing = false;
    this.disk = image;
    this.wal = open(image, { segmentBytes: this.#segmentBytes });
  }
}
