/**
 * Every bit, sector, page and length of a log of 256 KiB, one at a time, through the recovery that the server runs.
 * `LOG_STATES=full` tries all of them and prints what came of it; otherwise a part is drawn.
 */
import { describe, expect, it } from 'vitest';
import { Prng } from '../../core/util/prng.ts';
import { BigLog, type Outcome, SEGMENT_BYTES } from './big-log.ts';

const FULL = process.env.LOG_STATES === 'full';
const TIMEOUT = { timeout: 3_600_000 };

type Counts = Record<Outcome, number>;

function noCounts(): Counts {
  return { damaged: 0, whole: 0, 'lost without a trace': 0 };
}

function tell(what: string, counts: Counts): void {
  const states = counts.damaged + counts.whole + counts['lost without a trace'];
  if (FULL) console.log(`${what}: ${states} states, ${JSON.stringify(counts)}`);
}

function flip(log: BigLog, name: string, bit: number, counts: Counts): void {
  const bytes = log.files.get(name)!;
  const at = bit >> 3;
  bytes[at]! ^= 1 << (bit & 7);
  counts[log.judge({ name, from: at, to: at + 1 })]++;
  bytes[at]! ^= 1 << (bit & 7);
}

function overwrite(log: BigLog, name: string, from: number, content: Uint8Array, counts: Counts): void {
  const bytes = log.files.get(name)!;
  const before = bytes.slice(from, from + content.length);
  bytes.set(content, from);
  counts[log.judge({ name, from, to: from + content.length })]++;
  bytes.set(before, from);
}

for (const closed of [true, false]) {
  const traceless = closed ? 0 : 1;
  describe(closed ? 'a log that was closed in order' : 'a log that was not closed', () => {
    const log = new BigLog(closed);
    const last = log.segments.at(-1)!;

    it('is 256 KiB of used segments', () => {
      expect(log.bytes).toBe(256 * 1024);
      expect(log.files.size).toBe(log.segments.length + 1);
    });

    // Of the two logs only the last segment differs.
    for (const [i, name] of log.segments.entries()) {
      if (closed && name !== last) continue;
      it(`one flipped bit in segment ${i + 1}: found, or without effect, or in the last record of all`, TIMEOUT, () => {
        const counts = noCounts();
        const { from, to } = log.lastFrame;
        if (FULL) for (let bit = 0; bit < SEGMENT_BYTES * 8; bit++) flip(log, name, bit, counts);
        else {
          const random = new Prng(i + 1);
          for (let bit = 0; bit < 64 * 8; bit += 5) flip(log, name, bit, counts);
          for (let n = 0; n < 400; n++) flip(log, name, random.int(SEGMENT_BYTES * 8), counts);
          if (name === last) for (let bit = from * 8; bit < to * 8; bit += 501) flip(log, name, bit, counts);
        }
        tell(`bits of segment ${i + 1}`, counts);
        const lastBits = closed || name !== last ? 0 : (to - from) * 8;
        expect(counts['lost without a trace']).toBeLessThanOrEqual(lastBits);
        // All but the padding of records, and what was there before them.
        if (FULL) expect(counts.damaged).toBeGreaterThan((log.usedBytes(name) * 8 - lastBits) * 0.99);
        else expect(counts.damaged).toBeGreaterThan(100);
      });
    }

    it('one flipped bit in the header of the next, unused segment', TIMEOUT, () => {
      const counts = noCounts();
      for (let bit = 0; bit < 64 * 8; bit += FULL ? 1 : 7) flip(log, [...log.files.keys()].at(-1)!, bit, counts);
      tell('bits of the next header', counts);
      expect(counts['lost without a trace']).toBe(0);
    });

    it('one sector or page of zeros, of ones, or of an earlier segment', TIMEOUT, () => {
      const counts = noCounts();
      const names = [...log.files.keys()];
      for (const size of [512, 4096]) {
        for (const [i, name] of names.entries()) {
          for (let from = 0; from < SEGMENT_BYTES; from += size) {
            const earlier = log.files.get(names[(i + names.length - 1) % names.length]!)!;
            for (const content of [
              new Uint8Array(size),
              new Uint8Array(size).fill(0xff),
              earlier.slice(from, from + size),
            ])
              overwrite(log, name, from, content, counts);
          }
        }
      }
      tell('sectors and pages', counts);
      const { from, to } = log.lastFrame;
      const touching = (size: number) => Math.floor((to - 1) / size) - Math.floor(from / size) + 1;
      expect(counts['lost without a trace']).toBe(traceless * 3 * (touching(512) + touching(4096)));
    });

    it('every length to which a file may be cut', TIMEOUT, () => {
      const counts = noCounts();
      const random = new Prng(2);
      for (const [name, bytes] of log.files) {
        if (closed && name < last) continue;
        for (let length = 0; length < bytes.length; length += FULL || length < 128 ? 1 : 1 + random.int(600)) {
          log.files.set(name, bytes.slice(0, length));
          counts[log.judge({ name, from: length, to: bytes.length })]++;
        }
        log.files.set(name, bytes);
      }
      tell('lengths', counts);
      expect(counts).toMatchObject({ whole: 0, 'lost without a trace': 0 });
    });
  });
}
