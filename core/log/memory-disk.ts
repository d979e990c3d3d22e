/**
 * A disk in memory that fails the way disks do: writes torn at sector boundaries or lost with the power, syncs that fail
 * and leave the system's cache ahead of the medium, damaged bytes, no space. For tests and the simulator. Decides nothing
 * by chance: whoever asks for a crash says what survives it.
 */
import { GrpcStatus, RosterError } from '../errors.ts';
import { assert } from '../util/assert.ts';
import { type Crc32, crc32 } from '../util/crc32.ts';
import type { Done, LogDisk, WriteHint } from './disk.ts';

/** A change that was asked for. `bytes` of a create are the whole file. */
export type DiskOperation =
  | { readonly kind: 'create'; readonly name: string; readonly bytes: Uint8Array }
  | { readonly kind: 'rename'; readonly name: string; readonly to: string }
  | { readonly kind: 'remove'; readonly name: string }
  | { readonly kind: 'sync'; readonly name: '' }
  | { readonly kind: 'write'; readonly name: string; readonly offset: number; readonly bytes: Uint8Array };

/**
 * Whether a pending operation had happened when the crash came. A write is asked about sector by sector (numbered from
 * the first it touches), everything else, being atomic, once, with sector 0.
 */
export type Survives = (operation: DiskOperation, sector: number) => boolean;

export interface MemoryDiskOptions {
  /** 512 or 4096: what the medium writes at once. */
  readonly sectorBytes?: number;
  /** Room for all files together. */
  readonly capacityBytes?: number;
  /** When operations finish: called once per operation with what finishes it. Default: when `step` or `settle` is called. */
  readonly defer?: (finish: () => void) => void;
  readonly crc32?: Crc32;
}

/** What reads see (the system's cache), and what a loss of power leaves. */
interface MemoryFile {
  cache: Uint8Array;
  medium: Uint8Array;
}

interface Pending {
  /** Undefined for what changes nothing: a refused create, a close. */
  readonly operation: DiskOperation | undefined;
  finish(): void;
}

export class MemoryDisk implements LogDisk {
  readonly crc32: Crc32;
  readonly sectorBytes: number;
  capacityBytes: number;
  readonly #options: MemoryDiskOptions;
  readonly #defer: ((finish: () => void) => void) | undefined;
  /** The folder as reads see it, and as a loss of power leaves it. */
  readonly #files = new Map<string, MemoryFile>();
  readonly #durableNames = new Map<string, MemoryFile>();
  readonly #pending: Pending[] = [];
  readonly #unreadable = new Set<string>();
  #failure: { kind: DiskOperation['kind']; error: Error; after: number } | undefined;

  constructor(options: MemoryDiskOptions = {}) {
    this.#options = options;
    this.crc32 = options.crc32 ?? crc32;
    this.sectorBytes = options.sectorBytes ?? 512;
    this.capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY;
    this.#defer = options.defer;
  }

