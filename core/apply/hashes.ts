/**
 * The hashes that are being computed, one after the other and in slices. Owns the queue and what becomes of it when a
 * snapshot takes the place of the state: the one under way begins anew on that. Reads only.
 */
import { type RosterError, rosterError } from '../errors.ts';
import type { Backend } from '../mvcc/backend.ts';
import { BackendHash } from '../mvcc/backend-hash.ts';
import type { KvHash, KvHashResult } from '../mvcc/kv-hash.ts';
import type { MvccStore } from '../mvcc/store.ts';

/** Hashes asked for and not answered; each reads all that is stored. */
export const HASHES_PENDING_MAX = 16;

/** What is hashed: the state in force. */
export interface HashedState {
  readonly backend: Backend;
  readonly store: MvccStore;
}

type Job =
  | { readonly kind: 'keys'; readonly revision: number; readonly done: (result: KvHashResult | RosterError) => void }
  | { readonly kind: 'backend'; readonly done: (result: number) => void };

export class Hashes {
  readonly #jobs: Job[] = [];
  #keys: KvHash | undefined;
  #backend: BackendHash | undefined;

  get waiting(): boolean {
    return this.#jobs.length > 0;
  }

  get isFull(): boolean {
    return this.#jobs.length >= HASHES_PENDING_MAX;
  }

  add(job: Job): void {
    this.#jobs.push(job);
  }

  /** One slice of the first in the queue. */
  work(state: HashedState): void {
    const [job] = this.#jobs;
    if (job?.kind === 'keys') this.#hashKeys(job, state.store);
    else if (job?.kind === 'backend') this.#hashBackend(job, state.backend);
  }

  /** Another state is in force. */
  restart(): void {
    this.#backend?.close();
    this.#keys = undefined;
    this.#backend = undefined;
  }

  #hashKeys({ revision, done }: Job & { kind: 'keys' }, store: MvccStore): void {
    const hash = this.#keys ?? store.hash(revision);
    const result = typeof hash === 'string' ? hash : hash.step();
    this.#keys = typeof hash === 'string' ? undefined : hash;
    if (result === undefined) return;
    this.#keys = undefined;
    this.#jobs.shift();
    done(typeof result === 'string' ? rosterError(result) : result);
  }

  #hashBackend({ done }: Job & { kind: 'backend' }, backend: Backend): void {
    this.#backend ??= new BackendHash(backend.view());
    const hash = this.#backend.step();
    if (hash === undefined) return;
    this.#backend.close();
    this.#backend = undefined;
    this.#jobs.shift();
    done(hash);
  }
}
