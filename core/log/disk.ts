/**
 * What the write-ahead log asks of the world: one folder of files. Implemented by server/disk/log-files.ts (real files)
 * and memory-disk.ts (tests and simulator). Knows nothing of records.
 */
import type { Crc32 } from '../util/crc32.ts';

/** Called exactly once, and never before the call it belongs to has returned. */
export type Done = (error?: Error) => void;

export interface WriteHint {
  /**
   * The write holds a single entry and nothing waits behind it: how soon it is done matters more than what the thread
   * could do meanwhile, so the disk may do it on the calling thread if it has been fast lately.
   */
  readonly alone: boolean;
}

/**
 * Reads are synchronous (they happen at start, in slices); changes call back when they are durable: `done` without an
 * error means that neither a crash of the process nor a loss of power undoes it. An error is final and never retried,
 * because after a failed sync nobody knows what the disk holds. One exception: {@link LogDisk.create} may fail with a
 * RosterError of code `NoSpace`, has then changed nothing, and may be tried again.
 */
export interface LogDisk {
  readonly crc32: Crc32;
  /** Names of all files in the folder, leftovers of an interrupted `create` (`*.tmp`) included. */
  list(): string[];
  /** Bytes in the file `name`, which exists. */
  size(name: string): number;
  /** Fills `into` from `offset`; returns how many bytes there were. Throws what the disk says. */
  read(name: string, offset: number, into: Uint8Array): number;
  /**
   * Makes the file `name`: `content`, then zeros up to `sizeBytes`, all of it allocated so that a later write inside
   * changes no metadata. Atomic: after a crash there is all of it, or what was there before under that name. Pulls the
   * next piece of `content` only after it is done with the one before; if pulling throws, nothing is made and `done`
   * gets that error.
   */
  create(name: string, sizeBytes: number, content: Iterable<Uint8Array>, done: Done): void;
  /** `to` does not exist. */
  rename(from: string, to: string, done: Done): void;
  remove(name: string, done: Done): void;
  /**
   * Overwrites bytes inside the file. At most one write per file is in flight; `bytes` stay unchanged until `done`.
   * A crash before `done` may leave any subset of the touched sectors written.
   */
  write(name: string, offset: number, bytes: Uint8Array, hint: WriteHint, done: Done): void;
  /** Makes durable the names that `list` shows: a process killed between a change and its sync leaves them in doubt. */
  syncNames(done: Done): void;
  /** Waits for what is under way and lets go of the files. */
  close(done: Done): void;
}
