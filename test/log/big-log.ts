/**
 * A log of 256 KiB whose files have all had an earlier life, as plain bytes that a test may damage, and a judge of what
 * recovery makes of it. Owns the rule what may be lost: nothing, or what leaves no trace.
 */
import { crc32 } from 'node:zlib';
import type { LogDisk } from '../../core/log/disk.ts';
import { FrameKind, frameSeed, SEGMENT_HEADER_BYTES, segmentName, viewOf } from '../../core/log/format.ts';
import { MemoryDisk } from '../../core/log/memory-disk.ts';
import { type Recovered, recover } from '../../core/log/recover.ts';
import { loadSegment, readFrame } from '../../core/log/scan.ts';
import { Prng } from '../../core/util/prng.ts';
import type { Entry } from '../../core/wire/stored.ts';
import { append, close, entry, finish, open } from './rig.ts';

export const SEGMENT_BYTES = 32 * 1024;
const SEGMENTS = 8;

/** A record of the log: where it is, and what the log is when it ends with it. */
interface Frame {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  readonly lastIndex: number;
  readonly commit: number;
}

/** Bytes that are damaged together. */
export interface Damage {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

export type Outcome = 'damaged' | 'whole' | 'lost without a trace';

/** The part of a disk that recovery needs. */
class PlainDisk implements Pick<LogDisk, 'crc32' | 'list' | 'size' | 'read'> {
  readonly crc32 = crc32;
  readonly files: Map<string, Uint8Array>;

  constructor(files: Map<string, Uint8Array>) {
    this.files = files;
  }

  list(): string[] {
    return [...this.files.keys()];
  }

  size(name: string): number {
    return this.files.get(name)!.length;
  }

  read(name: string, offset: number, into: Uint8Array): number {
    const bytes = this.files.get(name)!.subarray(offset, offset + into.length);
    into.set(bytes);
    return bytes.length;
  }
}

export class BigLog {
  /** By name, in the order of the names. */
  readonly files = new Map<string, Uint8Array>();
  readonly #disk = new PlainDisk(this.files);
  readonly #whole: Recovered;
  readonly #frames: Frame[] = [];

  constructor(closed: boolean) {
    const disk = new MemoryDisk({ crc32 });
    const wal = open(disk, { segmentBytes: SEGMENT_BYTES });
    disk.settle();
    const random = new Prng(256);
    const starts: number[] = [];
    for (let index = 1, until = Infinity; index < until; ) {
      if (wal.segmentCount > starts.length) starts.push(index);
      if (wal.segmentCount > SEGMENTS) {
        wal.release(starts.splice(0, 2)[1]! - 1);
        disk.settle();
        starts.unshift(starts[0]!);
      }
      const items: Entry[] = [];
      // Some records are small, most are not.
      const [countMax, bytesMax] = random.int(3) === 0 ? [1, 100] : [8, 3000];
      for (let count = 1 + random.int(countMax); count > 0; count--)
        items.push(entry(index++, 1, random.int(bytesMax)));
      append(disk, wal, items, { term: 1, vote: 1n, commit: index - items.length - 1 });
      // Every file has been used before, and the last one is half full.
      if (
        until === Infinity &&
        wal.counters.bytesWritten > 3 * SEGMENTS * SEGMENT_BYTES &&
        wal.segmentCount === SEGMENTS
      )
        until = index + 10;
    }
    if (closed) close(disk, wal);
    for (const name of disk.list()) {
      const bytes = new Uint8Array(disk.size(name));
      disk.read(name, 0, bytes);
      this.files.set(name, bytes);
    }
    const found = finish(recover(this.#disk as unknown as LogDisk));
    if (found.kind !== 'recovered') throw new Error('the log was damaged before it was touched');
    this.#whole = found;
    for (const { number } of found.segments) this.#listFrames(number);
  }

  #listFrames(number: number): void {
    const disk = this.#disk as unknown as LogDisk;
    const segment = finish(loadSegment(disk, number));
    const seed = frameSeed(this.#whole.identity, crc32);
    for (let from = SEGMENT_HEADER_BYTES; ; ) {
      const frame = readFrame(disk, segment, from, seed, undefined);
      if (frame === undefined || frame.header.kind === FrameKind.SEAL) return;
      const view = viewOf(frame.payload);
      const commit = view.getUint32(16, true);
      const lastIndex = this.#lastIndexAfter(commit, frame.payload);
      this.#frames.push({ name: segmentName(number), from, to: frame.end, lastIndex, commit });
      from = frame.end;
    }
  }

  #lastIndexAfter(commit: number, payload: Uint8Array): number {
    let count = 0;
    const view = viewOf(payload);
    for (let at = 40; at < payload.length; at += 24 + view.getUint32(at, true)) count++;
    return commit + count;
  }

  /** Files that hold records of the log. */
  get segments(): string[] {
    return this.#whole.segments.map(({ number }) => segmentName(number));
  }

  get bytes(): number {
    return this.segments.length * SEGMENT_BYTES;
  }

  get lastFrame(): Frame {
    return this.#frames.at(-1)!;
  }

  /** Bytes of the headers and records in `name`. */
  usedBytes(name: string): number {
    return this.#frames.findLast((frame) => frame.name === name)?.to ?? 0;
  }

  /** What recovery says of the log as it is now, `damage` being all that is wrong with it. Throws if that is wrong. */
  judge(damage: Damage): Outcome {
    const found = finish(recover(this.#disk as unknown as LogDisk));
    if (found.kind === 'empty') throw new Error('the log is gone');
    if (found.kind === 'damaged') {
      if (!found.message.includes(found.file) || found.file === '') throw new Error(`damage nowhere: ${found.message}`);
      return 'damaged';
    }
    const whole = this.#whole.entries;
    if (found.firstIndex !== this.#whole.firstIndex) throw new Error('the log has lost its beginning');
    for (const [i, item] of found.entries.entries()) {
      const right = whole[i]!;
      if (item.index !== right.index || item.term !== right.term || item.type !== right.type)
        throw new Error('invented');
      if (Buffer.compare(item.data, right.data) !== 0) throw new Error(`entry ${item.index} is not what was written`);
    }
    return this.#lost(found, damage);
  }

  #lost({ lastIndex, hardState }: Recovered, { name, from, to }: Damage): Outcome {
    const kept = this.#frames.findLastIndex(
      (frame) => frame.lastIndex === lastIndex && frame.commit <= hardState.commit,
    );
    if (kept < 0) throw new Error(`the log ends with entry ${lastIndex}, commit ${hardState.commit}: never so`);
    const lost = this.#frames.slice(kept + 1);
    if (lost.length === 0) return 'whole';
    // Each of them is hit, to the last one: nothing is left that could tell of them.
    const traces = lost.filter((frame) => frame.name !== name || frame.from >= to || frame.to <= from);
    if (traces.length > 0)
      throw new Error(`records were lost although there are traces of them: ${JSON.stringify(lost)}`);
    return 'lost without a trace';
  }
}