  list(): string[] {
    return [...this.#files.keys()].sort();
  }

  size(name: string): number {
    return this.#file(name).cache.length;
  }

  read(name: string, offset: number, into: Uint8Array): number {
    if (this.#unreadable.has(name)) throw new Error('input/output error');
    const bytes = this.#file(name).cache.subarray(offset, offset + into.length);
    into.set(bytes);
    return bytes.length;
  }

  create(name: string, sizeBytes: number, content: Iterable<Uint8Array>, done: Done): void {
    const bytes = new Uint8Array(sizeBytes);
    let error: Error | undefined;
    try {
      let at = 0;
      for (const piece of content) {
        bytes.set(piece, at);
        at += piece.length;
      }
    } catch (thrown) {
      if (!(thrown instanceof Error)) throw thrown;
      error = thrown;
    }
    // What it replaces is there until it is whole.
    if (error === undefined && this.#used() + sizeBytes > this.capacityBytes) {
      error = new RosterError('NoSpace', GrpcStatus.RESOURCE_EXHAUSTED, 'no space left in memory');
    }
    this.#start({ kind: 'create', name, bytes }, done, error);
  }

  rename(from: string, to: string, done: Done): void {
    assert(!this.#files.has(to), `memory disk: ${to} exists`);
    this.#start({ kind: 'rename', name: from, to }, done);
  }

  remove(name: string, done: Done): void {
    this.#start({ kind: 'remove', name }, done);
  }

  syncNames(done: Done): void {
    this.#start({ kind: 'sync', name: '' }, done);
  }

  write(name: string, offset: number, bytes: Uint8Array, _hint: WriteHint, done: Done): void {
    assert(offset + bytes.length <= this.size(name), `memory disk: write beyond the end of ${name}`);
    const busy = this.#pending.some(({ operation }) => operation?.kind === 'write' && operation.name === name);
    assert(!busy, `memory disk: two writes to ${name} in flight`);
    this.#start({ kind: 'write', name, offset, bytes: bytes.slice() }, done);
  }

  close(done: Done): void {
    this.#later(undefined, () => (this.#pending.length > 0 ? this.close(done) : done()));
  }

  /** Operations asked for and not finished, oldest first. */
  get pending(): readonly DiskOperation[] {
    return this.#pending.flatMap(({ operation }) => operation ?? []);
  }

  /** Finishes a pending operation, the oldest unless told which; false when there is none. Only without `defer`. */
  step(position = 0): boolean {
    const next = this.#pending[position];
    next?.finish();
    return next !== undefined;
  }

  /** Finishes operations until none is pending. */
  settle(): void {
    while (this.step());
  }

  /**
   * The next operation of `kind` but `after` fails with `error`: the system's cache has taken it, the medium has not,
   * which is what a failed sync leaves behind.
   */
  failNext(kind: DiskOperation['kind'], error: Error, after = 0): void {
    this.#failure = { kind, error, after };
  }

  /** Flips the bits of `mask` in one byte. */
  corrupt(name: string, offset: number, mask: number): void {
    const { cache, medium } = this.#file(name);
    cache[offset]! ^= mask;
    medium[offset]! ^= mask;
  }

  /** Reading the file fails from now on. */
  makeUnreadable(name: string): void {
    this.#unreadable.add(name);
  }

  /** Cuts the file, or lengthens it with zeros. */
  resize(name: string, sizeBytes: number): void {
    const file = this.#file(name);
    const bytes = new Uint8Array(sizeBytes);
    bytes.set(file.medium.subarray(0, sizeBytes));
    file.cache = bytes;
    file.medium = bytes.slice();
  }

  /** The disk after a loss of power now: what was durable, and of what is pending what `survives`. This one is not changed. */
  afterPowerLoss(survives: Survives): MemoryDisk {
    const next = this.#copy(this.#durableNames, this.#durableNames, (file) => file.medium);
    for (const operation of this.pending) next.#apply(operation, survives, true);
    return next;
  }

  /**
   * The disk after the process was killed now: the system's cache lives on, with of what is pending what `survives`; the
   * medium is as it was.
   */
  afterKill(survives: Survives): MemoryDisk {
    const next = this.#copy(this.#files, this.#durableNames, (file) => file.cache);
    for (const operation of this.pending) next.#apply(operation, survives, false);
    return next;
  }

  #copy(
    names: ReadonlyMap<string, MemoryFile>,
    durableNames: ReadonlyMap<string, MemoryFile>,
    cacheOf: (file: MemoryFile) => Uint8Array,
  ): MemoryDisk {
    const next = new MemoryDisk(this.#options);
    next.capacityBytes = this.capacityBytes;
    const copies = new Map<MemoryFile, MemoryFile>();
    for (const [from, to] of [
      [names, next.#files],
      [durableNames, next.#durableNames],
    ] as const) {
      for (const [name, file] of from) {
        const copy = copies.get(file) ?? { cache: cacheOf(file).slice(), medium: file.medium.slice() };
        copies.set(file, copy);
        to.set(name, copy);
      }
    }
    return next;
  }

  #file(name: string): MemoryFile {
    const file = this.#files.get(name);
    assert(file !== undefined, `memory disk: there is no ${name}`);
    return file;
  }

  #used(): number {
    let bytes = 0;
    for (const file of this.#files.values()) bytes += file.cache.length;
    return bytes;
  }

  /** Runs `finish` when the operation's time has come. */
  #later(operation: DiskOperation | undefined, finish: () => void): void {
    const pending: Pending = {
      operation,
      finish: () => {
        this.#pending.splice(this.#pending.indexOf(pending), 1);
        finish();
      },
    };
    this.#pending.push(pending);
    this.#defer?.(pending.finish);
  }

  #start(operation: DiskOperation, done: Done, refusal?: Error): void {
    const error = refusal ?? this.#fault(operation);
    this.#later(refusal === undefined ? operation : undefined, () => {
      if (error === undefined) this.#apply(operation, () => true, true);
      else if (refusal === undefined) this.#apply(operation, () => true, false);
      done(error);
    });
  }

  #fault(operation: DiskOperation): Error | undefined {
    const failure = this.#failure;
    if (failure === undefined || failure.kind !== operation.kind) return undefined;
    if (failure.after-- > 0) return undefined;
    this.#failure = undefined;
    return failure.error;
  }

  #apply(operation: DiskOperation, survives: Survives, durable: boolean): void {
    if (operation.kind === 'write') {
      this.#applyWrite(operation, survives, durable);
      return;
    }
    if (!survives(operation, 0)) return;
    if (operation.kind === 'create') {
      this.#files.set(operation.name, { cache: operation.bytes.slice(), medium: operation.bytes.slice() });
    } else if (operation.kind !== 'sync') {
      const file = this.#file(operation.name);
      this.#files.delete(operation.name);
      if (operation.kind === 'rename') this.#files.set(operation.to, file);
    }
    if (durable) this.#syncNames();
  }

  /** A sync of the folder makes all of it durable, not only the last change. */
  #syncNames(): void {
    this.#durableNames.clear();
    for (const [name, file] of this.#files) this.#durableNames.set(name, file);
  }

  #applyWrite({ name, offset, bytes }: DiskOperation & { kind: 'write' }, survives: Survives, durable: boolean): void {
    const file = this.#files.get(name);
    if (file === undefined) return;
    const operation = { kind: 'write', name, offset, bytes } as const;
    const firstSector = Math.floor(offset / this.sectorBytes);
    for (let at = 0; at < bytes.length; ) {
      const sector = Math.floor((offset + at) / this.sectorBytes);
      const end = Math.min(bytes.length, (sector + 1) * this.sectorBytes - offset);
      if (survives(operation, sector - firstSector)) {
        file.cache.set(bytes.subarray(at, end), offset + at);
        if (durable) file.medium.set(bytes.subarray(at, end), offset + at);
      }
      at = end;
    }
  }
}
