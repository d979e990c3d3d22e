/**
 * Which keys came to life and which died lately, in order: enough to count a range as it was at a recent revision
 * without asking every key. Owns a bounded list; what it no longer knows it says.
 */
import { assert } from '../util/assert.ts';
import type { ByteString } from '../util/bytes.ts';

/** Most births and deaths remembered; half of them are forgotten when there is one more. */
export const LIVENESS_CHANGES_MAX = 1 << 16;

export class Liveness {
  readonly #changesMax: number;
  /** Every change after this main revision is known. */
  #since = 0;
  #mains: number[] = [];
  #keys: ByteString[] = [];
  /** 1: born, -1: died. */
  #deltas: number[] = [];

  constructor(changesMax: number = LIVENESS_CHANGES_MAX) {
    assert(changesMax >= 2, 'half of the changes must be at least one');
    this.#changesMax = changesMax;
  }

  /** Remembered changes. */
  get length(): number {
    return this.#mains.length;
  }

  born(main: number, key: ByteString): void {
    this.#add(main, key, 1);
  }

  died(main: number, key: ByteString): void {
    this.#add(main, key, -1);
  }

  /** Forgets everything: only changes after `main` will be known. */
  restart(main: number): void {
    this.#since = main;
    this.#mains = [];
    this.#keys = [];
    this.#deltas = [];
  }

  /** By how much the number of living keys in [from, to) has grown since `main`; `undefined`: too long ago to know. */
  growthSince(main: number, from: ByteString, to: ByteString | undefined): number | undefined {
    if (main < this.#since) return undefined;
    let growth = 0;
    for (let i = this.#mains.length - 1; i >= 0 && this.#mains[i]! > main; i--) {
      const key = this.#keys[i]!;
      if (key >= from && (to === undefined || key < to)) growth += this.#deltas[i]!;
    }
    return growth;
  }

  #add(main: number, key: ByteString, delta: number): void {
    this.#mains.push(main);
    this.#keys.push(key);
    this.#deltas.push(delta);
    if (this.#mains.length <= this.#changesMax) return;
    const drop = this.#mains.length >> 1;
    this.#since = this.#mains[drop - 1]!;
    this.#mains = this.#mains.slice(drop);
    this.#keys = this.#keys.slice(drop);
    this.#deltas = this.#deltas.slice(drop);
  }
}
