import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import { pairHead } from '../../core/mvcc/pairs.ts';
import { toByteString } from '../../core/util/bytes.ts';
import { decode, encode } from '../../core/wire/binary.ts';
import { KeyValue } from '../../core/wire/messages.ts';

const revision = fc.maxSafeNat();
const pair = fc.record({
  key: fc.uint8Array({ maxLength: 300 }).map((bytes) => toByteString(bytes)),
  create_revision: revision,
  mod_revision: revision,
  version: revision,
  value: fc.uint8Array({ maxLength: 300 }),
  lease: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
});

function decodedHead(bytes: Uint8Array): ReturnType<typeof pairHead> {
  const { key, create_revision, mod_revision, version, lease } = decode(KeyValue, bytes);
  return { key, created: create_revision, modified: mod_revision, version, lease };
}

function outcome<T>(read: () => T): T | 'refused' {
  try {
    return read();
  } catch (error) {
    if (error instanceof RosterError) return 'refused';
    throw error;
  }
}

describe('the head of a stored pair', () => {
  it('is what decoding the whole pair gives', () => {
    fc.assert(
      fc.property(pair, (stored) => {
        const bytes = encode(KeyValue, stored);
        expect(pairHead(bytes)).toEqual(decodedHead(bytes));
      }),
    );
  });

  it('refuses what decoding refuses, and no more', () => {
    fc.assert(
      fc.property(pair, fc.nat(700), fc.nat(255), fc.nat(700), (stored, at, byte, length) => {
        const bytes = encode(KeyValue, stored).slice(0, length);
        if (at < bytes.length) bytes[at] = byte;
        expect(outcome(() => pairHead(bytes))).toEqual(outcome(() => decodedHead(bytes)));
      }),
      { numRuns: 500 },
    );
  });
});
