/**
 * Raft nodes with a pretended disk and network, all of whose steps the test takes one by one: a write is durable when
 * the test says so, a message arrives when the test says so. After every step it checks the safety properties of the
 * Raft paper's figure 3 over the whole history.
 */
import { expect } from 'vitest';
import type { RaftConfig, RaftPrng, Restored } from '../../core/raft/config.ts';
import type { Message } from '../../core/raft/messages.ts';
import { Raft } from '../../core/raft/raft.ts';
import type { ReadState, Ready } from '../../core/raft/ready.ts';
import { assert } from '../../core/util/assert.ts';
import { bytesEqual } from '../../core/util/bytes.ts';
import type { Entry, HardState } from '../../core/wire/messages.ts';

export type ClusterOptions = Partial<Omit<RaftConfig, 'id' | 'voters' | 'prng'>> & {
  /** Chance for node `id`; by default the waits of node N are electionTicks + N - 1, so that node 1 is first. */
  prng?: (id: bigint) => RaftPrng;
};

export function raftConfig(id: bigint, voters: readonly bigint[], options: ClusterOptions = {}): RaftConfig {
  const { prng = (node) => ({ int: (bound) => Number(node - 1n) % bound }), ...settings } = options;
  return {
    id,
    voters,
    electionTicks: 10,
    heartbeatTicks: 1,
    preVote: false,
    checkQuorum: false,
    uncommittedBytesMax: 1 << 20,
    committedEntriesPerReadyMax: 100,
    committedBytesPerReadyMax: 1 << 20,
    appendBytesMax: 1 << 20,
    inflightAppendsMax: 8,
    inflightBytesMax: 1 << 20,
    readsPendingMax: 8,
    ...settings,
    prng: prng(id),
  };
}

export const FRESH: Restored = { hardState: undefined, entries: [], firstIndex: 1, prevTerm: 0, appliedIndex: 0 };

/** What a crash leaves. */
export class Disk {
  restored: Restored = FRESH;

  /** A write of which only the first `entries` entries and perhaps the hard state got to the disk. */
  write(ready: Pick<Ready, 'entries' | 'hardState'>, entries = ready.entries.length, withHardState = true): void {
    const written = ready.entries.slice(0, entries);
    const first = written[0]?.index;
    const { firstIndex } = this.restored;
    const kept = first === undefined ? this.restored.entries : this.restored.entries.slice(0, first - firstIndex);
    this.restored = {
      ...this.restored,
      entries: [...kept, ...written],
      hardState: withHardState && ready.hardState !== undefined ? ready.hardState : this.restored.hardState,
    };
  }

  /** The state machine has been saved at `index` and the log before it thrown away. */
  compact(index: number): void {
    const { entries, firstIndex } = this.restored;
    const term = entries[index - firstIndex]!.term;
    this.restored = {
      ...this.restored,
      entries: entries.slice(index - firstIndex + 1),
      firstIndex: index + 1,
      prevTerm: term,
      appliedIndex: index,
    };
  }
}

export class Member {
  readonly id: bigint;
  readonly disk = new Disk();
  raft: Raft;
  /** Writes under way, oldest first. */
  writes: Ready[] = [];
  applied: Entry[] = [];
  reads: ReadState[] = [];
  /** Its messages, and those for it, are lost. */
  cut = false;
  readonly #config: RaftConfig;

  constructor(config: RaftConfig) {
    this.id = config.id;
    this.#config = config;
    this.raft = new Raft(config, FRESH);
  }

  /** Loses what is not durable, and starts again from the disk. */
  crash(): void {
    this.writes = [];
    this.reads = [];
    this.applied = this.applied.filter((entry) => entry.index <= this.disk.restored.appliedIndex);
    this.raft = new Raft(this.#config, this.disk.restored);
  }
}

export class Cluster {
  readonly members = new Map<bigint, Member>();
  /** Messages under way, oldest first. */
  network: Message[] = [];
  readonly #leaders = new Map<number, bigint>();
  #checks = 0;
  /** Every entry that was ever applied anywhere. */
  readonly #committed = new Map<number, Entry>();

  constructor(size: number, options: ClusterOptions = {}) {
    const ids = Array.from({ length: size }, (_, i) => BigInt(i + 1));
    for (const id of ids) this.members.set(id, new Member(raftConfig(id, ids, options)));
  }

  member(id: bigint | number): Member {
    return this.members.get(BigInt(id))!;
  }

  raft(id: bigint | number): Raft {
    return this.member(id).raft;
  }

