import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Prng } from '../../core/util/prng.ts';
import { findPeer } from '../support/peers.ts';
import { type Json, masked, maskedEvent, type Side, type Step } from './side.ts';
import { type Sides, startSides } from './sides.ts';

/** The same random v2 operations on Debian's etcd and on Roster: every answer equal, and what waits tell of all of it. */

const etcd = findPeer('etcd');
const seed = Number(process.env.FC_SEED ?? 2026);
/** etcd keeps 1,000 events. */
const OPERATIONS = 400;
const ROUNDS = 2;

/** What a wait must not be asked in etcd: its history shows hidden keys, and takes `/a` for the parent of `/ab`. */
const NAMES = ['a', 'b', 'c-d', 'e'];

class Chooser {
  readonly #prng: Prng;

  constructor(of: number) {
    this.#prng = new Prng(of);
  }

  below(n: number): number {
    return this.#prng.int(n);
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  path(): string {
    return Array.from({ length: 1 + this.below(3) }, () => this.of(NAMES)).join('/');
  }

  /** `base`: an index of before, so that some comparisons hold. */
  step(directory: string, recent: readonly number[]): Step {
    const path = `${directory}/${this.path()}`;
    const value = `value=${this.below(3)}`;
    const query: string[] = [];
    const maybe = (chance: number, text: string) => {
      if (this.below(100) < chance) query.push(text);
    };
    const method = this.of(['PUT', 'PUT', 'PUT', 'PUT', 'DELETE', 'DELETE', 'POST', 'GET']);
    maybe(15, `prevValue=${this.below(3)}`);
    if (recent.length > 0) maybe(10, `prevIndex=${this.of(recent)}`);
    maybe(20, `prevExist=${this.of(['true', 'false'])}`);
    maybe(25, 'dir=true');
    maybe(25, 'recursive=true');
    maybe(10, 'noValueOnSuccess=true');
    const ttl = this.below(100) < 20;
    if (ttl) query.push('ttl=1000');
    const refresh = ttl && this.below(100) < 40;
    if (refresh) query.push('refresh=true');
    if (ttl && this.below(100) < 5) query.push('ttl=');
    const target = `${path}?${query.join('&')}`;
    return method === 'GET' || method === 'DELETE'
      ? { method, path: target }
      : { method, path: target, body: refresh ? '' : value };
  }
}

describe.skipIf(etcd === undefined)('random v2 operations, like etcd', () => {
  let both: Sides;
  let sides: readonly Side[] = [];

  beforeAll(async () => {
    both = await startSides(etcd);
    sides = both.sides;
  });

  afterAll(async () => {
    await both?.stop();
  });

  /** Steps are made with indexes from 0 and asked with those of the side. */
  const placed = (step: Step, base: number): Step => ({
    ...step,
    path: step.path.replace(/prevIndex=(\d+)/, (_, index: string) => `prevIndex=${base + Number(index)}`),
  });

  it.each(Array.from({ length: ROUNDS }, (_, round) => round))('round %d', { timeout: 240_000 }, async (round) => {
    const chooser = new Chooser(seed + round);
    const directory = `/r${round}`;
    const bases = await Promise.all(sides.map((side) => side.index()));
    const recent: number[] = [];
    let last = 0;
    for (let i = 0; i < OPERATIONS; i++) {
      const step = chooser.step(directory, recent);
      const [theirs, ours] = await Promise.all(
        sides.map(async (side, at) => masked(await side.keys(placed(step, bases[at]!)), bases[at]!)),
      );
      expect(ours, `${i}: ${step.method} ${step.path} ${step.body ?? ''}`).toEqual(theirs);
      const index = ours!.index as number;
      if (index > last) recent.push(index);
      last = index;
      if (recent.length > 8) recent.shift();
    }
    const [theirs, ours] = await Promise.all(
      sides.map(async (side, at) =>
        masked(await side.keys({ method: 'GET', path: `${directory}?recursive=true` }), bases[at]!),
      ),
    );
    expect(ours).toEqual(theirs);
    const told = await Promise.all(sides.map((side, at) => history(side, directory, bases[at]!, last)));
    expect(told[1]).toEqual(told[0]);
    expect(told[1]!.length).toBeGreaterThan(OPERATIONS / 5);
  });
});

/** Event by event, as a client that waits again and again hears of it. */
async function history(side: Side, directory: string, base: number, last: number): Promise<unknown[]> {
  // Something at the end, which ends the last wait.
  await side.keys({ method: 'PUT', path: `${directory}/end`, body: 'value=end' });
  const events: unknown[] = [];
  for (let from = base + 1; from <= base + last + 1; ) {
    const { text } = await side.keys({
      method: 'GET',
      path: `${directory}?wait=true&recursive=true&waitIndex=${from}`,
    });
    const event = JSON.parse(text) as { node: { modifiedIndex: number } };
    events.push(maskedEvent(event as unknown as Json, base));
    from = event.node.modifiedIndex + 1;
  }
  return events;
}
