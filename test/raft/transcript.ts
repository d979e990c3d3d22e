/**
 * The language of the transcripts in testdata/: a block is commands, then `----`, then what happened, then a blank
 * line; `#` begins a comment. testdata/README.md lists them. After etcd's raft interaction tests.
 */
import { confChangeOf } from '../../core/raft/conf-change.ts';
import { type Message, MessageType, type Snapshot } from '../../core/raft/messages.ts';
import type { Ready } from '../../core/raft/ready.ts';
import { type Entry, EntryType } from '../../core/wire/stored.ts';
import { Cluster, type ClusterOptions, data, hardStateText, text } from './cluster.ts';
import { confChange, confChangeText, confText } from './conf-text.ts';

const TYPE_NAMES = new Map<number, string>(Object.entries(MessageType.values).map(([name, value]) => [value, name]));

function entryText(entry: Entry): string {
  if (entry.type === EntryType.values.CONF_CHANGE)
    return `${entry.index}/t${entry.term} {${confChangeText(confChangeOf(entry))}}`;
  return `${entry.index}/t${entry.term}${entry.data.length === 0 ? '' : ` ${JSON.stringify(data(entry))}`}`;
}

function entriesText(entries: readonly Entry[]): string {
  return `[${entries.map(entryText).join(', ')}]`;
}

function snapshotText({ index, term, conf_state }: Snapshot): string {
  return `snapshot of ${index}/t${term} with ${confText(conf_state!)}`;
}

function messageText(message: Message): string {
  const name = TYPE_NAMES.get(message.type)!;
  const parts = [`${message.from}->${message.to} ${name} term ${message.term}`];
  const place = `${message.index}/t${message.log_term}`;
  if (name === 'VOTE' || name === 'PRE_VOTE') parts.push(`log ends at ${place}`);
  if (name.endsWith('VOTE_RESPONSE')) parts.push(message.reject ? 'refused' : 'granted');
  if (name === 'APPEND') parts.push(`after ${place}`, `commit ${message.commit}`, entriesText(message.entries));
  if (name === 'APPEND_RESPONSE') {
    if (message.needs_snapshot) parts.push('needs a snapshot');
    else if (message.reject)
      parts.push(`refused after ${message.index}`, `try ${message.reject_hint}/t${message.log_term}`);
    else parts.push(`holds up to ${message.index}`);
  }
  if (name === 'HEARTBEAT') parts.push(`commit ${message.commit}`);
  if (message.snapshot !== undefined) parts.push(snapshotText(message.snapshot));
  if (message.transfer) parts.push('for the leader');
  if (message.refill > 0n) parts.push(`${name === 'APPEND' ? 'refilled' : 'refilling'} ${message.refill}`);
  if (message.context > 0) parts.push(`read round ${message.context}`);
  return parts.join(', ');
}

export class Transcript {
  #cluster = new Cluster(1);
  readonly #out: string[] = [];
  /** Nodes whose writes wait for a `persist`. */
  readonly #slowDisks = new Set<bigint>();

  /** Runs the commands of one block and returns the account of it. */
  run(commands: readonly string[]): string {
    this.#out.length = 0;
    for (const command of commands) {
      const [name, ...words] = command.split(/\s+/);
      const handler = this.#commands[name!];
      if (handler === undefined) throw new Error(`unknown command: ${command}`);
      handler(words);
    }
    return this.#out.length === 0 ? 'ok' : this.#out.join('\n');
  }