  /** Takes one Ready: starts its write, sends its messages, applies its entries. */
  ready(id: bigint): Ready {
    const member = this.member(id);
    const ready = member.raft.ready();
    if (ready.sequence > 0) member.writes.push(ready);
    this.send(ready.messages);
    for (const entry of ready.committedEntries) this.#apply(member, entry);
    member.reads.push(...ready.readStates);
    this.check();
    return ready;
  }

  send(messages: readonly Message[]): void {
    const reachable = (message: Message) => !this.member(message.from).cut && !this.member(message.to).cut;
    this.network.push(...messages.filter(reachable));
  }

  #apply(member: Member, entry: Entry): void {
    assert(entry.index === (member.applied.at(-1)?.index ?? 0) + 1, 'applied without gaps');
    const known = this.#committed.get(entry.index);
    if (known === undefined) this.#committed.set(entry.index, entry);
    else assert(same(known, entry), `State Machine Safety: two nodes apply different entries at ${entry.index}`);
    member.applied.push(entry);
    member.raft.applied(entry.index);
  }

  /** The oldest write of the node is durable. False without one. */
  persist(id: bigint): boolean {
    const member = this.member(id);
    const write = member.writes.shift();
    if (write === undefined) return false;
    member.disk.write(write);
    member.raft.persisted(write.sequence);
    this.check();
    return true;
  }

  deliver(message: Message): void {
    this.network.splice(this.network.indexOf(message), 1);
    this.raft(message.to).step(message);
    this.check();
  }

  /** Runs until nothing moves: every write durable, every message delivered. */
  settle(): void {
    for (let moved = true; moved; ) {
      moved = false;
      for (const { id, raft } of this.members.values()) {
        while (raft.hasReady()) this.ready(id);
        while (this.persist(id)) moved = true;
        if (raft.hasReady()) moved = true;
      }
      while (this.network.length > 0) {
        moved = true;
        this.deliver(this.network[0]!);
      }
    }
  }

  /** Makes `id` the leader of a calm cluster. */
  elect(id: bigint | number): Raft {
    this.raft(id).campaign();
    this.settle();
    expect(this.raft(id).role).toBe('leader');
    return this.raft(id);
  }

  cut(...ids: number[]): void {
    for (const id of ids) this.member(id).cut = true;
    this.network = this.network.filter((message) => !this.member(message.from).cut && !this.member(message.to).cut);
  }

  heal(): void {
    for (const member of this.members.values()) member.cut = false;
  }

  /** Figure 3 of the paper, as far as it can be seen from outside; State Machine Safety is checked where entries are applied. */
  check(): void {
    for (const { id, raft } of this.members.values()) {
      if (raft.role !== 'leader') continue;
      const other = this.#leaders.get(raft.term);
      assert(other === undefined || other === id, `Election Safety: two leaders in term ${raft.term}`);
      if (other !== undefined) continue;
      this.#leaders.set(raft.term, id);
      for (const [index, entry] of this.#committed)
        if (index >= raft.log.firstIndex - 1)
          assert(raft.log.term(index) === entry.term, `Leader Completeness: entry ${index}`);
    }
    if (this.#checks++ % LOG_CHECK_INTERVAL > 0) return;
    const rafts = [...this.members.values()].map((member) => member.raft);
    for (const [i, a] of rafts.entries()) for (const b of rafts.slice(i + 1)) checkLogMatching(a, b);
  }
}

/** Whole logs are compared only now and then: a mismatch does not go away by itself. */
const LOG_CHECK_INTERVAL = 16;

function same(a: Entry, b: Entry): boolean {
  return a.index === b.index && a.term === b.term && a.type === b.type && bytesEqual(a.data, b.data);
}

/** Log Matching: where two logs have an entry of the same index and term, they are the same up to it. */
function checkLogMatching(a: Raft, b: Raft): void {
  let agreed = false;
  const first = Math.max(a.log.firstIndex, b.log.firstIndex);
  for (let index = Math.min(a.log.lastIndex, b.log.lastIndex); index >= first; index--) {
    if (a.log.term(index) === b.log.term(index)) agreed = true;
    if (agreed) assert(same(a.log.entry(index), b.log.entry(index)), `Log Matching at ${index}`);
  }
}

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

export function data(entry: Entry): string {
  return new TextDecoder().decode(entry.data);
}

export function hardStateText(state: HardState | undefined): string {
  return state === undefined ? '-' : `term ${state.term}, vote ${state.vote}, commit ${state.commit}`;
}
