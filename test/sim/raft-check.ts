/**
 * What the Raft paper promises (figure 3), watched from outside: from what members write, send, apply and say of
 * themselves. Knows nothing of how they come to it. Also: nothing leaves before what it promises is durable, and what is
 * durable is there after a restart.
 */
import type { NodeStatus } from '../../core/node/node.ts';
import type { RecoveredLog } from '../../core/node/world.ts';
import { type Message, MessageType } from '../../core/raft/messages.ts';
import { crc32 } from '../../core/util/crc32.ts';
import { type Entry, EntryType, type HardState } from '../../core/wire/stored.ts';
import { check } from './violation.ts';

const { APPEND, APPEND_RESPONSE, HEARTBEAT, VOTE_RESPONSE } = MessageType.values;
const RAFT = 'raft';

/** One member's log as it was handed to its disk, and how much of it the disk has confirmed. */
class LogView {
  prevIndex = 0;
  prevTerm = 0;
  terms: number[] = [];
  /** The changes of the configuration in it, oldest first. */
  changes: Entry[] = [];
  durableIndex = 0;
  hardState: HardState = { term: 0, vote: 0n, commit: 0 };
  /** Not confirmed yet, oldest first. */
  writes: { lastIndex: number; hardState: HardState | undefined; reset: boolean }[] = [];
  /** The place of the snapshot that has become its state, if the log has perhaps not followed. */
  adoptedIndex = -1;
  /** Of this run of the member. */
  commitIndex = 0;
  leaderTerm = 0;

  get lastIndex(): number {
    return this.prevIndex + this.terms.length;
  }

  term(index: number): number | undefined {
    if (index === this.prevIndex) return this.prevTerm;
    return this.terms[index - this.prevIndex - 1];
  }

  push(entry: Entry): void {
    this.terms.push(entry.term);
    if (entry.type === EntryType.values.CONF_CHANGE) this.changes.push(entry);
  }

  /** Drops entry `index` and what follows. */
  cut(index: number): void {
    this.terms.length = index - this.prevIndex - 1;
    while (this.changes.length > 0 && this.changes.at(-1)!.index >= index) this.changes.pop();
  }
}

/** One entry that some log holds at an index. */
interface KnownEntry {
  readonly term: number;
  readonly digest: number;
  /** The term of the entry before it; `undefined` while nobody has seen that. */
  prevTerm: number | undefined;
}

export class RaftCheck {
  readonly #logs = new Map<bigint, LogView>();
  readonly #leaders = new Map<number, bigint>();
  /** By `member/term`: whom it voted for. */
  readonly #votes = new Map<string, bigint>();
  /** By index: the entries of different terms that logs hold there. */
  readonly #entries: KnownEntry[][] = [];
  /** By index: the term of what was applied, and the term of the member that applied it first. */
  readonly #applied: { term: number; seenInTerm: number }[] = [];
  readonly #watchesDisk: boolean;

  /** `watchesDisk`: also checks that promises are durable when they leave. */
  constructor(watchesDisk = true) {
    this.#watchesDisk = watchesDisk;
  }

