/**
 * The order of what reaches the disk: writes of the log as Raft numbers them, and snapshots, which first replace the
 * state and then the log. While a snapshot is being put in force later writes wait. Owns the hard state last written.
 */
import type { RosterError } from '../errors.ts';
import type { Ready } from '../raft/ready.ts';
import { assert } from '../util/assert.ts';
import type { HardState } from '../wire/stored.ts';
import { backendFailure, walFailure } from './failures.ts';
import type { StatePoint, StateWriter } from './machine.ts';
import type { World } from './world.ts';

export interface LogWriterEvents {
  /** Write `sequence` and all before it are durable. */
  persisted(sequence: number): void;
  /** Runs `run` when nobody else touches the state's disk, which lasts until `installed`. */
  quiet(run: () => void): void;
  /** The state is now that of a snapshot, and the log begins after it; `persisted` follows. */
  installed(point: StatePoint): void;
  failed(error: RosterError): void;
}

export class LogWriter {
  readonly #world: Pick<World, 'wal' | 'machine'>;
  readonly #events: LogWriterEvents;
  #hardState: HardState;
  #installing = false;
  #held: Ready[] = [];
  #inFlight = 0;
  #failed = false;

  constructor(world: Pick<World, 'wal' | 'machine'>, hardState: HardState | undefined, events: LogWriterEvents) {
    this.#world = world;
    this.#hardState = hardState ?? { term: 0, vote: 0n, commit: 0 };
    this.#events = events;
  }

  /** Writes on their way to the disk. */
  get inFlight(): number {
    return this.#inFlight;
  }

  get installing(): boolean {
    return this.#installing;
  }

  /** Writes what `ready` has for the log. `content` is there when there is a snapshot. */
  write(ready: Ready, content: StateWriter | undefined): void {
    this.#inFlight++;
    if (this.#installing) this.#held.push(ready);
    else if (ready.snapshot !== undefined) this.#install(ready, content);
    else this.#append(ready);
  }

  #append(ready: Ready): void {
    if (ready.hardState !== undefined) this.#hardState = ready.hardState;
    this.#world.wal.append(ready.entries, ready.hardState, (error) => this.#written(ready, error));
  }

  #written(ready: Ready, error: Error | undefined): void {
    if (this.#failed) return;
    if (error !== undefined) {
      this.#fail(walFailure(error));
      return;
    }
    this.#inFlight--;
    this.#events.persisted(ready.sequence);
  }

  /** Reliability rule: the snapshot is durable before the log forgets what it stands for. */
  #install(ready: Ready, content: StateWriter | undefined): void {
    const { index, term, conf_state: conf } = ready.snapshot!;
    assert(content !== undefined && conf !== undefined, 'node: a snapshot to install whose content is not here');
    this.#installing = true;
    const point = { index, term, conf };
    this.#events.quiet(() => {
      this.#world.machine.install(content, point, (error) => {
        if (this.#failed) return;
        if (error !== undefined) {
          this.#fail(backendFailure(error));
          return;
        }
        assert(this.#world.machine.appliedIndex === index, 'node: the machine is not where its snapshot ends');
        this.#reset(ready, point);
      });
    });
  }

  #reset(ready: Ready, point: StatePoint): void {
    const { wal, machine } = this.#world;
    const hardState = ready.hardState ?? this.#hardState;
    this.#hardState = { ...hardState, commit: point.index };
    wal.reset(point.index, point.term, this.#hardState, (error) => {
      if (error === undefined && !this.#failed) {
        machine.installed();
        this.#events.installed(point);
      }
      if (ready.entries.length === 0) this.#written(ready, error);
      else if (error !== undefined) this.#fail(walFailure(error));
    });
    // Entries that came after the snapshot are written behind it; they end this write.
    if (ready.entries.length > 0) this.#append(ready);
    this.#installing = false;
    for (const held of this.#held.splice(0)) {
      assert(held.snapshot === undefined, 'node: a snapshot while another is being installed');
      this.#append(held);
    }
  }

  #fail(error: RosterError): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#events.failed(error);
  }
}
