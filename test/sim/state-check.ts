/**
 * Equal entries, equal state: what members answer to each entry, and what can be read of them afterwards, compared at
 * equal index, whether they came there by the log or by a snapshot. Keeps the history of all that was applied, for the
 * checks at the end.
 */
import type { StateMachine } from '../../core/apply/state-machine.ts';
import type { StatePoint } from '../../core/node/machine.ts';
import type { ConfState } from '../../core/raft/messages.ts';
import type { InternalRequest, MemberChange } from '../../core/wire/stored.ts';
import { resultText, rowsDigest, stateDigest } from './digest.ts';
import { check } from './violation.ts';

const STATE = 'state';
/** The whole state is compared after every entry whose index this divides. */
const DIGEST_EVERY = 16;

export interface AppliedEntry {
  readonly index: number;
  readonly term: number;
  readonly request: InternalRequest | undefined;
  /** For an entry that changes the members. */
  readonly change: MemberChange | undefined;
  /** What the member answered that applied it first, as text. */
  readonly result: string;
  /** True time when it was applied first. */
  readonly atMs: number;
}

/** A state that came as a snapshot: what it holds, to be compared with what the log makes of it. */
export interface InstalledState {
  readonly id: bigint;
  readonly index: number;
  readonly revision: number;
  /** `key mod_revision version lease value`, in order. */
  readonly pairs: readonly string[];
  readonly leases: readonly bigint[];
}

export class StateCheck {
  /** By index; there is no entry 0. */
  readonly entries: AppliedEntry[] = [];
  readonly byRequest = new Map<bigint, AppliedEntry>();
  readonly installs: InstalledState[] = [];
  /** The configuration after the last entry that anyone has applied. */
  conf: ConfState | undefined;
  confIndex = 0;
  /** By index: outline and, here and there, digest of the state after it. */
  readonly #outlines: string[] = [];

  /** A member has applied the entry, and `machine` is its state now. */
  applied(
    id: bigint,
    index: number,
    term: number,
    { request, change }: { request?: InternalRequest | undefined; change?: MemberChange | undefined },
    result: object | undefined,
    machine: StateMachine,
    atMs: number,
  ): void {
    const text = resultText(result);
    const outline = outlineOf(machine);
    const known = this.entries[index];
    if (known === undefined) {
      check(index === 1 || this.entries[index - 1] !== undefined, STATE, () => `entry ${index} is applied too early`);
      this.#outlines[index] = index % DIGEST_EVERY === 0 ? `${outline} ${stateDigest(machine)}` : outline;
      if (machine.confState !== this.conf) {
        this.conf = machine.confState;
        this.confIndex = index;
      }
      sameMembers(index, machine);
      this.#remember({ index, term, request, change, result: text, atMs });
      return;
    }
    const [own, other] = [request ?? change, known.request ?? known.change];
    check(own?.id === other?.id, STATE, () => `${id} applied another request as entry ${index}`);
    check(known.result === text, STATE, () => {
      return `${id} answered entry ${index} with ${text}, another with ${known.result}`;
    });
    this.#same(id, index, outline, machine);
  }

  #same(id: bigint, index: number, outline: string, machine: StateMachine): void {
    const own = index % DIGEST_EVERY === 0 ? `${outline} ${stateDigest(machine)}` : outline;
    const other = this.#outlines[index];
    check(other === own, STATE, () => `after entry ${index} ${id} is at ${own}, another at ${other}`);
  }

  /** A member has put a snapshot in the place of its state. */
  installed(id: bigint, { index, term, conf }: StatePoint, machine: StateMachine): void {
    const entry = this.entries[index];
    check(entry?.term === term, STATE, () => `${id} installed entry ${index} of ${term}, applied: ${entry?.term}`);
    check(machine.appliedIndex === index, STATE, () => `${id} installed ${index}, it is at ${machine.appliedIndex}`);
    const [own, told] = [confText(machine.confState), confText(conf)];
    check(own === told, STATE, () => `${id} installed entry ${index} with configuration ${own}, was told ${told}`);
    this.#same(id, index, outlineOf(machine), machine);
    const all = machine.store.range('\0', '\0');
    if (typeof all === 'string') throw new Error('the latest revision can always be read');
    const { revision } = machine.store;
    this.installs.push({ id, index, revision, pairs: all.kvs.map(pairText), leases: machine.lessor.list().sort(byId) });
  }

  #remember(entry: AppliedEntry): void {
    this.entries[entry.index] = entry;
    const id = entry.request?.id ?? entry.change?.id;
    if (id === undefined) return;
    check(!this.byRequest.has(id), STATE, () => `request ${id} is in the log twice`);
    this.byRequest.set(id, entry);
  }

  /** Members at rest, none with anything left to compact: all that they store is the same. */
  equal(machines: ReadonlyMap<bigint, StateMachine>): void {
    let first: string | undefined;
    for (const [id, machine] of machines) {
      const rows = `${machine.appliedIndex} ${outlineOf(machine)} ${stateDigest(machine)} ${rowsDigest(machine)}`;
      first ??= rows;
      check(rows === first, STATE, () => `the rows of ${id} differ: ${rows} and ${first}`);
    }
  }
}

const confTexts = new WeakMap<ConfState, string>();

export function confText(conf: ConfState): string {
  let text = confTexts.get(conf);
  if (text === undefined) {
    const { voters, learners, voters_outgoing: outgoing, learners_next: next } = conf;
    text = `${voters}/${learners}/${outgoing}/${next}`;
    confTexts.set(conf, text);
  }
  return text;
}

function outlineOf({ store, lessor, membership, confState }: StateMachine): string {
  const members = membership.members.map(({ ID, name, isLearner }) => `${ID}${name}${isLearner ? 'l' : ''}`);
  return `${store.revision} ${store.compactRevision} ${store.keyCount} ${lessor.size} ${confText(confState)} ${members}`;
}

const compared = new WeakSet<object>();

/** Who votes and who only listens is the same to Raft and to those who list members. */
function sameMembers(index: number, { membership, confState }: StateMachine): void {
  const { members } = membership;
  if (compared.has(members) && compared.has(confState)) return;
  compared.add(members).add(confState);
  const listed = (learners: boolean) => members.filter(({ isLearner }) => isLearner === learners).map(({ ID }) => ID);
  const [own, other] = [`${listed(false)}/${listed(true)}//`, confText(confState)];
  check(own === other, STATE, () => `after entry ${index} the members are ${own}, the configuration is ${other}`);
}

interface Pair {
  key: string;
  mod_revision: number;
  version: number;
  lease: bigint;
  value: Uint8Array;
}

export function pairText({ key, mod_revision, version, lease, value }: Pair): string {
  return `${key} ${mod_revision} ${version} ${lease} ${Buffer.from(value).toString('latin1')}`;
}

function byId(a: bigint, b: bigint): number {
  return a < b ? -1 : 1;
}
