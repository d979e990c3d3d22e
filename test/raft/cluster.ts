/**
 * Raft nodes with a pretended disk and network, all of whose steps the test takes one by one: a write is durable when
 * the test says so, a message arrives when the test says so. After every step it checks the safety properties of the
 * Raft paper's figure 3 over the whole history.
 */
import { expect } from 'vitest';
import { type ConfChange, confStateOf } from '../../core/raft/conf-change.ts';
import type { RaftConfig, RaftPrng, Restored } from '../../core/raft/config.ts';
import { type ConfState, type Message, MessageType } from '../../core/raft/messages.ts';
import { Raft } from '../../core/raft/raft.ts';
import type { ReadState, Ready } from '../../core/raft/ready.ts';
import { assert } from '../../core/util/assert.ts';
import { bytesEqual } from '../../core/util/bytes.ts';
import { type Entry, EntryType, type HardState } from '../../core/wire/stored.ts';

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

  /** A write of which the snapshot, the first `entries` entries and perhaps the hard state got to the disk. */
  write(
    { snapshot, entries, hardState }: Pick<Ready, 'snapshot' | 'entries' | 'hardState'>,
    count = entries.length,
    withHardState = true,
  ): void {
    if (snapshot !== undefined) {
      const { index, term, conf_state } = snapshot;
      const { hardState: before } = this.restored;
      const log = { entries: [], firstIndex: index + 1, prevTerm: term };
      this.restored = { hardState: before, ...log, appliedIndex: index, confState: conf_state! };
    }
    const written = entries.slice(0, count);
    const first = written[0]?.index;
    const { firstIndex } = this.restored;
    const kept = first === undefined ? this.restored.entries : this.restored.entries.slice(0, first - firstIndex);
    this.restored = {
      ...this.restored,
      entries: [...kept, ...written],
      hardState: withHardState && hardState !== undefined ? hardState : this.restored.hardState,
    };
  }

  /** The state machine has been saved at `index`. */
  save(index: number, confState: ConfState): void {
    this.restored = { ...this.restored, appliedIndex: index, confState };
  }

  /** The log is damaged, the state is not: a new log of that life takes its place (core/log/set-aside.ts). */
  loseLog(life: bigint): void {
    const { entries, firstIndex, prevTerm, appliedIndex, confState } = this.restored;
    const term = entries[appliedIndex - firstIndex]?.term ?? prevTerm;
    const hardState = { term, vote: 0n, commit: appliedIndex, refilling: life };
    this.restored = { hardState, entries: [], firstIndex: appliedIndex + 1, prevTerm: term, appliedIndex, confState };
  }

  /** The log up to `index` is thrown away. */
  compact(index: number): void {
    const { entries, firstIndex } = this.restored;
    if (index < firstIndex) return;
    const term = entries[index - firstIndex]!.term;
    const rest = { entries: entries.slice(index - firstIndex + 1), firstIndex: index + 1, prevTerm: term };
    this.restored = { ...this.restored, ...rest };
  }
}

export class Member {
  readonly id: bigint;
  readonly disk = new Disk();
  raft: Raft;
  /** Writes under way, oldest first. */
  writes: Ready[] = [];
  applied: Entry[] = [];
  /** The configurations it went through, each with the entry that began it. */
  confs: { index: number; conf: ConfState }[];
  reads: ReadState[] = [];
  /** Its messages, and those for it, are lost. */
  cut = false;
  readonly #config: RaftConfig;

  constructor(config: RaftConfig) {
    this.id = config.id;
    this.#config = config;
    this.confs = [{ index: 0, conf: confStateOf(config.voters) }];
    this.raft = new Raft(config, FRESH);
  }

  get appliedIndex(): number {
    return this.applied.length;
  }

  confAt(index: number): ConfState {
    return this.confs.findLast((at) => at.index <= index)!.conf;
  }

  /** Saves the state at `saved`, and forgets the log up to `index`. */
  compact(index: number, saved = index): void {
    this.disk.save(saved, this.confAt(saved));
    this.disk.compact(index);
    this.raft.compact(index);
  }

