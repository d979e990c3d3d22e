/**
 * Staging on LMDB: received states in folders of their own beside the database, and the step by which one becomes the
 * database. Owns which backends of this process are open, and the removal of folders that nobody needs any more.
 */
import fs from 'node:fs';
import type { Backend } from '../../core/mvcc/backend.ts';
import type { Staging } from '../../core/mvcc/staging.ts';
import { assert } from '../../core/util/assert.ts';
import type { DbFolder } from './db-folder.ts';
import { diskError } from './disk-error.ts';
import { LmdbBackend } from './lmdb-backend.ts';

export interface LmdbStagingOptions {
  folder: DbFolder;
  /** A folder could not be removed: the next start does it. */
  warn: (error: Error) => void;
  /** A commit of any of them has ended. */
  onCommit?: (ms: number) => void;
}

export class LmdbStaging implements Staging {
  /** The backend in force at first. */
  readonly first: Backend;
  readonly #folder: DbFolder;
  readonly #warn: (error: Error) => void;
  readonly #onCommit: ((ms: number) => void) | undefined;
  /** Every open backend and its folder. */
  readonly #open = new Map<Backend, string>();
  #staged: Backend | undefined;
  /** Adoptions and removals under way. */
  readonly #underWay = new Set<Promise<void>>();

  /** Opens the database in force. Throws a RosterError that says what is wrong with it. */
  constructor({ folder, warn, onCommit }: LmdbStagingOptions) {
    this.#folder = folder;
    this.#warn = warn;
    this.#onCommit = onCommit;
    this.first = this.#openIn(folder.path);
  }

  begin(): Backend {
    assert(this.#staged === undefined, 'one state is staged at a time');
    this.#staged = this.#openIn(this.#folder.next());
    return this.#staged;
  }

  adopt(backend: Backend, done: (error?: Error) => void): void {
    const path = this.#open.get(backend);
    assert(path !== undefined && backend === this.#staged, 'only what was begun can be adopted');
    this.#staged = undefined;
    this.#follow(this.#switchTo(path, done));
  }

  discard(backend: Backend): void {
    assert(backend === this.#staged, 'only what was begun can be discarded');
    this.#staged = undefined;
    this.retire(backend);
  }

  retire(backend: Backend): void {
    const path = this.#open.get(backend);
    assert(path !== undefined, 'only an open backend can be retired');
    this.#open.delete(backend);
    this.#follow(
      closed(backend)
        .then(() => fs.promises.rm(path, { recursive: true }))
        .catch((error: unknown) => this.#warn(diskError('remove', path, error))),
    );
  }

  /** Closes every backend. What was received and not adopted is lost; the next start removes it. */
  async close(): Promise<void> {
    // An adoption that ends retires the database it replaced.
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
    const backends = [...this.#open.keys()];
    this.#open.clear();
    await Promise.all(backends.map(closed));
  }

  async #switchTo(path: string, done: (error?: Error) => void): Promise<void> {
    let failure: Error | undefined;
    try {
      await this.#folder.switchTo(path);
    } catch (error) {
      failure = diskError('switch to the database in', path, error);
    }
    done(failure);
  }

  #openIn(path: string): Backend {
    const backend = new LmdbBackend({
      directory: path,
      ...(this.#onCommit === undefined ? {} : { onCommit: this.#onCommit }),
    });
    this.#open.set(backend, path);
    return backend;
  }

  #follow(task: Promise<void>): void {
    const followed = task.finally(() => this.#underWay.delete(followed));
    this.#underWay.add(followed);
  }
}

function closed(backend: Backend): Promise<void> {
  return new Promise((resolve, reject) => {
    backend.close((error) => (error === undefined ? resolve() : reject(error)));
  });
}
