/**
 * Committed entries on their way into the machine, one page at a time and each once, in order; and from there to who
 * waits for them, wherever in the cluster their request was put into the log. Never decides what is committed.
 */
import { GrpcStatus, otherError, RosterError } from '../errors.ts';
import { confChangeOf } from '../raft/conf-change.ts';
import type { Raft } from '../raft/raft.ts';
import { assert } from '../util/assert.ts';
import { decode } from '../wire/binary.ts';
import { type Entry, EntryType, InternalRequest, MemberChange } from '../wire/stored.ts';
import type { Forwards } from './forwards.ts';
import type { ApplyResult, Machine } from './machine.ts';
import { answer, type Proposal, type Proposals } from './proposals.ts';

interface Answered {
  readonly proposal: Proposal;
  readonly result: ApplyResult;
}

/** What a page led to. */
export interface AppliedPage {
  /** Tells all who wait, so that their replies leave together. */
  answer(): void;
  /** Members that a change of this page has removed. */
  readonly removed: readonly bigint[];
  /** An entry that this version cannot read: nothing after it was applied. */
  readonly failure: RosterError | undefined;
}

export class Applier {
  readonly #machine: Machine;
  readonly #raft: Raft;
  readonly #proposals: Proposals;
  readonly #forwards: Forwards;

  constructor(machine: Machine, raft: Raft, proposals: Proposals, forwards: Forwards) {
    this.#machine = machine;
    this.#raft = raft;
    this.#proposals = proposals;
    this.#forwards = forwards;
  }

  page(entries: readonly Entry[]): AppliedPage {
    const answered: Answered[] = [];
    const removed: bigint[] = [];
    let failure: RosterError | undefined;
    for (const entry of entries) {
      const { index, term } = entry;
      assert(index === this.#machine.appliedIndex + 1, 'node: entries are applied in order, none left out');
      const { committed, log } = this.#raft;
      assert(index <= committed && index <= log.stable, 'node: applying what a crash could undo');
      this.#forwards.reopenOverwritten(term);
      const own = this.#proposals.take(index, term);
      failure =
        entry.type === EntryType.values.CONF_CHANGE
          ? this.#confChange(entry, own, answered, removed)
          : this.#request(entry, own, answered);
      if (failure !== undefined) break;
      assert(this.#machine.appliedIndex === index, 'node: the machine did not apply the entry');
    }
    const answerAll = () => {
      for (const { proposal, result } of answered) answer(proposal, result);
    };
    return { answer: answerAll, removed, failure };
  }

  #request(entry: Entry, own: Proposal | undefined, answered: Answered[]): RosterError | undefined {
    const { index, term } = entry;
    const request = own === undefined ? readable(entry, decodeRequest) : own.request;
    if (request instanceof RosterError) return request;
    const proposal = own ?? (request === undefined ? undefined : this.#forwards.take(request.id));
    const result = this.#machine.apply(index, term, request);
    this.#raft.applied(index);
    if (proposal === undefined) return undefined;
    assert(result !== undefined, 'node: a request without a result');
    answered.push({ proposal, result });
    return undefined;
  }

  #confChange(
    entry: Entry,
    own: Proposal | undefined,
    answered: Answered[],
    removed: bigint[],
  ): RosterError | undefined {
    const change = readable(entry, confChangeOf);
    if (change instanceof RosterError) return change;
    const about = change.context.length === 0 ? undefined : readable(entry, () => decode(MemberChange, change.context));
    if (about instanceof RosterError) return about;
    const conf = this.#raft.applyConfChange(entry);
    const result = this.#machine.applyConfChange(entry.index, entry.term, change, conf);
    const proposal = own ?? (about === undefined ? undefined : this.#forwards.take(about.id));
    if (about?.remove !== undefined) removed.push(about.remove);
    if (proposal === undefined) return undefined;
    assert(result !== undefined, 'node: a change of the members without a result');
    answered.push({ proposal, result });
    return undefined;
  }
}

/** The request in an entry that this process did not propose; `undefined` for an entry that is empty. */
function decodeRequest(entry: Entry): InternalRequest | undefined {
  return entry.data.length === 0 ? undefined : decode(InternalRequest, entry.data);
}

function readable<T>(entry: Entry, read: (entry: Entry) => T): T | RosterError {
  try {
    return read(entry);
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    return otherError(
      GrpcStatus.DATA_LOSS,
      `entry ${entry.index} of the log holds no request that this version understands: ${error.message}`,
      { cause: error },
    );
  }
}
