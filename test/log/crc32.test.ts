import { crc32 as zlibCrc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32 } from '../../core/util/crc32.ts';

describe('crc32', () => {
  it('has the check value of the standard', () => {
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
    expect(crc32(new Uint8Array(0))).toBe(0);
  });

  it('equals zlib, whole and continued', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), (bytes, cut) => {
        expect(crc32(bytes)).toBe(zlibCrc32(bytes));
        const head = bytes.subarray(0, cut);
        const tail = bytes.subarray(cut);
        expect(crc32(tail, crc32(head))).toBe(zlibCrc32(bytes));
      }),
    );
  });

  it('reads only its view', () => {
    const bytes = new Uint8Array(64).map((_, i) => i);
    expect(crc32(bytes.subarray(3, 50))).toBe(crc32(bytes.slice(3, 50)));
  });
});
