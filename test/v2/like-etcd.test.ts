import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findPeer } from '../support/peers.ts';
import { CASES, type Case, WAITS, type WaitCase } from './cases.ts';
import { masked, maskedEvent, type Side, type Step } from './side.ts';
import { type Sides, startSides } from './sides.ts';

/** The v2 semantics, asked of Debian's `etcd --enable-v2` and of Roster: every answer equal, but for masks (side.ts). */

const etcd = findPeer('etcd');

describe.skipIf(etcd === undefined)('v2, like etcd', () => {
  let both: Sides;
  let sides: readonly Side[] = [];
  let cases = 0;

  beforeAll(async () => {
    both = await startSides(etcd);
    sides = both.sides;
  });

  afterAll(async () => {
    await both?.stop();
    process.stdout.write(`v2, like etcd: ${cases} cases\n`);
  });

  /** A directory of its own, so that no case meets what another has left; and of the same name on both sides. */
  const placed = (step: Step, directory: string): Step => ({ ...step, path: step.path.replaceAll('@', directory) });

  async function run(side: Side, { before, steps }: Case, directory: string): Promise<unknown[]> {
    for (const step of before) await side.keys(placed(step, directory));
    const base = await side.index();
    const answers: unknown[] = [];
    for (const step of steps) answers.push(masked(await side.keys(placed(step, directory)), base));
    return answers;
  }

  async function wait(
    side: Side,
    { before, wait: path, during, events }: WaitCase,
    directory: string,
  ): Promise<unknown> {
    const base = await side.index();
    for (const step of before) await side.keys(placed(step, directory));
    const target = path.replaceAll('@', directory).replace(/#(\d+)/, (_, more: string) => String(base + Number(more)));
    const waiting = await side.wait(target);
    for (const step of during) await side.keys(placed(step, directory));
    const came = await waiting.until(() => waiting.lines.length >= events);
    // What must not come has had its time when this is answered.
    await side.index();
    const isStream = path.includes('stream=true');
    const ended = isStream || (await waiting.until(() => waiting.ended));
    waiting.close();
    const index = Number(waiting.headers['x-etcd-index']) - base;
    // etcd tells a stream of a delete twice.
    const told = waiting.lines.map((line) => maskedEvent(line, base));
    const lines = told.filter((line, i) => JSON.stringify(line) !== JSON.stringify(told[i - 1]));
    return { status: waiting.status, index, came, ended, lines };
  }

  it.each(CASES.map((each, i) => [each.name, each, i] as const))('%s', async (_name, each, i) => {
    cases++;
    const [theirs, ours] = await Promise.all(sides.map((side) => run(side, each, `/c${i}`)));
    expect(ours).toEqual(theirs);
  });

  it.each(WAITS.map((each, i) => [each.name, each, i] as const))(
    'waits for %s',
    async (_name, each, i) => {
      cases++;
      const [theirs, ours] = await Promise.all(sides.map((side) => wait(side, each, `/w${i}`)));
      expect(ours).toEqual(theirs);
      expect(ours).toMatchObject({ came: true, ended: true });
    },
    60_000,
  );
});
