/**
 * Members and a network between them that the test moves by hand: messages arrive when they are carried, and any of them
 * may be lost, held back, doubled or changed on the way. All pass through their wire format.
 */
import { type PeerMessage, PeerMessage as PeerMessageFormat } from '../../core/node/peer-message.ts';
import { assert } from '../../core/util/assert.ts';
import { decode, encode } from '../../core/wire/binary.ts';
import { Bench, type Harness } from './world.ts';

export type Matches = (message: PeerMessage) => boolean;
/** What arrives instead of a message; `undefined`: not this rule's business. */
type Rule = (message: PeerMessage) => readonly PeerMessage[] | undefined;

/** Messages held back, and how to hold back no more. */
export interface Held {
  readonly messages: PeerMessage[];
  end(): void;
}

const ROUNDS_MAX = 10_000;
const TICKS_MAX = 200;

export class Cluster {
  readonly benches: Bench[] = [];
  /** Members nobody reaches. */
  readonly cut = new Set<bigint>();
  /** Whose commits and snapshots are finished as soon as they are begun. */
  disksFinish: (bench: Bench) => boolean = () => true;
  readonly #harness: Harness;
  #rules: Rule[] = [];
  #starts = 0;

  constructor(harness: Harness = {}, voters: readonly bigint[] = [1n, 2n, 3n]) {
    this.#harness = harness;
    for (const id of voters) this.#begin({ voters, id });
  }

  #begin(harness: Harness & { id: bigint }): Bench {
    const { id } = harness;
    // A clock never shows the same time twice, or ids would not differ.
    const nowMs = 1_700_000_000_000 + 1000 * this.#starts++;
    const bench = new Bench({ seed: Number(id), nowMs, ...this.#harness, ...harness });
    const at = this.benches.findIndex(({ node }) => node.id === id);
    if (at >= 0) this.benches[at] = bench;
    else this.benches.push(bench);
    bench.node.start();
    return bench;
  }

  /** A member that waits to be told of the cluster it is in. */
  join(id: bigint, harness: Harness = {}): Bench {
    return this.#begin({ voters: [], ...harness, id });
  }

  bench(id: bigint | number): Bench {
    const bench = this.benches.find(({ node }) => node.id === BigInt(id));
    assert(bench !== undefined, 'no such member');
    return bench;
  }

  get leader(): Bench {
    const leader = this.benches.find(({ node, isLeader }) => !this.cut.has(node.id) && isLeader);
    assert(leader !== undefined, 'nobody leads');
    return leader;
  }

  /** Those that neither lead nor are cut off. */
  get followers(): [Bench, Bench, ...Bench[]] {
    return this.benches.filter(({ node, isLeader }) => !this.cut.has(node.id) && !isLeader) as [Bench, Bench];
  }

  /** The process ends at once; of the writes under way the oldest `keep` had reached the disk. */
  restart(id: bigint | number, keep = 0, harness: Harness = {}): Bench {
    const { wal, machine, node } = this.bench(id);
    wal.keep(keep);
    wal.closed = false;
    return this.#begin({ ...harness, wal, machine: machine.crash(), id: node.id });
  }

  // ---- the network

  #rule(rule: Rule): () => void {
    this.#rules.push(rule);
    return () => {
      this.#rules = this.#rules.filter((other) => other !== rule);
    };
  }

  /** Loses the next `count` messages of this kind. */
  lose(matches: Matches, count = Number.POSITIVE_INFINITY): () => void {
    return this.#rule((message) => (matches(message) && count-- > 0 ? [] : undefined));
  }

  /** Holds back messages of this kind, until told otherwise. */
  hold(matches: Matches): Held {
    const messages: PeerMessage[] = [];
    const end = this.#rule((message) => {
      if (!matches(message)) return undefined;
      messages.push(message);
      return [];
    });
    return { messages, end };
  }

  /** Changes messages on their way, doubles them, and so on. */
  change(matches: Matches, change: (message: PeerMessage) => readonly PeerMessage[]): () => void {
    return this.#rule((message) => (matches(message) ? change(message) : undefined));
  }

  /** Copies of all messages of this kind that are sent from now on; they arrive all the same. */
  watch(matches: Matches): PeerMessage[] {
    const seen: PeerMessage[] = [];
    this.#rule((message) => {
      if (matches(message)) seen.push(message);
      return undefined;
    });
    return seen;
  }

  /** What has been sent arrives, as far as it does. */
  carry(): boolean {
    let moved = false;
    for (const bench of this.benches)
      for (const message of bench.sent.splice(0)) {
        if (this.cut.has(message.from) || this.cut.has(message.to)) continue;
        for (const each of this.#routed(message)) this.deliver(each);
        moved = true;
      }
    return moved;
  }

  #routed(message: PeerMessage): readonly PeerMessage[] {
    for (const rule of this.#rules) {
      const arriving = rule(message);
      if (arriving !== undefined) return arriving;
    }
    return [message];
  }

  /** Arrives now, whatever the network is like. */
  deliver(...messages: readonly PeerMessage[]): void {
    for (const message of messages) {
      const target = this.benches.find(({ node }) => node.id === message.to);
      target?.node.step(decode(PeerMessageFormat, encode(PeerMessageFormat, message)));
    }
  }

  // ---- time

  /** Everything moves but time, until nothing is left to move. */
  settle(): void {
    for (let round = 0; this.#round(); round++) assert(round < ROUNDS_MAX, 'the members never come to rest');
  }

  #round(): boolean {
    let moved = false;
    for (const bench of this.benches) {
      moved ||= bench.turns.length > 0 || bench.wal.writes.length > 0 || bench.idle.length > 0;
      bench.settle();
      bench.rest();
      if (!this.disksFinish(bench)) continue;
      while (bench.machine.commits.length > 0) bench.machine.finishCommit();
      while (bench.machine.installs.length > 0) bench.machine.finishInstall();
    }
    return this.carry() || moved;
  }

  /** Time passes, for all unless others are named. */
  tick(count = 1, benches: readonly Bench[] = this.benches): void {
    for (let i = 0; i < count; i++) {
      for (const bench of benches) bench.tick();
      this.settle();
    }
  }

  /** Lets time pass until one of the reachable members leads, its first entry applied. */
  elect(benches: readonly Bench[] = this.benches): Bench {
    for (let tick = 0; tick < TICKS_MAX; tick++) {
      const leader = this.benches.find(({ node, isLeader }) => !this.cut.has(node.id) && isLeader);
      if (leader !== undefined) return leader;
      this.tick(1, benches);
    }
    throw new Error('nobody leads');
  }

  /** Nobody reaches the leader any more, and another takes over before the old one notices. */
  depose(): Bench {
    const old = this.leader;
    this.cut.add(old.node.id);
    return this.elect(this.benches.filter((bench) => bench !== old));
  }

  /** Everybody is reached again, and time for the old leader to notice. */
  heal(): void {
    this.cut.clear();
    this.#rules = [];
    this.tick(3);
  }
}

/** Messages of one kind: `part('forward')`. */
export function part(name: Exclude<keyof PeerMessage, 'from' | 'to' | 'snapshot'>): Matches {
  return (message) => message[name] !== undefined;
}
