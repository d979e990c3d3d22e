/**
 * What is done to a cluster: each fault begins, lasts a while and is taken back, on its own or beside another one. Counts
 * what really happened.
 */
import { sleep } from '../../../client/wait.ts';
import type { Prng } from '../../../core/util/prng.ts';
import type { Cluster } from './cluster.ts';
import type { SmallDisk } from './disk.ts';
import type { Member } from './processes.ts';

export type FaultKind =
  | 'kill'
  | 'kill leader'
  | 'kill all'
  | 'pause'
  | 'pause leader'
  | 'partition'
  | 'one-way partition'
  | 'leader isolated'
  | 'cut links'
  | 'slow links'
  | 'terminate'
  | 'replace member'
  | 'full disk'
  | 'slow disk';

/** Part of a run's figures: how many kills, pauses and partitions a fault is, beside its own count. */
export interface Tally {
  readonly byKind: Map<FaultKind, number>;
  kills: number;
  pauses: number;
  partitions: number;
  /** Times the member with a disk of its own ended by itself. */
  gaveUp: number;
}

export function newTally(): Tally {
  return { byKind: new Map(), kills: 0, pauses: 0, partitions: 0, gaveUp: 0 };
}

const PAUSE_MIN_MS = 100;
const PAUSE_MAX_MS = 5_000;
/** Up to several election timeouts. */
const PARTITION_MIN_MS = 300;
const PARTITION_MAX_MS = 4_000;
const DOWN_MAX_MS = 2_000;
const LOOK_EVERY_MS = 100;
const DISK_MIN_MS = 500;
const DISK_MAX_MS = 3_000;

export class Faults {
  readonly tally = newTally();
  readonly #cluster: Cluster;
  readonly #prng: Prng;
  readonly #disk: SmallDisk | undefined;
  readonly #bulk: (signal: AbortSignal) => Promise<void>;
  /** Members a fault is busy with: two faults never stop and start the same process. */
  readonly #busy = new Set<Member>();

  /** `bulk` makes the members' disks grow until it is told to stop. */
  constructor(cluster: Cluster, prng: Prng, disk: SmallDisk | undefined, bulk: (signal: AbortSignal) => Promise<void>) {
    this.#cluster = cluster;
    this.#prng = prng;
    this.#disk = disk;
    this.#bulk = bulk;
  }

  /** From the first moment of the fault until it has been taken back; the cluster may need longer to recover. */
  async run(kind: FaultKind): Promise<void> {
    this.tally.byKind.set(kind, (this.tally.byKind.get(kind) ?? 0) + 1);
    switch (kind) {
      case 'kill':
        return this.#killOne(this.#someone());
      case 'kill leader':
        return this.#killOne(await this.#leaderOrSomeone());
      case 'kill all':
        return this.#killAll();
      case 'pause':
        return this.#pause(this.#someone());
      case 'pause leader':
        return this.#pause(await this.#leaderOrSomeone());
      case 'terminate':
        return this.#terminate(this.#prng.int(2) === 0 ? this.#someone() : await this.#leaderOrSomeone());
      case 'replace member':
        return this.#replace();
      case 'full disk':
        return this.#fullDisk();
      case 'slow disk':
        return this.#slowDisk();
      default:
        return this.#disturbLinks(kind);
    }
  }

  /**
   * Starts a member again that has ended by itself, as the host's service manager would: it should when its disk takes
   * nothing more. Until `signal` fires.
   */
  async lookAfter(member: Member, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(LOOK_EVERY_MS, signal);
      if (member.running || this.#busy.has(member) || signal.aborted) continue;
      this.tally.gaveUp++;
      member.start();
    }
  }

