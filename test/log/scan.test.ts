import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { LogDisk } from '../../core/log/disk.ts';
import { FRAME_BYTES_MIN, SEGMENT_HEADER_BYTES, segmentName } from '../../core/log/format.ts';
import { loadSegment, SCAN_SLICE_BYTES, scanRemainder } from '../../core/log/scan.ts';
import { finish } from './rig.ts';

/** Files that hold `marks` at their places, and zeros. */
function diskOf(...files: { sizeBytes: number; marks: Record<number, number> }[]): LogDisk {
  const contents = new Map<string, Uint8Array>();
  for (const [i, { sizeBytes, marks }] of files.entries()) {
    const bytes = new Uint8Array(sizeBytes);
    for (const [at, byte] of Object.entries(marks)) bytes[Number(at)] = byte;
    contents.set(segmentName(i + 1), bytes);
  }
  const size = (name: string) => contents.get(name)!.length;
  const read = (name: string, offset: number, into: Uint8Array) => {
    const part = contents.get(name)!.subarray(offset, offset + into.length);
    into.set(part);
    return part.length;
  };
  return { crc32, size, read } as Partial<LogDisk> as LogDisk;
}

const MIB = SCAN_SLICE_BYTES;

describe('loading a segment', () => {
  it('says where there are only zeros', () => {
    const disk = diskOf(
      { sizeBytes: 3 * MIB + 8, marks: {} },
      { sizeBytes: 3 * MIB + 8, marks: { 0: 1, [MIB]: 2 } },
      { sizeBytes: 3 * MIB + 8, marks: { 0: 1, [3 * MIB + 7]: 2 } },
    );
    const blank = [1, 2, 3].map((number) => finish(loadSegment(disk, number)).blank);
    expect(blank).toEqual([
      [true, true, true, true],
      [false, false, true, true],
      [false, true, true, false],
    ]);
  });

  it('leaves nothing of the segment whose memory it uses again', () => {
    const marks = { 0: 1, [MIB - 1]: 2, [MIB]: 3, [2 * MIB - 1]: 4, [3 * MIB + 5]: 5 };
    const disk = diskOf(
      { sizeBytes: 3 * MIB + 8, marks },
      { sizeBytes: 3 * MIB + 8, marks: { 9: 1, [2 * MIB + 9]: 1 } },
      { sizeBytes: 3 * MIB + 8, marks: { [MIB + 9]: 1 } },
      { sizeBytes: 2 * MIB, marks: { [MIB + 9]: 1 } },
    );
    let worn = finish(loadSegment(disk, 1));
    for (const number of [2, 3]) {
      const again = finish(loadSegment(disk, number, worn));
      const fresh = finish(loadSegment(disk, number));
      expect(again.bytes.buffer, 'the memory').toBe(worn.bytes.buffer);
      expect(Buffer.compare(again.bytes, fresh.bytes)).toBe(0);
      expect(again.blank).toEqual(fresh.blank);
      worn = again;
    }
    const shorter = finish(loadSegment(disk, 4, worn));
    expect(shorter.bytes.length).toBe(2 * MIB);
    expect(shorter.bytes.buffer).not.toBe(worn.bytes.buffer);
  });

  it('tells zeros from what is not, up to the last byte', () => {
    const from = SEGMENT_HEADER_BYTES + FRAME_BYTES_MIN;
    const places = [from, MIB + 3, 2 * MIB - 1, 2 * MIB + 4];
    const files = places.map((at) => ({ sizeBytes: 2 * MIB + 5, marks: { 0: 1, [at]: 1 } }));
    const disk = diskOf(...files, { sizeBytes: 2 * MIB + 5, marks: { 0: 1, [from - 1]: 1 } });
    const zero = [1, 2, 3, 4, 5].map((number) => {
      const segment = finish(loadSegment(disk, number));
      return finish(scanRemainder(disk, segment, from, 0, 1, from)).zero;
    });
    expect(zero).toEqual([false, false, false, false, true]);
  });
});
