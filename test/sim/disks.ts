/**
 * The disks of one member: the log's, which tears, stalls, fills up, forgets and rots, and the place of its state. Owns
 * what a crash leaves. Decides nothing by itself: the nemesis does, and the seed.
 */
import { MemoryDisk as LogDisk } from '../../core/log/memory-disk.ts';
import { type Recovered, recover } from '../../core/log/recover.ts';
import { MemoryDisk as BackendDisk } from '../../core/mvcc/memory-backend.ts';
import { MemoryPlace } from '../../core/mvcc/memory-staging.ts';
import { BTree } from '../../core/util/btree.ts';
import type { Prng } from '../../core/util/prng.ts';
import type { Host } from './host.ts';
import { check } from './violation.ts';

/** Runs what a production start does in steps. */
export function run<R>(steps: Generator<unknown, R>): R {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

export class Disks {
  readonly place: MemoryPlace;
  readonly #host: Host;
  readonly #prng: Prng;
  #log: LogDisk;
  #stalledUntilMs = 0;
  /** Damaged so that a start must refuse it: how to undo that. */
  #rot: (() => void) | undefined;
  /** What a disk that lies still has, oldest first. */
  #copies: LogDisk[] = [];

  /** `later` runs something on the member when it is still alive then. */
  constructor(host: Host, prng: Prng, later: (delayMs: number, task: () => void) => void) {
    this.#host = host;
    this.#prng = prng;
    const { sectorBytes, diskMs } = host.settings;
    const defer = (finish: () => void) => {
      const stalledMs = Math.max(0, this.#stalledUntilMs - host.time.nowMs);
      later(stalledMs + prng.float() * diskMs, finish);
    };
    this.#log = new LogDisk({ sectorBytes, defer });
    this.place = new MemoryPlace(this.#newBackendDisk());
  }

  get log(): LogDisk {
    return this.#log;
  }

  #newBackendDisk(): BackendDisk {
    const disk = new BackendDisk();
    if (this.#host.bug.commitLosesKeys !== true) return disk;
    const write = disk.write.bind(disk);
    disk.write = (generation) => write({ rows: { ...generation.rows, key: new BTree() } } as typeof generation);
    return disk;
  }

  /** What a crash leaves: with the power, or the process alone. Of what the disk was doing, chance decides. */
  crash(powerLoss: boolean): void {
    const chance = this.#prng.int(4);
    const survives = () => (chance === 0 ? false : chance === 1 ? true : this.#prng.int(2) === 0);
    if (this.#log.pending.length > 0) this.#host.tally.count('crashWithPendingWrites');
    const real = powerLoss ? this.#log.afterPowerLoss(survives) : this.#log.afterKill(survives);
    this.#log = (powerLoss ? this.#copies[0]?.afterPowerLoss(() => false) : undefined) ?? real;
  }

  /** Nothing that is asked of the log's disk is done before then. */
  stallUntil(ms: number): void {
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, ms);
  }

  /** Room for nothing more than there is. */
  fill(): void {
    this.#log.capacityBytes = this.#log.list().reduce((bytes, name) => bytes + this.#log.size(name), 0);
  }

  free(): void {
    this.#log.capacityBytes = Number.POSITIVE_INFINITY;
    this.#stalledUntilMs = 0;
  }

  /** Damaged so that a start must refuse it. */
  get rotten(): boolean {
    return this.#rot !== undefined;
  }

  /** The damage is repaired from a copy that somebody had. */
  restore(): void {
    this.#rot?.();
    this.#rot = undefined;
  }

  /** The damaged log is not wanted back any more. */
  accept(): void {
    this.#rot = undefined;
  }

  /** The next write to the log fails. */
  failSync(): void {
    this.#log.failNext('write', new Error('sync: input/output error'));
  }

  /** From now on a loss of power takes what was confirmed since the last but one call. */
  keepCopy(): void {
    this.#copies = [...this.#copies, this.#log.afterPowerLoss(() => false)].slice(-2);
  }

  /**
   * One bit of the log of a dead member is not what it was. A start must refuse that, or find all there was - but for the
   * last record, of which nobody can tell damage from a write that a crash cut short: that case is left alone. With
   * `forGood` damage that is refused stays.
   */
  rot(forGood: boolean): void {
    const before = run(recover(this.#log));
    const names = this.#log.list();
    if (before.kind !== 'recovered' || names.length === 0) return;
    const name = names[this.#prng.int(names.length)]!;
    const [offset, mask] = [this.#prng.int(this.#log.size(name)), 1 << this.#prng.int(8)];
    this.#log.corrupt(name, offset, mask);
    const after = run(recover(this.#log));
    const refused = after.kind === 'damaged';
    this.#host.tally.count(refused ? 'rotRefused' : 'rotHarmless');
    if (!refused) {
      const kept = after.kind === 'recovered' && after.tail.sequence >= before.tail.sequence - 1;
      check(kept, 'log', () => `a bit of ${name} at ${offset} takes more than the last record, and nobody says so`);
      if (after.tail.sequence === before.tail.sequence) sameLog(before, after, `${name} at ${offset}`);
    }
    const undo = () => this.#log.corrupt(name, offset, mask);
    if (refused && forGood) this.#rot = undo;
    else undo();
  }
}

function sameLog(before: Recovered, after: Recovered, where: string): void {
  const textOf = ({ entries, hardState, prevIndex, prevTerm }: Recovered) =>
    `${prevIndex} ${prevTerm} ${hardState.term} ${hardState.vote} ${hardState.commit} ${entries
      .map(({ index, term, type, data }) => `${index} ${term} ${type} ${Buffer.from(data).toString('latin1')}`)
      .join()}`;
  check(textOf(before) === textOf(after), 'log', () => `a bit of ${where} changes what the log says`);
}
