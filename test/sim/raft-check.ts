/**
 * What the Raft paper promises (figure 3), watched from outside: from what members write, send, apply and say of
 * themselves. Knows nothing of how they come to it. Also: nothing leaves before what it promises is durable.
 */
import type { NodeStatus } from '../../core/node/node.ts';
import type { RecoveredLog } from '../../core/node/world.ts';
import { type Message, MessageType } from '../../core/raft/messages.ts';
import type { Entry, HardState } from '../../core/wire/messages.ts';
import { Digest } from './digest.ts';
import { check } from './violation.ts';

const { APPEND, APPEND_RESPONSE, HEARTBEAT, VOTE_RESPONSE } = MessageType.values;
const RAFT = 'raft';

/** One member's log as it was handed to its disk, and how much of it the disk has confirmed. */
class LogView {
  prevIndex = 0;
  prevTerm = 0;
  terms: number[] = [];
  durableIndex = 0;
  hardState: HardState = { term: 0, vote: 0n, commit: 0 };
  /** Not confirmed yet, oldest first. */
  writes: { lastIndex: number; hardState: HardState | undefined }[] = [];
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
}

export class RaftCheck {
  readonly #logs = new Map<bigint, LogView>();
  readonly #leaders = new Map<number, bigint>();
  /** By `member/term`: whom it voted for. */
  readonly #votes = new Map<string, bigint>();
  /** By index and term: what is there, and the term before it. */
  readonly #entries = new Map<string, string>();
  /** By index: the term of what was applied, and the term of the member that applied it first. */
  readonly #applied: { term: number; seenInTerm: number }[] = [];
  readonly #watchesDisk: boolean;

  /** `watchesDisk`: also checks that promises are durable when they leave. */
  constructor(watchesDisk = true) {
    this.#watchesDisk = watchesDisk;
  }

  /** The member starts with this log. */
  started(id: bigint, { entries, prevIndex, prevTerm, hardState }: RecoveredLog): void {
    const log = new LogView();
    log.prevIndex = prevIndex;
    log.prevTerm = prevTerm;
    for (const entry of entries) {
      this.#matches(entry, log.term(entry.index - 1));
      log.terms.push(entry.term);
    }
    log.durableIndex = log.lastIndex;
    if (hardState !== undefined) log.hardState = hardState;
    this.#logs.set(id, log);
  }

  /** The member asks its disk for this write; to be followed by `persisted`, in order. */
  appended(id: bigint, entries: readonly Entry[], hardState: HardState | undefined): void {
    const log = this.#log(id);
    const first = entries[0];
    if (first !== undefined) {
      check(first.index <= log.lastIndex + 1, RAFT, () => `${id} leaves a gap before entry ${first.index}`);
      log.terms.length = first.index - log.prevIndex - 1;
      log.durableIndex = Math.min(log.durableIndex, first.index - 1);
      for (const write of log.writes) write.lastIndex = Math.min(write.lastIndex, first.index - 1);
    }
    for (const entry of entries) {
      this.#matches(entry, log.term(entry.index - 1));
      log.terms.push(entry.term);
    }
    log.writes.push({ lastIndex: log.lastIndex, hardState });
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
  #matches(entry: Entry, prevTerm: number | undefined): void {
    const key = `${entry.index}/${entry.term}`;
    const own = new Digest().number(entry.type).bytes(entry.data).value;
    const known = this.#entries.get(key);
    const [digest, before] = known?.split(' ') ?? [own, undefined];
    check(digest === own, RAFT, () => `two different entries ${entry.index} of term ${entry.term}`);
    const prev = prevTerm === undefined ? before : `${prevTerm}`;
    const same = before === undefined || before === prev;
    check(same, RAFT, () => `entry ${key} follows an entry of term ${before} here and of ${prev} there`);
    this.#entries.set(key, prev === undefined ? own : `${own} ${prev}`);
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
