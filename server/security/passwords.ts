/**
 * Passwords into bcrypt hashes and back to "is it this one?", in a thread of its own: each takes a tenth of a second of
 * pure computing. Owns the thread and its bounded queue. Passwords are never stored, logged or part of an error.
 */
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { encodeBase64 } from 'bcryptjs';
import { GrpcStatus, otherError, RosterError, rosterError } from '../../core/errors.ts';
import { BCRYPT_COST } from './bcrypt-cost.ts';

/** bcrypt looks at no more than this of a password; a longer one is refused, as with etcd. */
export const PASSWORD_BYTES_MAX = 72;
/** Computations that may wait; about six seconds' worth at the default cost. */
export const PASSWORD_JOBS_MAX = 64;

const SALT_BYTES = 16;
/** `$2a$10$` and 22 characters of salt. */
const SETTINGS_LENGTH = 29;

export interface Passwords {
  /** The hash to store, as etcd's: `$2a$...`. RequestTooManyRequests; UNKNOWN when the password is too long. */
  hash(password: string, done: (result: Uint8Array | RosterError) => void): void;
  /**
   * Whether `password` is the one of `hash`. Without a hash the answer is no, after the same time: nobody learns from it
   * which users there are. RequestTooManyRequests.
   */
  compare(password: string, hash: Uint8Array | undefined, done: (result: boolean | RosterError) => void): void;
  close(): Promise<void>;
}

interface Job {
  readonly password: string;
  /** Cost and salt. */
  readonly settings: string;
}

/** What the thread runs. It is text because a thread is begun from JavaScript, and this runs from TypeScript in tests. */
const THREAD = `
const { parentPort, workerData } = require('node:worker_threads');
const { hashSync } = require(workerData);
parentPort.on('message', ({ id, password, settings }) => {
  let hash = '';
  try {
    hash = hashSync(password, settings);
  } catch {
    // Not a salt: nothing matches.
  }
  parentPort.postMessage({ id, hash });
});
`;

export class WorkerPasswords implements Passwords {
  readonly #cost: number;
  readonly #jobsMax: number;
  #worker: Worker | undefined;
  readonly #waiting = new Map<number, (hash: string | RosterError) => void>();
  #lastId = 0;
  #closed = false;

  constructor(cost: number = BCRYPT_COST, jobsMax: number = PASSWORD_JOBS_MAX) {
    this.#cost = cost;
    this.#jobsMax = jobsMax;
  }

  hash(password: string, done: (result: Uint8Array | RosterError) => void): void {
    const refusal = checkLength(password);
    if (refusal !== undefined) {
      done(refusal);
      return;
    }
    this.#run({ password, settings: freshSettings(this.#cost) }, (hash) =>
      done(hash instanceof RosterError ? hash : Buffer.from(hash, 'latin1')),
    );
  }

  compare(password: string, hash: Uint8Array | undefined, done: (result: boolean | RosterError) => void): void {
    const wanted = hash === undefined ? undefined : Buffer.from(hash).toString('latin1');
    const settings = wanted?.slice(0, SETTINGS_LENGTH) ?? freshSettings(this.#cost);
    this.#run({ password, settings }, (found) => done(found instanceof RosterError ? found : isSame(found, wanted)));
  }

  async close(): Promise<void> {
    this.#closed = true;
    const worker = this.#worker;
    this.#worker = undefined;
    this.#refuseAll(rosterError('Stopped'));
    await worker?.terminate();
  }

  #run(job: Job, done: (hash: string | RosterError) => void): void {
    if (this.#closed) {
      done(rosterError('Stopped'));
      return;
    }
    if (this.#waiting.size >= this.#jobsMax) {
      done(rosterError('RequestTooManyRequests'));
      return;
    }
    const worker = this.#worker ?? this.#begin();
    const id = ++this.#lastId;
    this.#waiting.set(id, done);
    worker.postMessage({ id, ...job });
  }

  #begin(): Worker {
    const bcrypt = createRequire(import.meta.url).resolve('bcryptjs');
    const worker = new Worker(THREAD, { eval: true, workerData: bcrypt });
    this.#worker = worker;
    // Nobody waits for the thread when the process wants to end.
    worker.unref();
    worker.on('message', ({ id, hash }: { id: number; hash: string }) => {
      const done = this.#waiting.get(id);
      this.#waiting.delete(id);
      done?.(hash);
    });
    const gone = () => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#refuseAll(otherError(GrpcStatus.INTERNAL, 'the thread that checks passwords has ended'));
    };
    worker.on('error', gone);
    worker.on('exit', gone);
    return worker;
  }

  #refuseAll(error: RosterError): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const done of waiting) done(error);
  }
}

/** Go's words for it, since they are etcd's answer. */
export function checkLength(password: string): RosterError | undefined {
  if (Buffer.byteLength(password) <= PASSWORD_BYTES_MAX) return undefined;
  return otherError(GrpcStatus.UNKNOWN, 'bcrypt: password length exceeds 72 bytes');
}

/** `$2a$`, which every bcrypt reads: for passwords in UTF-8 it is the same as `$2b$`. */
export function freshSettings(cost: number): string {
  return `$2a$${String(cost).padStart(2, '0')}$${encodeBase64(randomBytes(SALT_BYTES), SALT_BYTES)}`;
}

/** Looks at every character, whatever differs. `wanted` undefined or '': no. */
export function isSame(found: string, wanted: string | undefined): boolean {
  if (wanted === undefined || wanted === '' || found.length !== wanted.length) return false;
  let difference = 0;
  for (let i = 0; i < found.length; i++) difference |= found.charCodeAt(i) ^ wanted.charCodeAt(i);
  return difference === 0;
}