  readonly #commands: Record<string, (words: string[]) => void> = {
    nodes: ([size, ...settings]) => this.#create(Number(size), settings),
    campaign: ([id]) => this.#raft(id).campaign(),
    tick: ([id, count = '1']) => {
      for (let i = 0; i < Number(count); i++) this.#raft(id).tick();
    },
    propose: ([id, ...values]) => {
      this.#refusal(id, this.#raft(id).propose(values.map(text)));
    },
    add: ([id]) => void this.#cluster.add(Number(id)),
    change: ([id, ...words]) => this.#refusal(id, this.#raft(id).proposeConfChange(confChange(words.join(' ')))),
    leave: ([id]) => this.#refusal(id, this.#raft(id).proposeConfChange(confChange(''))),
    transfer: ([id, to]) => this.#refusal(id, this.#raft(id).transferLeadership(BigInt(to!))),
    unreachable: ([id, to]) => this.#raft(id).reportUnreachable(BigInt(to!)),
    read: ([id, context]) => {
      this.#refusal(id, this.#raft(id).readIndex(BigInt(context!)));
    },
    ready: ([id]) => {
      if (this.#raft(id).hasReady()) this.#ready(BigInt(id!));
      else this.#say(`${id} has nothing to do`);
    },
    persist: ([id, count = '1']) => {
      for (let i = 0; i < Number(count); i++) this.#persist(BigInt(id!));
    },
    deliver: (words) => {
      for (const message of this.#matching(words)) this.#deliver(message);
    },
    drop: (words) => {
      for (const message of this.#matching(words)) {
        this.#cluster.lose(message);
        this.#say(`lost: ${messageText(message)}`);
      }
    },
    settle: () => this.#settle(),
    quietly: ([name, ...words]) => {
      const length = this.#out.length;
      this.#commands[name!]!(words);
      this.#out.length = length;
    },
    crash: ([id]) => {
      const member = this.#cluster.member(BigInt(id!));
      const { writes } = member;
      member.crash();
      const { entries, hardState } = member.disk.restored;
      this.#say(
        `${id} loses ${writes.length} writes; its disk has ${entriesText(entries)}, ${hardStateText(hardState)}`,
      );
    },
    'lose-log': ([id, life]) => {
      const member = this.#cluster.member(BigInt(id!));
      member.loseLog(BigInt(life!));
      this.#say(`${id} begins again after ${member.appliedIndex}, ${hardStateText(member.disk.restored.hardState)}`);
    },
    compact: ([id, index]) => {
      this.#cluster.member(BigInt(id!)).compact(Number(index));
    },
    cut: (ids) => this.#cluster.cut(...ids.map(Number)),
    heal: () => this.#cluster.heal(),
    'slow-disk': ([id]) => void this.#slowDisks.add(BigInt(id!)),
    'fast-disk': ([id]) => void this.#slowDisks.delete(BigInt(id!)),
    status: () => {
      for (const { id, raft } of this.#cluster.members.values())
        this.#say(`${id} ${raft.role}, term ${raft.term}, leader ${raft.leader}, commit ${raft.committed}`);
    },
    members: ([id]) => {
      const raft = this.#raft(id);
      this.#say(`${id} has ${confText(raft.confState)}`);
      for (const other of this.#cluster.members.keys()) {
        const progress = other === raft.id ? undefined : raft.progress(other);
        if (progress === undefined) continue;
        const refilling = progress.refilling > 0n ? `, refilling ${progress.refilling}` : '';
        this.#say(`  ${other} ${progress.state}, match ${progress.match}${refilling}`);
      }
    },
    log: ([id]) => {
      const { log } = this.#raft(id);
      const entries: Entry[] = [];
      for (let index = log.firstIndex; index <= log.lastIndex; index++) entries.push(log.entry(index));
      this.#say(`${id} ${entriesText(entries)}, commit ${log.committed}, on disk up to ${log.stable}`);
    },
  };

  #create(size: number, settings: string[]): void {
    const options: Record<string, boolean | number> = {};
    for (const setting of settings) {
      const [name, value] = setting.split('=');
      options[name!] = value === undefined ? true : Number(value);
    }
    this.#cluster = new Cluster(size, options as ClusterOptions);
  }

  #raft(id: string | undefined) {
    return this.#cluster.raft(BigInt(id!));
  }

  #refusal(id: string | undefined, refusal: Error | undefined): void {
    if (refusal !== undefined) this.#say(`${id} refuses: ${refusal.message}`);
  }

  #say(line: string): void {
    this.#out.push(line);
  }

  /** `deliver 2` (all for node 2), `deliver 1->2`, `deliver 1->2 VOTE`. */
  #matching([route, type]: string[]): Message[] {
    const [from, to] = route!.includes('->') ? route!.split('->') : ['', route];
    return this.#cluster.network.filter(
      (message) =>
        (from === '' || message.from === BigInt(from!)) &&
        (to === '' || message.to === BigInt(to!)) &&
        (type === undefined || TYPE_NAMES.get(message.type) === type),
    );
  }

  #ready(id: bigint): void {
    const raft = this.#cluster.raft(id);
    const before = raft.role;
    const ready = this.#cluster.ready(id);
    this.#tellReady(id, ready);
    if (raft.role !== before) this.#say(`${id} becomes ${raft.role} of term ${raft.term}`);
  }

  #tellReady(id: bigint, ready: Ready): void {
    if (ready.sequence > 0) {
      const what = [];
      if (ready.snapshot !== undefined) what.push(snapshotText(ready.snapshot));
      if (ready.entries.length > 0) what.push(entriesText(ready.entries));
      if (ready.hardState !== undefined) what.push(hardStateText(ready.hardState));
      this.#say(`${id} writes #${ready.sequence}: ${what.join('; ')}`);
    }
    for (const message of ready.messages) this.#say(`  ${messageText(message)}`);
    if (ready.committedEntries.length > 0) this.#say(`${id} applies ${entriesText(ready.committedEntries)}`);
    for (const { index, type } of ready.committedEntries)
      if (type === EntryType.values.CONF_CHANGE)
        this.#say(`${id} has ${confText(this.#cluster.member(id).confAt(index))}`);
    for (const { context, index } of ready.readStates) this.#say(`${id} may serve read ${context} at ${index}`);
  }

  #persist(id: bigint): void {
    const raft = this.#cluster.raft(id);
    const before = raft.role;
    const write = this.#cluster.member(id).writes[0];
    if (write === undefined) {
      this.#say(`${id} has no write under way`);
      return;
    }
    this.#cluster.persist(id);
    this.#say(`${id} has #${write.sequence} on disk`);
    this.#tellRole(id, before);
  }

  #deliver(message: Message): void {
    const before = this.#cluster.raft(message.to).role;
    this.#cluster.deliver(message);
    this.#tellRole(message.to, before);
  }

  #tellRole(id: bigint, before: string): void {
    const { role, term } = this.#cluster.raft(id);
    if (role !== before) this.#say(`${id} becomes ${role} of term ${term}`);
  }

  /** Until nothing moves; slow disks do not. */
  #settle(): void {
    for (let moved = true; moved; ) {
      moved = false;
      for (const { id, raft, writes } of this.#cluster.members.values()) {
        for (; raft.hasReady(); moved = true) this.#ready(id);
        for (; writes.length > 0 && !this.#slowDisks.has(id); moved = true) this.#persist(id);
      }
      for (const message of [...this.#cluster.network]) {
        if (!this.#cluster.network.includes(message)) continue;
        this.#deliver(message);
        moved = true;
      }
    }
  }
}
