/**
 * Equal entries, equal state: what members answer to each entry, and what can be read of them afterwards, compared at
 * equal index. Keeps the history of all that was applied, for the checks at the end.
 */
import type { StateMachine } from '../../core/apply/state-machine.ts';
import type { InternalRequest } from '../../core/wire/messages.ts';
import { resultText, rowsDigest, stateDigest } from './digest.ts';
import { check } from './violation.ts';

const STATE = 'state';
/** The whole state is compared after every entry whose index this divides. */
const DIGEST_EVERY = 16;

export interface AppliedEntry {
  readonly index: number;
  readonly term: number;
  readonly request: InternalRequest | undefined;
  /** What the member answered that applied it first, as text. */
  readonly result: string;
  /** True time when it was applied first. */
  readonly atMs: number;
}

export class StateCheck {
  /** By index; there is no entry 0. */
  readonly entries: AppliedEntry[] = [];
  readonly byRequest = new Map<bigint, AppliedEntry>();
  /** By index: outline and, here and there, digest of the state after it. */
  readonly #outlines: string[] = [];

  /** A member has applied the entry, and `machine` is its state now. */
  applied(
    id: bigint,
    index: number,
    term: number,
    request: InternalRequest | undefined,
    result: object | undefined,
    machine: StateMachine,
    atMs: number,
  ): void {
    const text = resultText(result);
    const outline = outlineOf(index, machine);
    const known = this.entries[index];
    if (known === undefined) {
      check(index === 1 || this.entries[index - 1] !== undefined, STATE, () => `entry ${index} is applied too early`);
      this.#outlines[index] = outline;
      this.#remember({ index, term, request, result: text, atMs });
      return;
    }
    check(known.request?.id === request?.id, STATE, () => `${id} applied another request as entry ${index}`);
    check(
      known.result === text,
      STATE,
      () => `${id} answered entry ${index} with ${text}, another with ${known.result}`,
    );
    const other = this.#outlines[index];
    check(other === outline, STATE, () => `after entry ${index} ${id} is at ${outline}, another at ${other}`);
  }

  #remember(entry: AppliedEntry): void {
    this.entries[entry.index] = entry;
    if (entry.request === undefined) return;
    const { id } = entry.request;
    check(!this.byRequest.has(id), STATE, () => `request ${id} is in the log twice`);
    this.byRequest.set(id, entry);
  }

  /** Members at rest, none with anything left to compact: all that they store is the same. */
  equal(machines: ReadonlyMap<bigint, StateMachine>): void {
    let first: string | undefined;
    for (const [id, machine] of machines) {
      const rows = `${machine.appliedIndex} ${stateDigest(machine)} ${rowsDigest(machine)}`;
      first ??= rows;
      check(rows === first, STATE, () => `the rows of ${id} differ: ${rows} and ${first}`);
    }
  }
}

function outlineOf(index: number, machine: StateMachine): string {
  const { store, lessor } = machine;
  const outline = `${store.revision} ${store.compactRevision} ${store.keyCount} ${lessor.size}`;
  return index % DIGEST_EVERY === 0 ? `${outline} ${stateDigest(machine)}` : outline;
}