  #between(minMs: number, maxMs: number): number {
    return minMs + this.#prng.int(maxMs - minMs);
  }

  #pick<T>(from: readonly T[]): T | undefined {
    return from.length === 0 ? undefined : from[this.#prng.int(from.length)];
  }

  #someone(): Member | undefined {
    return this.#pick(this.#cluster.members.filter((member) => member.running && !this.#busy.has(member)));
  }

  async #leaderOrSomeone(): Promise<Member | undefined> {
    const leader = await this.#cluster.currentLeader();
    return leader?.running && !this.#busy.has(leader) ? leader : this.#someone();
  }

  async #with(members: readonly Member[], action: () => Promise<void>): Promise<void> {
    for (const member of members) this.#busy.add(member);
    try {
      await action();
    } finally {
      for (const member of members) this.#busy.delete(member);
    }
  }

  async #killOne(member: Member | undefined): Promise<void> {
    if (member === undefined) return;
    await this.#with([member], async () => {
      await member.kill();
      this.tally.kills++;
      await sleep(this.#prng.int(DOWN_MAX_MS));
      member.start();
    });
  }

  /** All that run, as near to one moment as signals come. */
  async #killAll(): Promise<void> {
    const members = this.#cluster.members.filter((member) => member.running && !this.#busy.has(member));
    await this.#with(members, async () => {
      await Promise.all(members.map((member) => member.kill()));
      this.tally.kills += members.length;
      await sleep(this.#prng.int(500));
      for (const member of members) member.start();
    });
  }

  async #pause(member: Member | undefined): Promise<void> {
    if (member === undefined) return;
    await this.#with([member], async () => {
      member.pause();
      this.tally.pauses++;
      // Short ones are the common ones.
      const longest = this.#prng.int(3) === 0 ? PAUSE_MAX_MS : PAUSE_MAX_MS / 4;
      await sleep(this.#between(PAUSE_MIN_MS, longest));
      member.resume();
    });
  }

  async #terminate(member: Member | undefined): Promise<void> {
    if (member === undefined) return;
    await this.#with([member], async () => {
      await member.terminate();
      await sleep(this.#prng.int(500));
      member.start();
    });
  }

  async #replace(): Promise<void> {
    // The first member's place may be a disk of its own.
    const member = this.#pick(this.#cluster.members.slice(1).filter((one) => one.running && !this.#busy.has(one)));
    if (member === undefined) return;
    await this.#with([member], async () => {
      await this.#cluster.removeMember(member);
      await this.#cluster.addMember(this.#prng.int(2) === 0);
    });
  }

  async #fullDisk(): Promise<void> {
    const disk = this.#disk;
    const member = this.#cluster.members[0]!;
    if (disk === undefined || this.#busy.has(member)) return;
    await this.#with([member], async () => {
      await disk.fill();
      await this.#bulk(AbortSignal.timeout(this.#between(DISK_MIN_MS, DISK_MAX_MS)));
      await disk.free();
    });
  }

  /** Writes stand still for a moment, again and again. */
  async #slowDisk(): Promise<void> {
    const disk = this.#disk;
    const member = this.#cluster.members[0]!;
    if (disk === undefined || this.#busy.has(member)) return;
    await this.#with([member], async () => {
      const until = performance.now() + this.#between(DISK_MIN_MS, DISK_MAX_MS);
      while (performance.now() < until) {
        await disk.freeze();
        await sleep(this.#between(20, 400));
        await disk.thaw();
        await sleep(this.#between(10, 100));
      }
    });
  }

  async #disturbLinks(kind: FaultKind): Promise<void> {
    const links = this.#cluster.links;
    if (links === undefined) return;
    const names = this.#cluster.members.map(({ name }) => name);
    const leader = (await this.#cluster.currentLeader())?.name;
    const pairs = this.#pairsOf(kind, names, leader);
    if (kind !== 'slow links') this.tally.partitions++;
    for (const [one, other] of pairs) {
      if (kind === 'cut links') links.cut(one, other);
      else if (kind === 'slow links') {
        links.set(one, other, { kind: 'slow', delayMs: this.#between(1, 100), bytesPerSecond: 1_000_000 });
      } else links.set(one, other, { kind: 'stalled' });
    }
    await sleep(this.#between(PARTITION_MIN_MS, PARTITION_MAX_MS));
    // What was held up arrives late, or never.
    const late = this.#prng.int(2) === 0;
    for (const [one, other] of pairs) {
      if (!late) links.reset(one, other);
      links.restore(one, other);
    }
  }

  /** Which members no longer hear which: `[from, to]`. */
  #pairsOf(kind: FaultKind, names: readonly string[], leader: string | undefined): [string, string][] {
    const shuffled = [...names].sort(() => this.#prng.int(3) - 1);
    const alone = leader ?? shuffled[0]!;
    const others = (name: string): string[] => names.filter((other) => other !== name);
    switch (kind) {
      case 'one-way partition': {
        const one = this.#prng.int(2) === 0 ? alone : shuffled[0]!;
        const deaf = this.#prng.int(2) === 0;
        return others(one).map((other) => (deaf ? [other, one] : [one, other]));
      }
      case 'leader isolated':
      case 'slow links':
        return others(alone).flatMap((other) => bothWays(alone, other));
      default: {
        const size = 1 + this.#prng.int(names.length - 1);
        const [side, rest] = [shuffled.slice(0, size), shuffled.slice(size)];
        return side.flatMap((one) => rest.flatMap((other) => bothWays(one, other)));
      }
    }
  }
}

function bothWays(one: string, other: string): [string, string][] {
  return [
    [one, other],
    [other, one],
  ];
}
