/**
 * Seeded pseudo-random numbers, so that everything "random" in core/ replays from its seed. Owns one generator's state.
 * Never for secrets.
 */
import { assert } from './assert.ts';

const TWO_32 = 2 ** 32;

/** Chris Doty-Humphrey's sfc32 (PractRand): 128 bits of state, a period of at least 2^32. */
export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** Equal seeds give equal sequences. `seed` is a safe integer. */
  constructor(seed: number) {
    assert(Number.isSafeInteger(seed), 'a seed must be a safe integer');
    this.#a = 0;
    this.#b = seed | 0;
    this.#c = Math.floor(seed / TWO_32) | 0;
    for (let i = 0; i < 15; i++) this.nextUint32();
  }

  /** Uniform in [0, 2^32). */
  nextUint32(): number {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }

  /** Uniform integer in [0, n), without the bias of a modulo. `n` is an integer in 1..2^32. */
  int(n: number): number {
    assert(Number.isInteger(n) && n > 0 && n <= TWO_32, 'int(n) needs an integer n in 1..2^32');
    const fair = TWO_32 - (TWO_32 % n);
    let value = this.nextUint32();
    while (value >= fair) value = this.nextUint32();
    return value % n;
  }

  /** Uniform in [0, 1), 53 bits. */
  float(): number {
    const high = this.nextUint32() >>> 5;
    const low = this.nextUint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /** Uniform in [1, 2^63): an identifier that is never 0 and positive as int64. */
  bigint63(): bigint {
    for (;;) {
      const value = (BigInt(this.nextUint32() >>> 1) << 32n) | BigInt(this.nextUint32());
      if (value !== 0n) return value;
    }
  }
}
