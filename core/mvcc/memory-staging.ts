/**
 * Staging without a disk, for the simulator and for tests: which MemoryDisk a member's state lies on, and how another one
 * takes its place. Owns nothing that a crash keeps but {@link MemoryPlace}.
 */
import { assert } from '../util/assert.ts';
import type { Backend } from './backend.ts';
import { MemoryBackend, MemoryDisk } from './memory-backend.ts';
import type { Staging } from './staging.ts';

/** Where a member keeps its state: what the next start opens. */
export class MemoryPlace {
  disk: MemoryDisk;

  constructor(disk: MemoryDisk = new MemoryDisk()) {
    this.disk = disk;
  }
}

export class MemoryStaging implements Staging {
  readonly #place: MemoryPlace;
  readonly #defer: (task: () => void) => void;
  readonly #makeDisk: () => MemoryDisk;
  #staged: MemoryBackend | undefined;

  /** `defer` as in MemoryBackend: an adoption has happened when its task has run. `makeDisk`: what a new state lies on. */
  constructor(place: MemoryPlace, defer: (task: () => void) => void, makeDisk = (): MemoryDisk => new MemoryDisk()) {
    this.#place = place;
    this.#defer = defer;
    this.#makeDisk = makeDisk;
  }

  begin(): Backend {
    assert(this.#staged === undefined, 'one state is staged at a time');
    this.#staged = new MemoryBackend(this.#defer, this.#makeDisk());
    return this.#staged;
  }

  adopt(backend: Backend, done: (error?: Error) => void): void {
    const { disk } = this.#take(backend);
    this.#defer(() => {
      this.#place.disk = disk;
      done();
    });
  }

  discard(backend: Backend): void {
    this.#take(backend).close(() => {});
  }

  retire(backend: Backend): void {
    backend.close(() => {});
  }

  #take(backend: Backend): MemoryBackend {
    const staged = this.#staged;
    assert(staged !== undefined && staged === backend, 'only what was begun can be adopted or discarded');
    this.#staged = undefined;
    return staged;
  }
}
