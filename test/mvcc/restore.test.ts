import { beforeEach, describe, expect, it } from 'vitest';
import { GrpcStatus, RosterError } from '../../core/errors.ts';
import { MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import { parseRevision, revisionIn, revisionKey, tombstoneKey } from '../../core/mvcc/revision.ts';
import { MvccStore } from '../../core/mvcc/store.ts';
import { fromByteString } from '../../core/util/bytes.ts';
import { encode } from '../../core/wire/binary.ts';
import { KeyValue } from '../../core/wire/messages.ts';
import { LeaseMap } from './model.ts';

/** Stores that contradict themselves are refused with a word, never guessed at and never a crash. */

let backend: MemoryBackend;
let leases: LeaseMap;
beforeEach(() => {
  backend = new MemoryBackend(() => {});
  leases = new LeaseMap();
});

function pair(key: string, main: number, changes: Partial<KeyValue> = {}): Uint8Array {
  const value = Buffer.from('v');
  return encode(KeyValue, {
    key,
    create_revision: main,
    mod_revision: main,
    version: 1,
    value,
    lease: 0n,
    ...changes,
  });
}

function refusal(): RosterError {
  try {
    const store = new MvccStore({ backend, leases });
    for (const _ of store.restore());
  } catch (error) {
    expect(error).toBeInstanceOf(RosterError);
    expect((error as RosterError).status).toBe(GrpcStatus.DATA_LOSS);
    return error as RosterError;
  }
  throw new Error('it was restored');
}

describe('a store is refused when', () => {
  beforeEach(() => backend.put('key', revisionKey(2, 0), pair('a', 2)));

  it('a row lies where no revision is', () => {
    backend.put('key', 'x', pair('b', 3));
    expect(refusal().message).toBe('the store is damaged: a pair lies where no revision is');
  });

  it('a revision is there twice', () => {
    backend.put('key', tombstoneKey(2, 0), encode(KeyValue, { ...tombstone, key: 'a' }));
    expect(refusal().message).toBe('the store is damaged: revision 2 is there twice');
  });

  it('a pair cannot be read', () => {
    backend.put('key', revisionKey(3, 0), Buffer.from([0x0a, 0x80]));
    expect(refusal().message).toBe('the store is damaged: the pair at revision 3 cannot be read');
    backend.put('key', revisionKey(3, 0), pair('b', 3));
    backend.put('key', tombstoneKey(4, 0), Buffer.from([0x0a, ...new Uint8Array(20).fill(0xff)]));
    expect(refusal().message).toBe('the store is damaged: the pair at revision 4 cannot be read');
  });

  it('a pair says that it is another one', () => {
    backend.put('key', revisionKey(3, 0), pair('b', 4));
    expect(refusal().message).toBe('the store is damaged: the pair at revision 3 does not belong there');
  });

  it('a key lives twice', () => {
    backend.put('key', revisionKey(3, 0), pair('a', 3));
    expect(refusal().message).toBe('the store is damaged: the pair at revision 3 does not belong there');
  });

  it('a key hangs on a lease that does not exist', () => {
    leases.missing.add(7n);
    backend.put('key', revisionKey(3, 0), pair('b', 3, { lease: 7n }));
    expect(refusal().message).toBe('the store is damaged: a key hangs on a lease that does not exist');
  });

  it.each(['scheduledCompactRev', 'finishedCompactRev'])('its %s is not a revision', (name) => {
    backend.put('meta', name, Buffer.from('abc'));
    expect(refusal().message).toBe(`the store is damaged: its ${name} is not a revision`);
  });
});

const tombstone = { create_revision: 0, mod_revision: 0, version: 0, value: new Uint8Array(0), lease: 0n };

it('knows the keys of revisions', () => {
  const read = (text: string) => revisionIn(fromByteString(`ab${text}cd`), 2, 2 + text.length);
  for (const [main, sub] of [
    [1, 0],
    [2 ** 32 - 1, 2 ** 31],
    [2 ** 40 + 5, 7],
    [2 ** 53 - 1, 2 ** 32 - 1],
  ] as const) {
    expect([read(revisionKey(main, sub)), read(tombstoneKey(main, sub))]).toEqual([
      { main, sub },
      parseRevision(revisionKey(main, sub)),
    ]);
    expect(revisionIn(fromByteString(revisionKey(main, sub)))).toEqual({ main, sub });
  }
  const key = revisionKey(5, 6);
  const others = ['', key.slice(1), `${key}x`, `${key}tt`, `\0\x20${key.slice(2)}`, `\x01${key.slice(1)}`];
  others.push(`${key.slice(0, 8)}-${key.slice(9)}`, `${key.slice(0, 12)}\x01${key.slice(13)}`);
  for (const other of others) expect(read(other)).toBeUndefined();
});
