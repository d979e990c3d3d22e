import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  BACKEND_KEY_BYTES_MAX,
  type Backend,
  type BackendView,
  BUCKETS,
  type Bucket,
} from '../../core/mvcc/backend.ts';
import { AssertionError } from '../../core/util/assert.ts';
import { type ByteString, EMPTY_BYTES, fromByteString, toByteString } from '../../core/util/bytes.ts';

/** A place where a backend lives; `open` after a close finds what was committed. */
export interface BackendPlace {
  open(): Backend;
  /** Removes the place. The backend is closed by then. */
  remove(): void;
}

const bytes = fromByteString;

function commit(backend: Backend): Promise<void> {
  return new Promise((resolve, reject) => {
    backend.commit((error) => (error === undefined ? resolve() : reject(error)));
  });
}

function close(backend: Backend): Promise<void> {
  return new Promise((resolve, reject) => {
    backend.close((error) => (error === undefined ? resolve() : reject(error)));
  });
}

function rowsOf(
  backend: Pick<BackendView, 'scan'>,
  bucket: Bucket,
  from: ByteString = '',
  to?: ByteString,
  limit = Number.POSITIVE_INFINITY,
): [ByteString, ByteString][] {
  const rows: [ByteString, ByteString][] = [];
  backend.scan(bucket, from, to, (key, value) => {
    rows.push([key, toByteString(value)]);
    return rows.length < limit;
  });
  return rows;
}