  /** Loses what is not durable, and starts again from the disk. */
  crash(): void {
    this.writes = [];
    this.reads = [];
    const { appliedIndex } = this.disk.restored;
    this.applied = this.applied.filter((entry) => entry.index <= appliedIndex);
    this.confs = this.confs.filter(({ index }) => index <= appliedIndex);
    this.raft = new Raft(this.#config, this.disk.restored);
  }

  /** The same with a log that is damaged. */
  loseLog(life: bigint): void {
    this.disk.loseLog(life);
    this.crash();
  }

  /** The same after a clean stop, with some settings changed. */
  restart(settings: Partial<RaftConfig>): void {
    Object.assign(this.#config, settings);
    for (const write of this.writes) this.disk.write(write);
    this.crash();
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
  /** What each change of the configuration led to, wherever it was applied. */
  readonly #confs = new Map<number, string>();
  readonly #options: ClusterOptions;

  constructor(size: number, options: ClusterOptions = {}) {
    this.#options = options;
    const ids = Array.from({ length: size }, (_, i) => BigInt(i + 1));
    for (const id of ids) this.members.set(id, new Member(raftConfig(id, ids, options)));
  }

  /** A machine that was set up to join: it knows nobody. */
  add(id: bigint | number): Member {
    const member = new Member(raftConfig(BigInt(id), [], this.#options));
    this.members.set(member.id, member);
    return member;
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
    this.network.push(...messages);
    this.#loseUnreachable();
  }

  #loseUnreachable(): void {
    for (const message of [...this.network])
      if (this.member(message.from).cut || this.members.get(message.to)?.cut !== false) this.lose(message);
  }

  /** A message under way is lost. Of a snapshot the sender hears that. */
  lose(message: Message): void {
    this.network.splice(this.network.indexOf(message), 1);
    if (message.type === MessageType.values.SNAPSHOT) this.raft(message.from).reportSnapshot(message.to, false);
  }

  #apply(member: Member, entry: Entry): void {
    assert(entry.index === (member.applied.at(-1)?.index ?? 0) + 1, 'applied without gaps');
    const known = this.#committed.get(entry.index);
    if (known === undefined) this.#committed.set(entry.index, entry);
    else assert(same(known, entry), `State Machine Safety: two nodes apply different entries at ${entry.index}`);
    member.applied.push(entry);
    if (entry.type === EntryType.values.CONF_CHANGE) {
      const conf = member.raft.applyConfChange(entry);
      this.#checkConf(entry.index, conf);
      member.confs.push({ index: entry.index, conf });
    }
    member.raft.applied(entry.index);
  }

  #checkConf(index: number, conf: ConfState): void {
    const text = JSON.stringify(conf, (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value));
    const known = this.#confs.get(index) ?? text;
    assert(known === text, `two configurations after entry ${index}: ${known}, ${text}`);
    this.#confs.set(index, text);
  }

  /** The oldest write of the node is durable. False without one. */
  persist(id: bigint): boolean {
    const member = this.member(id);
    const write = member.writes.shift();
    if (write === undefined) return false;
    member.disk.write(write);
    this.install(member, write);
    member.raft.persisted(write.sequence);
    this.check();
    return true;
  }

  /** The content of a snapshot takes the place of the state: here, what everybody knows to be committed. */
  install(member: Member, { snapshot }: Ready): void {
    if (snapshot === undefined) return;
    const { index, conf_state } = snapshot;
    assert(index >= member.appliedIndex, 'a snapshot takes back what was applied');
    member.applied = Array.from({ length: index }, (_, i) => this.#committed.get(i + 1)!);
    member.confs = [{ index, conf: conf_state! }];
  }

  /** The message arrives; of a snapshot the sender hears that it did. */
  deliver(message: Message): void {
    this.network.splice(this.network.indexOf(message), 1);
    this.raft(message.to).step(message);
    if (message.type === MessageType.values.SNAPSHOT) this.raft(message.from).reportSnapshot(message.to, true);
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
    this.#loseUnreachable();
  }

  /** Proposes a change at `id` and lets it happen. */
  change(id: bigint | number, change: ConfChange): void {
    expect(this.raft(id).proposeConfChange(change)).toBeUndefined();
    this.settle();
  }

  heal(): void {
    for (const member of this.members.values()) member.cut = false;
  }

  /** Figure 3 of the paper, as far as it can be seen from outside; State Machine Safety is checked where entries are applied. */
  check(): void {
    for (const { id, raft } of this.members.values()) {
      if (raft.role !== 'leader') continue;
      checkOneChange(raft);
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

/** A leader has at most one change of the configuration beyond what is committed. */
function checkOneChange({ log }: Raft): void {
  let changes = 0;
  for (let index = log.lastIndex; index > log.committed; index--)
    if (log.entry(index).type === EntryType.values.CONF_CHANGE) changes++;
  assert(changes <= 1, 'two changes of the configuration at a time');
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
  if (state === undefined) return '-';
  const text = `term ${state.term}, vote ${state.vote}, commit ${state.commit}`;
  if (state.refilling === undefined) return text;
  return `${text}, ${state.refilling === 0n ? 'refilled' : `refilling ${state.refilling}`}`;
}
