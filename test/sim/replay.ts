/**
 * The whole history once more, in the order of the log, on a model that shares no code with the store: what every entry
 * must have answered, what every revision held, and what of it each client may have been told, and when.
 */
import type { KeyValue } from '../../core/wire/messages.ts';
import { Model, refused } from '../apply/model.ts';
import { resultText } from './digest.ts';
import type { Operation } from './history.ts';
import { isOpen } from './history.ts';
import { type AppliedEntry, type InstalledState, pairText } from './state-check.ts';
import { check } from './violation.ts';

const REPLAY = 'replay';
const TTL_SECONDS_MIN = 1;

export class Replay {
  readonly model = new Model();
  /** By index of the entry: the revision after it. */
  readonly revisions: number[] = [1];
  readonly #byRequest: ReadonlyMap<bigint, AppliedEntry>;

  /** Checks that each entry was answered as the model answers it. `entries` are by index, from 1. */
  constructor(
    entries: readonly AppliedEntry[],
    byRequest: ReadonlyMap<bigint, AppliedEntry>,
    installs: readonly InstalledState[] = [],
  ) {
    this.#byRequest = byRequest;
    const installed = installs.toSorted((a, b) => a.index - b.index);
    let next = 0;
    for (const entry of entries.slice(1)) {
      const answer = this.#answer(entry);
      const expected = answer === 'anything' ? entry.result : resultText(answer);
      check(expected === entry.result, REPLAY, () => {
        return `entry ${entry.index} was answered with ${entry.result}, the model says ${expected}`;
      });
      this.revisions[entry.index] = this.model.revision;
      while (installed[next]?.index === entry.index) this.#checkInstalled(installed[next++]!);
    }
  }

  /** What a snapshot brought is what the log makes. */
  #checkInstalled({ id, index, revision, pairs, leases }: InstalledState): void {
    const expected = [...this.model.now.values()].sort((a, b) => (a.key < b.key ? -1 : 1)).map(pairText);
    const where = `the snapshot at ${index} that ${id} installed`;
    check(
      revision === this.model.revision,
      REPLAY,
      () => `${where} has revision ${revision}, not ${this.model.revision}`,
    );
    check(pairs.join() === expected.join(), REPLAY, () => `${where} has ${pairs.join()}, not ${expected.join()}`);
    const known = [...this.model.leases].sort((a, b) => (a < b ? -1 : 1));
    check(leases.join() === known.join(), REPLAY, () => `${where} has leases ${leases.join()}, not ${known.join()}`);
  }

  /** Of entries that are no business of the key space the answer is compared between members only. */
  #answer({ request, change }: AppliedEntry): object | undefined | 'anything' {
    if (change !== undefined) return 'anything';
    if (request === undefined) return undefined;
    if (request.put !== undefined) return this.model.put(request.put);
    if (request.delete_range !== undefined) return this.model.deleteRange(request.delete_range);
    if (request.txn !== undefined) return inOrder(this.model.txn(request.txn));
    if (request.compaction !== undefined) return this.model.compact(request.compaction.revision);
    if (request.lease_revoke !== undefined) return this.model.revoke(request.lease_revoke.ID);
    if (request.lease_grant === undefined) return 'anything';
    const { ID, TTL } = request.lease_grant;
    if (this.model.leases.has(ID)) return refused('LeaseExist');
    this.model.leases.add(ID);
    const header = { cluster_id: 0n, member_id: 0n, revision: this.model.revision, raft_term: 0 };
    return { header, ID, TTL: Math.max(Number(TTL), TTL_SECONDS_MIN), error: '' };
  }

  /** The entry an operation became, if any; more than one is a violation. */
  entryOf(operation: Operation): AppliedEntry | undefined {
    const found = operation.requestIds.flatMap((id) => this.#byRequest.get(id) ?? []);
    check(found.length <= 1, REPLAY, () => `operation ${operation.id} (${operation.what}) took effect twice`);
    return found[0];
  }

  /**
   * What was acknowledged is in the log, with the result that was given, and no earlier than anything that had been
   * acknowledged before it was asked for (strict serializability, with the log as the witness).
   */
  check(operations: readonly Operation[]): void {
    for (const operation of operations) {
      if (operation.request !== undefined) this.#checkWrite(operation);
      else if (!isOpen(operation)) this.#checkRead(operation);
    }
    this.#checkOrder(operations);
  }

  #checkWrite(operation: Operation): void {
    const entry = this.entryOf(operation);
    if (isOpen(operation)) return;
    const { id, what, result } = operation;
    check(entry !== undefined, REPLAY, () => `operation ${id} (${what}) was acknowledged and is lost`);
    check(entry.result === result, REPLAY, () => `operation ${id} (${what}) was told ${result}, not ${entry.result}`);
  }

  #checkRead({ id, what, revision, seen }: Operation): void {
    const state = this.model.states.get(revision);
    check(state !== undefined, REPLAY, () => `read ${id} saw revision ${revision}, which never was`);
    for (const [key, value] of seen ?? []) {
      const expected = valueText(state.get(key));
      check(
        value === expected,
        REPLAY,
        () => `read ${id} (${what}) saw ${key}=${value} at ${revision}, not ${expected}`,
      );
    }
  }

  /** Place in the log: entry `index` is at 2 * index, reads of what it left are right behind it. */
  place(operation: Operation): number {
    if (operation.request !== undefined) return 2 * this.entryOf(operation)!.index;
    return 2 * this.#firstIndexAt(operation.revision) + 1;
  }

  #revisionOf(operation: Operation): number {
    return operation.request === undefined ? operation.revision : this.revisions[this.entryOf(operation)!.index]!;
  }

  #firstIndexAt(revision: number): number {
    let low = 0;
    let high = this.revisions.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.revisions[middle]! < revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #checkOrder(operations: readonly Operation[]): void {
    const known = operations.filter((operation) => !isOpen(operation));
    const returned = known.toSorted((a, b) => a.returnedAt - b.returnedAt);
    let next = 0;
    // The furthest place, and the newest revision, that anyone had been told of.
    let furthest: { place: number; revision: number; operation: Operation | undefined } | undefined;
    let newest = 0;
    for (const operation of known.toSorted((a, b) => a.calledAt - b.calledAt)) {
      while (returned[next] !== undefined && returned[next]!.returnedAt < operation.calledAt) {
        const before = returned[next++]!;
        const place = this.place(before);
        newest = Math.max(newest, this.#revisionOf(before));
        if (furthest === undefined || place > furthest.place) furthest = { place, revision: newest, operation: before };
      }
      if (operation.local || furthest === undefined) continue;
      const { id, what, revision } = operation;
      const { id: otherId, what: other } = furthest.operation!;
      if (operation.request === undefined) {
        const stale = revision < newest;
        check(!stale, REPLAY, () => `read ${id} (${what}) saw ${revision}, ${newest} was known (${otherId} ${other})`);
      } else {
        const inOrder = this.place(operation) > furthest.place;
        check(inOrder, REPLAY, () => `${id} (${what}) came before ${otherId} (${other}), which was done already`);
      }
    }
  }
}

/** The fields as the store's answer has them, for a comparison as text. */
function inOrder(answer: { header?: object; succeeded?: boolean; responses?: object[] }): object {
  const { header, succeeded, responses, ...rest } = answer;
  return header === undefined ? rest : { header, succeeded, responses };
}

export function valueText(kv: KeyValue | undefined): string {
  return kv === undefined ? MISSING : Buffer.from(kv.value).toString('latin1');
}

/** How a read notes that a key is not there. */
export const MISSING = '(none)';