/** What every Backend must do, run on each implementation. */
export function backendConformance(name: string, makePlace: () => BackendPlace): void {
  describe(`${name}: the backend contract`, () => {
    let place: BackendPlace;
    let backend: Backend;

    beforeEach(() => {
      place = makePlace();
      backend = place.open();
    });
    afterEach(async () => {
      await close(backend).catch((error: unknown) => {
        if (!(error instanceof AssertionError)) throw error;
      });
      place.remove();
    });

    async function reopen(): Promise<void> {
      await close(backend);
      backend = place.open();
    }

    it('lends the rows that it would give', async () => {
      const large = (i: number) => String.fromCharCode(i).repeat(i % 7 === 0 ? 70_000 : 1 + 300 * (i % 3));
      for (let i = 0; i < 50; i += 2) backend.put('key', `k${i + 100}`, bytes(large(i)));
      await commit(backend);
      for (let i = 1; i < 50; i += 2) backend.put('key', `k${i + 100}`, bytes(large(i)));
      backend.put('key', 'k104', bytes('new'));
      backend.delete('key', 'k106');
      const lent: [ByteString, ByteString][] = [];
      backend.scanLent('key', 'k101', 'k140', (row) => {
        lent.push([
          toByteString(row.keyBytes, row.keyStart, row.keyEnd),
          toByteString(row.valueBytes, 0, row.valueEnd),
        ]);
        return lent.length < 30;
      });
      expect(lent).toEqual(rowsOf(backend, 'key', 'k101', 'k140', 30));
      expect(lent.length).toBe(30);
      const one = (key: ByteString) => {
        const value = backend.getLent('key', key);
        return value === undefined ? undefined : toByteString(value);
      };
      expect(lent.map(([key]) => [key, one(key)])).toEqual(lent);
      expect([one('k104'), one('k106'), one('k200')]).toEqual(['new', undefined, undefined]);
      // What is given is nobody else's, before as after.
      const given: Uint8Array[] = [];
      backend.scan('key', 'k100', 'k110', (_key, value) => given.push(value) > 0);
      const got = backend.get('key', 'k107')!;
      backend.scanLent('key', '', undefined, () => true);
      backend.getLent('key', 'k100');
      expect(toByteString(got)).toBe(one('k107'));
      expect(given.map((value) => toByteString(value))).toEqual(
        rowsOf(backend, 'key', 'k100', 'k110').map(([, v]) => v),
      );
    });

    it('reads its own writes, committed or not', async () => {
      backend.put('meta', 'a', bytes('1'));
      expect(backend.get('meta', 'a')).toEqual(bytes('1'));
      const done = commit(backend);
      expect(backend.get('meta', 'a')).toEqual(bytes('1'));
      backend.put('meta', 'a', bytes('2'));
      expect(backend.get('meta', 'a')).toEqual(bytes('2'));
      await done;
      expect(backend.get('meta', 'a')).toEqual(bytes('2'));
      backend.delete('meta', 'a');
      expect(backend.get('meta', 'a')).toBeUndefined();
      await commit(backend);
      expect(backend.get('meta', 'a')).toBeUndefined();
    });

    it('keeps buckets apart', async () => {
      for (const bucket of BUCKETS) backend.put(bucket, 'same', bytes(bucket));
      await commit(backend);
      for (const bucket of BUCKETS) {
        expect(rowsOf(backend, bucket)).toEqual([['same', bucket]]);
      }
    });

    it('scans in unsigned byte order, from inclusive, to exclusive', async () => {
      const keys = ['\0', '\0\0', 'a', 'a\0', 'aa', 'b', '\x7f', '\x80', '\xff', '\xff\xff'];
      for (const key of keys.toReversed()) backend.put('key', key, bytes(`v${key}`));
      const all = keys.map((key) => [key, `v${key}`]);
      expect(rowsOf(backend, 'key')).toEqual(all);
      await commit(backend);
      expect(rowsOf(backend, 'key')).toEqual(all);
      expect(rowsOf(backend, 'key', 'a', 'b').map(([key]) => key)).toEqual(['a', 'a\0', 'aa']);
      expect(rowsOf(backend, 'key', 'a\0').map(([key]) => key)).toEqual(keys.slice(3));
      expect(rowsOf(backend, 'key', 'b', 'a')).toEqual([]);
      expect(rowsOf(backend, 'key', 'a', 'a')).toEqual([]);
      expect(rowsOf(backend, 'key', '\xff\xff\xff')).toEqual([]);
    });

    it('stops a scan when asked to', async () => {
      for (const key of ['a', 'b', 'c']) backend.put('key', key, EMPTY_BYTES);
      await commit(backend);
      expect(rowsOf(backend, 'key', '', undefined, 2).map(([key]) => key)).toEqual(['a', 'b']);
      expect(rowsOf(backend, 'key').length).toBe(3);
    });

    it('merges what is on the disk, on its way and new, the newest first', async () => {
      for (const key of ['a', 'b', 'c', 'd']) backend.put('key', key, bytes('disk'));
      await commit(backend);
      backend.put('key', 'b', bytes('on its way'));
      backend.delete('key', 'c');
      const done = commit(backend);
      backend.put('key', 'b', bytes('new'));
      backend.put('key', 'c', bytes('again'));
      backend.delete('key', 'd');
      backend.put('key', 'e', bytes('new'));
      const expected = [
        ['a', 'disk'],
        ['b', 'new'],
        ['c', 'again'],
        ['e', 'new'],
      ];
      expect(rowsOf(backend, 'key')).toEqual(expected);
      await done;
      expect(rowsOf(backend, 'key')).toEqual(expected);
      await commit(backend);
      expect(rowsOf(backend, 'key')).toEqual(expected);
    });

    it('counts the writes a commit would take', async () => {
      expect(backend.pendingWrites).toBe(0);
      backend.put('meta', 'a', bytes('1'));
      backend.put('meta', 'a', bytes('2'));
      backend.delete('meta', 'b');
      expect(backend.pendingWrites).toBe(3);
      const done = commit(backend);
      expect(backend.pendingWrites).toBe(0);
      backend.put('meta', 'a', bytes('3'));
      await done;
      expect(backend.pendingWrites).toBe(1);
    });

    it('finishes commits in order, later than the call, empty ones too', async () => {
      const finished: number[] = [];
      const dones: Promise<void>[] = [];
      for (let i = 0; i < 5; i++) {
        if (i % 2 === 0) backend.put('meta', 'n', bytes(String(i)));
        dones.push(commit(backend).then(() => void finished.push(i)));
      }
      expect(finished).toEqual([]);
      await Promise.all(dones);
      expect(finished).toEqual([0, 1, 2, 3, 4]);
      expect(backend.get('meta', 'n')).toEqual(bytes('4'));
    });

    it('keeps what was committed over a restart and loses the rest', async () => {
      backend.put('meta', 'committed', bytes('yes'));
      backend.put('key', 'deleted', bytes('yes'));
      await commit(backend);
      backend.delete('key', 'deleted');
      await commit(backend);
      backend.put('meta', 'committed', bytes('no'));
      backend.put('meta', 'lost', bytes('no'));
      await reopen();
      expect(rowsOf(backend, 'meta')).toEqual([['committed', 'yes']]);
      expect(rowsOf(backend, 'key')).toEqual([]);
    });

    it('finishes a commit under way before it closes', async () => {
      backend.put('meta', 'a', bytes('1'));
      const events: string[] = [];
      backend.commit(() => events.push('committed'));
      await new Promise<void>((resolve) => {
        backend.close(() => {
          events.push('closed');
          resolve();
        });
      });
      expect(events).toEqual(['committed', 'closed']);
      backend = place.open();
      expect(rowsOf(backend, 'meta')).toEqual([['a', '1']]);
    });

    it('holds values of every size, and what it returned stays as it was', async () => {
      const sizes = [0, 1, 63, 64, 1000, 4096, 40_000, 300_000, 2 ** 21];
      const values = sizes.map((size) => new Uint8Array(size).map((_, i) => (i * 7 + size) & 0xff));
      for (const [i, value] of values.entries()) backend.put('key', `k${i}`, value);
      await commit(backend);
      const got = sizes.map((_, i) => backend.get('key', `k${i}`));
      const scanned: Uint8Array[] = [];
      backend.scan('key', '', undefined, (_key, value) => {
        scanned.push(value);
        return true;
      });
      for (const i of sizes.keys()) backend.put('key', `k${i}`, bytes('overwritten'));
      await commit(backend);
      for (const i of sizes.keys()) expect(backend.get('key', `k${i}`)).toEqual(bytes('overwritten'));
      for (const [i, value] of values.entries()) {
        expect(Buffer.compare(got[i]!, value)).toBe(0);
        expect(Buffer.compare(scanned[i]!, value)).toBe(0);
      }
    });

    it('stays readable and exact while a large commit is under way', async () => {
      const rows = 10_001;
      const key = (i: number) => String(i).padStart(8, '0');
      for (let i = 0; i < rows; i++) backend.put('key', key(i), bytes(`first ${i}`));
      await commit(backend);
      for (let i = 0; i < rows; i++) {
        if (i % 3 === 0) backend.delete('key', key(i));
        else backend.put('key', key(i), bytes(`second ${i}`));
      }
      let finished = false;
      const done = commit(backend).then(() => {
        finished = true;
      });
      let looks = 0;
      while (!finished) {
        const i = (looks++ * 997) % rows;
        const found = backend.get('key', key(i));
        expect(found === undefined ? undefined : toByteString(found)).toBe(i % 3 === 0 ? undefined : `second ${i}`);
        const seen = rowsOf(backend, 'key', key(i), undefined, 10);
        const expected = [];
        for (let n = i; n < rows && expected.length < 10; n++) if (n % 3 !== 0) expected.push([key(n), `second ${n}`]);
        expect(seen).toEqual(expected);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await done;
      await reopen();
      expect(rowsOf(backend, 'key').length).toBe(rows - Math.ceil(rows / 3));
    });

    it('says how large it is', async () => {
      const empty = backend.size();
      for (let i = 0; i < 200; i++) backend.put('key', `k${i}`, new Uint8Array(1000));
      await commit(backend);
      const full = backend.size();
      expect(full.inUse).toBeGreaterThanOrEqual(empty.inUse + 200_000);
      expect(full.total).toBeGreaterThanOrEqual(full.inUse);
      for (let i = 0; i < 200; i++) backend.delete('key', `k${i}`);
      await commit(backend);
      await commit(backend);
      const after = backend.size();
      expect(after.inUse).toBeLessThan(full.inUse / 2);
      expect(after.total).toBeGreaterThanOrEqual(after.inUse);
    });

    it('takes keys up to the limit and asserts on longer and on empty ones', async () => {
      const longest = '\xfe'.repeat(BACKEND_KEY_BYTES_MAX);
      backend.put('authUsers', longest, bytes('v'));
      await commit(backend);
      expect(rowsOf(backend, 'authUsers', longest)).toEqual([[longest, 'v']]);
      expect(() => backend.put('authUsers', `${longest}x`, EMPTY_BYTES)).toThrow(AssertionError);
      expect(() => backend.delete('authUsers', '')).toThrow(AssertionError);
    });

    it('asserts on use after close', async () => {
      await close(backend);
      expect(() => backend.get('meta', 'a')).toThrow(AssertionError);
      expect(() => backend.put('meta', 'a', EMPTY_BYTES)).toThrow(AssertionError);
      expect(() => backend.commit(() => {})).toThrow(AssertionError);
    });

    it('gives views of what was committed, which nothing changes', async () => {
      const empty = backend.view();
      backend.put('key', 'a', bytes('1'));
      backend.put('key', 'b', bytes('1'));
      expect(rowsOf(backend.view(), 'key')).toEqual([]);
      await commit(backend);
      const first = backend.view();
      backend.put('key', 'a', bytes('2'));
      backend.delete('key', 'b');
      backend.put('key', 'c', bytes('2'));
      backend.put('meta', 'm', EMPTY_BYTES);
      const done = commit(backend);
      const stillFirst = backend.view();
      await done;
      const second = backend.view();
      backend.put('key', 'a', bytes('3'));
      backend.delete('key', 'c');
      await commit(backend);
      const one = [
        ['a', '1'],
        ['b', '1'],
      ];
      expect(rowsOf(empty, 'key')).toEqual([]);
      expect(rowsOf(first, 'key')).toEqual(one);
      expect(rowsOf(stillFirst, 'key')).toEqual(one);
      expect(rowsOf(first, 'key', 'aa')).toEqual(one.slice(1));
      expect(rowsOf(first, 'key', 'a', 'b')).toEqual(one.slice(0, 1));
      expect(rowsOf(first, 'key', '', undefined, 1)).toEqual(one.slice(0, 1));
      expect(rowsOf(first, 'key', 'b', 'a')).toEqual([]);
      expect([first.get('key', 'a'), first.get('key', 'b'), first.get('key', 'c'), first.get('meta', 'm')]).toEqual([
        bytes('1'),
        bytes('1'),
        undefined,
        undefined,
      ]);
      expect(rowsOf(second, 'key')).toEqual([
        ['a', '2'],
        ['c', '2'],
      ]);
      expect(second.get('meta', 'm')?.length).toBe(0);
      expect(rowsOf(backend, 'key')).toEqual([['a', '3']]);
      first.close();
      expect(() => first.get('key', 'a')).toThrow(AssertionError);
      expect(() => rowsOf(first, 'key')).toThrow(AssertionError);
      expect(rowsOf(stillFirst, 'key')).toEqual(one);
    });

    it('keeps a view as it is while large commits go on, and ends it with itself', async () => {
      const rows = 6_000;
      const key = (i: number) => String(i).padStart(8, '0');
      for (let i = 0; i < rows; i++) backend.put('key', key(i), bytes(`first ${i}`));
      await commit(backend);
      const view = backend.view();
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < rows; i++) {
          if ((i + round) % 3 === 0) backend.delete('key', key(i));
          else backend.put('key', key(i), bytes(`round ${round}`));
        }
        let finished = false;
        const done = commit(backend).then(() => {
          finished = true;
        });
        for (let looks = 0; !finished; looks++) {
          const i = (looks * 997) % (rows - 10);
          expect(toByteString(view.get('key', key(i))!)).toBe(`first ${i}`);
          const expected = Array.from({ length: 10 }, (_, n) => [key(i + n), `first ${i + n}`]);
          expect(rowsOf(view, 'key', key(i), undefined, 10)).toEqual(expected);
          expect(toByteString(backend.get('key', key(i + 2)) ?? EMPTY_BYTES)).toBe(
            (i + 2 + round) % 3 === 0 ? '' : `round ${round}`,
          );
          await new Promise((resolve) => setImmediate(resolve));
        }
        await done;
      }
      expect(rowsOf(view, 'key')).toEqual(Array.from({ length: rows }, (_, i) => [key(i), `first ${i}`]));
      await reopen();
      expect(() => view.get('key', key(0))).toThrow(AssertionError);
      expect(rowsOf(backend, 'key').length).toBe(rows - rows / 3);
    });

    it('agrees with a model under any sequence of operations', async () => {
      const key = fc.constantFrom('a', 'b', 'ba', 'c', 'd\xff', 'e', 'f', 'g');
      const operation = fc.oneof(
        {
          weight: 6,
          arbitrary: fc.record({ op: fc.constant('put' as const), key, value: fc.string({ maxLength: 3 }) }),
        },
        { weight: 3, arbitrary: fc.record({ op: fc.constant('delete' as const), key }) },
        { weight: 3, arbitrary: fc.record({ op: fc.constant('scan' as const), from: key, to: key, limit: fc.nat(4) }) },
        { weight: 2, arbitrary: fc.record({ op: fc.constant('commit' as const) }) },
        { weight: 2, arbitrary: fc.record({ op: fc.constant('wait' as const) }) },
        { weight: 1, arbitrary: fc.record({ op: fc.constant('reopen' as const) }) },
        { weight: 2, arbitrary: fc.record({ op: fc.constant('view' as const) }) },
      );
      await fc.assert(
        fc.asyncProperty(fc.array(operation, { maxLength: 40 }), async (operations) => {
          for (const [stale] of rowsOf(backend, 'key')) backend.delete('key', stale);
          await commit(backend);
          let now = new Map<string, string>();
          let committed = new Map<string, string>();
          let last = Promise.resolve();
          let views: { view: BackendView; rows: [string, string][] }[] = [];
          for (const step of operations) {
            if (step.op === 'put') {
              const value = Buffer.from(step.value).toString('latin1');
              now.set(step.key, value);
              backend.put('key', step.key, bytes(value));
            } else if (step.op === 'delete') {
              now.delete(step.key);
              backend.delete('key', step.key);
            } else if (step.op === 'scan') {
              const expected = [...now]
                .filter(([k]) => k >= step.from && k < step.to)
                .sort(([a], [b]) => (a < b ? -1 : 1))
                .slice(0, step.limit + 1);
              expect(rowsOf(backend, 'key', step.from, step.to, step.limit + 1)).toEqual(expected);
            } else if (step.op === 'commit') {
              committed = new Map(now);
              last = commit(backend);
            } else if (step.op === 'wait') await last;
            else if (step.op === 'view') {
              await last;
              views.push({ view: backend.view(), rows: [...committed].sort(([a], [b]) => (a < b ? -1 : 1)) });
            } else {
              await reopen();
              now = new Map(committed);
              views = [];
            }
            for (const { view, rows } of views) expect(rowsOf(view, 'key')).toEqual(rows);
          }
          for (const { view } of views) view.close();
          for (const k of ['a', 'b', 'ba', 'c', 'd\xff', 'e', 'f', 'g']) {
            const value = backend.get('key', k);
            expect(value === undefined ? undefined : toByteString(value)).toBe(now.get(k));
          }
          await last;
        }),
        { numRuns: 60 },
      );
    });
  });
}
