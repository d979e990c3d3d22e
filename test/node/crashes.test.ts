/**
 * One member, crashed at any point: what was acknowledged is never lost, and what was applied before is the beginning
 * of what is applied after. A crash keeps what is durable, and perhaps some of the writes under way.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Bench } from './world.ts';

type Action =
  | { do: 'put' }
  | { do: 'turn' }
  | { do: 'write'; count: number }
  | { do: 'tick' }
  | { do: 'commit' }
  | { do: 'read' }
  | { do: 'crash'; keep: number }
  | { do: 'stop' };

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Action>({ do: 'put' }) },
  { weight: 6, arbitrary: fc.constant<Action>({ do: 'turn' }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('write' as const), count: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: fc.constant<Action>({ do: 'tick' }) },
  { weight: 2, arbitrary: fc.constant<Action>({ do: 'commit' }) },
  { weight: 2, arbitrary: fc.constant<Action>({ do: 'read' }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), keep: fc.integer({ min: 0, max: 3 }) }) },
  { weight: 1, arbitrary: fc.constant<Action>({ do: 'stop' }) },
);

class Run {
  bench: Bench;
  /** In the order of their acknowledgement. */
  readonly acknowledged: string[] = [];
  readonly #limits: { catchupEntries: number; applyEntriesMax: number; batchBytesMax: number };
  #count = 0;

  constructor(limits: { catchupEntries: number; applyEntriesMax: number; batchBytesMax: number }) {
    this.#limits = limits;
    this.bench = new Bench({ limits });
    this.bench.node.start();
  }

  #restart(): void {
    const { wal, machine } = this.bench;
    const before = machine.values;
    wal.closed = false;
    this.bench = new Bench({ wal, machine: machine.crash(), limits: this.#limits });
    this.bench.node.start();
    expect(before.slice(0, this.bench.machine.values.length)).toEqual(this.bench.machine.values);
  }

  act(step: Action): void {
    const { bench } = this;
    if (step.do === 'put') bench.put(`${++this.#count}`, this.acknowledged);
    else if (step.do === 'turn') bench.turn();
    else if (step.do === 'write') bench.wal.finish(step.count);
    else if (step.do === 'tick') bench.tick();
    else if (step.do === 'commit' && bench.machine.commits.length > 0) bench.machine.finishCommit();
    else if (step.do === 'read') this.#read();
    else if (step.do === 'crash') this.#crash(step.keep);
    else if (step.do === 'stop') this.#stop();
  }

  #read(): void {
    const before = [...this.acknowledged];
    const { machine, node } = this.bench;
    node.linearizableRead((error) => {
      if (error === undefined) expect(machine.values).toEqual(expect.arrayContaining(before));
    });
  }

  #crash(keep: number): void {
    const { wal, machine } = this.bench;
    const applied = [...machine.values];
    wal.keep(keep);
    this.#restart();
    this.bench.settle();
    expect(this.bench.machine.values.slice(0, applied.length), 'the applied prefix').toEqual(applied);
  }

  #stop(): void {
    const { bench } = this;
    let stopped = false;
    bench.node.stop(() => {
      stopped = true;
    });
    bench.settle();
    while (bench.machine.commits.length > 0) bench.machine.finishCommit();
    expect(stopped).toBe(true);
    this.#restart();
  }

  /** Everything that was accepted and survived, in the order of the log. */
  end(): void {
    this.bench.settle();
    const { values } = this.bench.machine;
    expect(new Set(values).size, 'applied once').toBe(values.length);
    expect(
      values.filter((value) => this.acknowledged.includes(value)),
      'acknowledged, in order',
    ).toEqual(this.acknowledged);
  }
}

describe('crashes and restarts of one member', () => {
  it('lose nothing acknowledged and change nothing applied', () => {
    const limits = fc.record({
      catchupEntries: fc.integer({ min: 0, max: 5 }),
      applyEntriesMax: fc.integer({ min: 1, max: 4 }),
      batchBytesMax: fc.constantFrom(1, 60, 1 << 20),
    });
    fc.assert(
      fc.property(limits, fc.array(action, { minLength: 20, maxLength: 150 }), (settings, steps) => {
        const run = new Run(settings);
        for (const step of steps) run.act(step);
        run.end();
      }),
      { numRuns: 400, seed: 20_260_101 },
    );
  });
});