  /**
   * The member's log was damaged and is gone; it fetches another from the others (core/raft/refill.ts). What it voted is
   * forgotten: nobody whom it may vote for again can win with that.
   */
  forgets(id: bigint): void {
    this.#logs.delete(id);
    for (const key of this.#votes.keys()) if (key.startsWith(`${id}/`)) this.#votes.delete(key);
  }

  /** The member starts with this log. */
  started(id: bigint, { entries, prevIndex, prevTerm, hardState }: RecoveredLog): void {
    const before = this.#logs.get(id);
    const log = new LogView();
    log.prevIndex = prevIndex;
    log.prevTerm = prevTerm;
    for (const entry of entries) {
      this.#matches(entry, log.term(entry.index - 1));
      log.push(entry);
    }
    log.durableIndex = log.lastIndex;
    if (hardState !== undefined) log.hardState = hardState;
    if (before !== undefined && this.#watchesDisk) this.#nothingLost(id, before, log);
    this.#logs.set(id, log);
  }

  /** Whatever the disk had confirmed is still there, unless a snapshot or a write under way has taken its place. */
  #nothingLost(id: bigint, before: LogView, now: LogView): void {
    const { term, vote } = before.hardState;
    const same =
      now.hardState.term > term || (now.hardState.term === term && (vote === 0n || now.hardState.vote === vote));
    // Entries of a later term may have come to the disk without the hard state that was written after them.
    check(
      same || (now.term(now.lastIndex) ?? 0) > term,
      RAFT,
      () => `${id} forgot term ${term} and its vote for ${vote}`,
    );
    if (before.writes.some((write) => write.reset) || now.prevIndex === before.adoptedIndex) return;
    for (let index = Math.max(before.prevIndex, now.prevIndex) + 1; index <= before.durableIndex; index++) {
      check(now.term(index) === before.term(index), RAFT, () => `${id} lost entry ${index}, which was durable`);
    }
    check(
      now.lastIndex >= before.durableIndex,
      RAFT,
      () => `${id} lost entry ${before.durableIndex}, which was durable`,
    );
  }

  /** The member asks its disk for this write; to be followed by `persisted`, in order. */
  appended(id: bigint, entries: readonly Entry[], hardState: HardState | undefined): void {
    const log = this.#log(id);
    if (hardState !== undefined) this.#keepsWord(id, log, hardState);
    const first = entries[0];
    if (first !== undefined) {
      check(first.index <= log.lastIndex + 1, RAFT, () => `${id} leaves a gap before entry ${first.index}`);
      check(first.index > log.prevIndex, RAFT, () => `${id} writes entry ${first.index} into what it has forgotten`);
      log.cut(first.index);
      log.durableIndex = Math.min(log.durableIndex, first.index - 1);
      for (const write of log.writes) write.lastIndex = Math.min(write.lastIndex, first.index - 1);
    }
    for (const entry of entries) {
      this.#matches(entry, log.term(entry.index - 1));
      log.push(entry);
    }
    log.writes.push({ lastIndex: log.lastIndex, hardState, reset: false });
  }

  /** Terms never go back, and a vote is never taken back or given to another in its term. */
  #keepsWord(id: bigint, log: LogView, { term, vote }: HardState): void {
    const last = log.writes.findLast((write) => write.hardState !== undefined)?.hardState ?? log.hardState;
    const kept = term > last.term || (term === last.term && (last.vote === 0n || last.vote === vote));
    check(kept, RAFT, () => `${id} writes term ${term}, vote ${vote} after term ${last.term}, vote ${last.vote}`);
  }

  /** A snapshot has become the member's state; its log is to follow. */
  adopted(id: bigint, index: number): void {
    this.#log(id).adoptedIndex = index;
  }

  /** The member asks its disk to drop the log and go on after this place; to be followed by `persisted`, in order. */
  reset(id: bigint, index: number, term: number, hardState: HardState): void {
    const log = this.#log(id);
    this.#keepsWord(id, log, hardState);
    const applied = this.#applied[index];
    check(applied?.term === term, RAFT, () => `${id} takes a snapshot at ${index}/${term}, applied: ${applied?.term}`);
    log.prevIndex = index;
    log.prevTerm = term;
    log.terms = [];
    log.changes = [];
    log.writes.push({ lastIndex: index, hardState, reset: true });
  }

  /** The oldest write is durable. */
  persisted(id: bigint): void {
    const log = this.#log(id);
    const write = log.writes.shift();
    check(write !== undefined, RAFT, () => `${id}: the disk confirmed a write that nobody asked for`);
    log.durableIndex = Math.max(log.durableIndex, write.lastIndex);
    if (write.hardState !== undefined) log.hardState = write.hardState;
  }

