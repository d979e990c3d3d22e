/** The raft log as the frames make it, one after the other: later entries replace earlier ones of the same index. */
import type { Entry, HardState } from '../wire/stored.ts';
import { decodePayload, type FrameHeader, FrameKind } from './format.ts';

export class Replay {
  hardState: HardState = { term: 0, vote: 0n, commit: 0 };
  /** That hard state is one of a log that is being refilled. */
  refilling = false;
  /** The log begins after this entry, which itself is gone. */
  prevIndex = 0;
  prevTerm = 0;
  /** Entry prevIndex + 1 and on. */
  readonly entries: Entry[] = [];
  /** Highest index in the frame applied last; 0 if it had no entries. */
  frameIndexMax = 0;
  #begun = false;

  get lastIndex(): number {
    return this.prevIndex + this.entries.length;
  }

  /** Applies a frame. Returns what is wrong with it, as the end of a sentence; undefined normally. */
  apply({ kind, refilling }: FrameHeader, payload: Uint8Array): string | undefined {
    const decoded = decodePayload(payload);
    if (decoded === undefined) return 'does not parse although its checksum holds';
    const { state, entries } = decoded;
    // A frame that overwrites what came before the first one read was written when those entries had been released.
    const before = state.prevIndex < this.prevIndex;
    if (!this.#begun || kind === FrameKind.RESET || before) this.#beginAfter(state.prevIndex, state.prevTerm);
    const term = this.#termOf(state.prevIndex);
    if (term !== state.prevTerm) {
      return `follows entry ${state.prevIndex} of term ${state.prevTerm}, but the log has ${
        term === undefined ? `no entry after ${this.lastIndex}` : `that entry with term ${term}`
      }`;
    }
    this.frameIndexMax = 0;
    for (const entry of entries) {
      if (entry.index <= this.prevIndex || entry.index > this.lastIndex + 1) {
        return `holds entry ${entry.index}, which does not follow entry ${this.lastIndex}`;
      }
      if (entry.index <= this.lastIndex) this.entries.length = entry.index - this.prevIndex - 1;
      const termBefore = this.entries.at(-1)?.term ?? this.prevTerm;
      if (entry.term < termBefore) {
        return `holds entry ${entry.index} of term ${entry.term}, which is lower than the ${termBefore} before it`;
      }
      this.entries.push(entry);
      this.frameIndexMax = Math.max(this.frameIndexMax, entry.index);
    }
    this.hardState = state.hardState;
    this.refilling = refilling;
    return undefined;
  }

  #beginAfter(index: number, term: number): void {
    this.#begun = true;
    this.prevIndex = index;
    this.prevTerm = term;
    this.entries.length = 0;
  }

  #termOf(index: number): number | undefined {
    return index === this.prevIndex ? this.prevTerm : this.entries[index - this.prevIndex - 1]?.term;
  }
}
