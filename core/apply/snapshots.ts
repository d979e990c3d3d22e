/**
 * Whole states on their way out and in: readers of the state in force, the one that is being received, and how it takes
 * the place of the other. Owns the order complete - durable - restored - adopted - in force, and when the backend that was
 * replaced may go. Never touches the state in force before the new one is adopted.
 */
import { RosterError } from '../errors.ts';
import type { Backend } from '../mvcc/backend.ts';
import type { Staging } from '../mvcc/staging.ts';
import type { StatePoint, StateReader, StateWriter } from '../node/machine.ts';
import { assert } from '../util/assert.ts';
import { type OpenState, type RestoredState, restoreState, type State } from './state.ts';
import { ViewReader } from './state-reader.ts';
import { StagedWriter } from './state-writer.ts';

export interface SnapshotsOptions {
  /** Without it no state can be received. */
  staging: Staging | undefined;
  open: OpenState;
  /** Received bytes that make one commit. */
  commitBytes: number;
  /** `state` is adopted: it is the one in force from now on. */
  onInstalled: (state: State, restored: RestoredState) => void;
  /** {@link Snapshots.work} has something to do again. */
  onWork: () => void;
}

/** A received state, durable, that is being read into memory. */
interface Installation {
  readonly state: State;
  readonly steps: Generator<number, RestoredState>;
  readonly done: (error?: Error) => void;
}

export class Snapshots {
  readonly #options: SnapshotsOptions;
  /** The backend in force. */
  #backend: Backend;
  /** Open readers of the backends that have any. */
  readonly #readers = new Map<Backend, number>();
  #received: StagedWriter | undefined;
  #installing = false;
  #installation: Installation | undefined;

  constructor(backend: Backend, options: SnapshotsOptions) {
    this.#backend = backend;
    this.#options = options;
  }

  /** See {@link Machine.read}. */
  read(): StateReader {
    const backend = this.#backend;
    const reader = new ViewReader(backend.view(), () => this.#readerClosed(backend));
    this.#readers.set(backend, (this.#readers.get(backend) ?? 0) + 1);
    return reader;
  }

  /** See {@link Machine.receive}. */
  receive(): StateWriter {
    assert(this.#received === undefined && !this.#installing, 'one state is received at a time');
    const backend = orError(() => this.#staging.begin());
    if (backend instanceof RosterError) return new RefusingWriter(backend);
    this.#received = new StagedWriter(backend, this.#options.commitBytes, () => {
      this.#received = undefined;
      this.#staging.discard(backend);
    });
    return this.#received;
  }

  /** See {@link Machine.install}. */
  install(writer: StateWriter, point: StatePoint, done: (error?: Error) => void): void {
    const received = this.#received;
    assert(received !== undefined && received === writer, 'what is installed has been received');
    this.#received = undefined;
    this.#installing = true;
    const { backend } = received;
    received.finish(point, (error) => {
      if (error === undefined) this.#begin(backend, done);
      else this.#abandon(backend, error, done);
    });
  }

  /** Whether {@link work} has anything to do. */
  get waiting(): boolean {
    return this.#installation !== undefined;
  }

  /** Reads some milliseconds' worth of a state that is being installed. */
  work(): void {
    const installation = this.#installation;
    if (installation === undefined) return;
    const { state, steps, done } = installation;
    const step = orError(() => steps.next());
    if (step instanceof RosterError) {
      this.#abandon(state.backend, step, done);
      return;
    }
    if (step.done !== true) return;
    const restored = step.value;
    this.#installation = undefined;
    this.#staging.adopt(state.backend, (error) => {
      this.#installing = false;
      if (error === undefined) this.#replace(state, restored);
      done(error);
    });
  }

  get #staging(): Staging {
    const { staging } = this.#options;
    assert(staging !== undefined, 'this machine was made without a place for states to be received');
    return staging;
  }

  #begin(backend: Backend, done: (error?: Error) => void): void {
    const state = orError(() => this.#options.open(backend));
    if (state instanceof RosterError) {
      this.#abandon(backend, state, done);
      return;
    }
    this.#installation = { state, steps: restoreState(state), done };
    this.#options.onWork();
  }

  /** The received state is no good. */
  #abandon(backend: Backend, error: Error, done: (error?: Error) => void): void {
    this.#installation = undefined;
    this.#installing = false;
    this.#staging.discard(backend);
    done(error);
  }

  #replace(state: State, restored: RestoredState): void {
    const old = this.#backend;
    this.#backend = state.backend;
    this.#options.onInstalled(state, restored);
    if (!this.#readers.has(old)) this.#staging.retire(old);
  }

  #readerClosed(backend: Backend): void {
    const left = (this.#readers.get(backend) ?? 0) - 1;
    if (left > 0) {
      this.#readers.set(backend, left);
      return;
    }
    this.#readers.delete(backend);
    if (backend !== this.#backend) this.#staging.retire(backend);
  }
}

/** Stands for a state that there is no place for. */
class RefusingWriter implements StateWriter {
  readonly congested = false;
  readonly #error: RosterError;

  constructor(error: RosterError) {
    this.#error = error;
  }

  write(): RosterError {
    return this.#error;
  }

  discard(): void {}
}

function orError<T>(run: () => T): T | RosterError {
  try {
    return run();
  } catch (error) {
    if (error instanceof RosterError) return error;
    throw error;
  }
}