  sent(message: Message): void {
    const { type, from, to, term } = message;
    if (type === APPEND || type === HEARTBEAT) this.#leads(from, term);
    if (message.reject) return;
    const log = this.#log(from);
    if (type === VOTE_RESPONSE) {
      const before = this.#votes.get(`${from}/${term}`);
      check(before === undefined || before === to, RAFT, () => `${from} voted in term ${term} for ${before} and ${to}`);
      this.#votes.set(`${from}/${term}`, to);
      if (!this.#watchesDisk) return;
      const durable = log.hardState.term > term || (log.hardState.term === term && log.hardState.vote === to);
      check(durable, RAFT, () => `${from} gave ${to} its vote of term ${term} before that was durable`);
    } else if (type === APPEND_RESPONSE && this.#watchesDisk) {
      const { index } = message;
      check(index <= log.durableIndex, RAFT, () => `${from} confirmed entry ${index}, durable: ${log.durableIndex}`);
    }
  }

  /** The member has applied entry `index`. */
  applied(id: bigint, index: number, term: number, nodeTerm: number): void {
    const before = this.#applied[index];
    if (before !== undefined) {
      check(before.term === term, RAFT, () => `entry ${index}: ${id} applied term ${term}, another ${before.term}`);
      return;
    }
    this.#applied[index] = { term, seenInTerm: nodeTerm };
    for (const [leader, log] of this.#logs) if (log.leaderTerm > nodeTerm) this.#has(leader, log, index);
  }

  /** What the member says of itself after it has done something. */
  status(status: NodeStatus): void {
    const log = this.#log(status.id);
    const { id, term, commitIndex, appliedIndex } = status;
    check(commitIndex >= log.commitIndex, RAFT, () => `${id}: commit went from ${log.commitIndex} to ${commitIndex}`);
    check(appliedIndex <= commitIndex, RAFT, () => `${id} applied ${appliedIndex}, committed ${commitIndex}`);
    log.commitIndex = commitIndex;
    const leaderTerm = status.isLeader ? term : 0;
    if (leaderTerm === log.leaderTerm) return;
    log.leaderTerm = leaderTerm;
    if (leaderTerm === 0) return;
    this.#leads(id, term);
    for (let index = log.prevIndex + 1; index < this.#applied.length; index++) {
      if (this.#applied[index]!.seenInTerm < term) this.#has(id, log, index);
    }
  }

  /** The member is gone. */
  stopped(id: bigint): void {
    this.#log(id).leaderTerm = 0;
  }

  get terms(): number {
    return this.#leaders.size;
  }

  /** Changes of the configuration that some log has after entry `index`. */
  changesAfter(index: number): Entry[] {
    const changes = [...this.#logs.values()].flatMap((log) => log.changes.filter((entry) => entry.index > index));
    return changes.sort((a, b) => a.index - b.index);
  }

  #log(id: bigint): LogView {
    const log = this.#logs.get(id);
    check(log !== undefined, RAFT, () => `${id} acts before it has started`);
    return log;
  }

  /** Election safety: at most one leader per term. */
  #leads(id: bigint, term: number): void {
    const other = this.#leaders.get(term);
    check(other === undefined || other === id, RAFT, () => `${other} and ${id} both lead in term ${term}`);
    this.#leaders.set(term, id);
  }

  /** Log matching: same index and term, same entry, and the same before it. */
  #matches({ index, term, type, data }: Entry, prevTerm: number | undefined): void {
    const digest = crc32(data) ^ type;
    this.#entries[index] ??= [];
    const here = this.#entries[index];
    const known = here.find((entry) => entry.term === term);
    if (known === undefined) {
      here.push({ term, digest, prevTerm });
      return;
    }
    check(known.digest === digest, RAFT, () => `two different entries ${index} of term ${term}`);
    known.prevTerm ??= prevTerm;
    const same = prevTerm === undefined || known.prevTerm === prevTerm;
    check(same, RAFT, () => {
      return `entry ${index}/${term} follows an entry of term ${known.prevTerm} here and of ${prevTerm} there`;
    });
  }

  /** Leader completeness: what was committed in an earlier term is in the log of every later leader. */
  #has(leader: bigint, log: LogView, index: number): void {
    if (index <= log.prevIndex) return;
    const { term } = this.#applied[index]!;
    check(log.term(index) === term, RAFT, () => {
      return `leader ${leader} of term ${log.leaderTerm} lacks entry ${index} of term ${term}, which was applied`;
    });
  }
}
