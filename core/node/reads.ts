/**
 * Linearizable reads on their way: waiting to be asked about, asked about in one ReadIndex round, or waiting for their
 * index to be applied. Many reads share a round (dissertation 6.4.1). Every `done` is called exactly once.
 */
import { type RosterError, rosterError } from '../errors.ts';
import { assert } from '../util/assert.ts';

export type ReadDone = (error?: RosterError) => void;

/** Called when the index of a read is known: another member waits for it to be applied there. */
export type IndexDone = (index: number) => void;

/** Reads that came between two ticks share a deadline. */
interface Group {
  readonly deadlineTick: number;
  readonly dones: ReadDone[];
}

function answerAll(groups: readonly Group[], error?: RosterError): void {
  for (const { dones } of groups) for (const done of dones) done(error);
}

export class Reads {
  readonly #max: number;
  #count = 0;
  #asking: Group[] = [];
  /** Reads of others, who ask again themselves: no deadline, and no answer when it comes to nothing. */
  #askingForOthers: IndexDone[] = [];
  #round: { context: bigint; groups: Group[]; forOthers: IndexDone[] } | undefined;
  /** In index order. */
  #confirmed: { index: number; groups: Group[] }[] = [];
  #contexts = 0n;
  /** Reads that ended without an index, or before it was applied. */
  failed = 0;
  /** Rounds that were not answered and had to be begun again. */
  reopened = 0;

  constructor(readsPendingMax: number) {
    this.#max = readsPendingMax;
  }

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count >= this.#max;
  }

  /** A read that must be asked about. */
  ask(done: ReadDone, deadlineTick: number): void {
    this.#count++;
    const last = this.#asking.at(-1);
    if (last?.deadlineTick === deadlineTick) last.dones.push(done);
    else this.#asking.push({ deadlineTick, dones: [done] });
  }

  /** A read of another member, which wants to know the index. */
  askForOther(done: IndexDone): void {
    if (this.#askingForOthers.length < this.#max) this.#askingForOthers.push(done);
  }

  /** A read whose index is known already. */
  waitApplied(index: number, done: ReadDone, deadlineTick: number): void {
    this.#count++;
    const last = this.#confirmed.at(-1);
    assert(last === undefined || last.index <= index, 'reads: the commit index went back');
    const group = last?.index === index ? last.groups.at(-1) : undefined;
    if (group?.deadlineTick === deadlineTick) group.dones.push(done);
    else this.#confirmed.push({ index, groups: [{ deadlineTick, dones: [done] }] });
  }

  /** Reads wait for a round and none is open. */
  get wantsRound(): boolean {
    return this.#round === undefined && (this.#asking.length > 0 || this.#askingForOthers.length > 0);
  }

  /** Begins a round with all reads that wait for one, unless one is open. Its context was never used before. */
  beginRound(): bigint | undefined {
    if (!this.wantsRound) return undefined;
    this.#round = { context: ++this.#contexts, groups: this.#asking, forOthers: this.#askingForOthers };
    this.#asking = [];
    this.#askingForOthers = [];
    return this.#round.context;
  }

  /** The open round is answered: its reads may go once `index` is applied. */
  confirmed(context: bigint, index: number): void {
    if (this.#round?.context !== context) return;
    const { groups, forOthers } = this.#round;
    this.#round = undefined;
    if (groups.length > 0) this.#confirmed.push({ index, groups });
    for (const done of forOthers) done(index);
  }

  /** The open round, if it is this one, will not be answered: its reads are asked about in the next one. Others ask again themselves. */
  reopenRound(context = this.#round?.context): void {
    if (this.#round === undefined || this.#round.context !== context) return;
    this.#asking = [...this.#round.groups, ...this.#asking];
    this.#round = undefined;
    this.reopened++;
  }

  refuseAll(error: RosterError): void {
    const groups = [...this.#confirmed.flatMap((confirmed) => confirmed.groups), ...(this.#round?.groups ?? [])];
    groups.push(...this.#asking);
    this.#confirmed = [];
    this.#round = undefined;
    this.#asking = [];
    this.#askingForOthers = [];
    this.#answer(groups, error);
  }

  /** Lets go the reads whose index is applied. */
  applied(appliedIndex: number): void {
    let done = 0;
    while (done < this.#confirmed.length && this.#confirmed[done]!.index <= appliedIndex) done++;
    if (done === 0) return;
    for (const { groups } of this.#confirmed.splice(0, done)) this.#answer(groups);
  }

  /** Answers Timeout to everyone whose deadline has come. */
  expire(tick: number): void {
    const late: Group[] = [];
    const keep = (groups: Group[]): Group[] => {
      for (const group of groups) if (group.deadlineTick <= tick) late.push(group);
      return groups.filter((group) => group.deadlineTick > tick);
    };
    this.#asking = keep(this.#asking);
    if (this.#round !== undefined) this.#round.groups = keep(this.#round.groups);
    for (const confirmed of this.#confirmed) confirmed.groups = keep(confirmed.groups);
    if (late.length > 0) this.#answer(late, rosterError('Timeout'));
  }

  #answer(groups: readonly Group[], error?: RosterError): void {
    for (const { dones } of groups) {
      this.#count -= dones.length;
      if (error !== undefined) this.failed += dones.length;
    }
    answerAll(groups, error);
  }
}
