/** One seed run to its end, and what came of it, as plain data that can travel between processes. */
import type { Bug } from './bugs.ts';
import type { Settings } from './settings.ts';
import { Simulation } from './simulation.ts';
import { Violation } from './violation.ts';

export interface Task {
  seed: number;
  /** Instead of what the seed says. */
  settings?: Partial<Settings>;
  /** Everything that happens is printed, and errors have stacks. */
  trace?: boolean;
}

export interface Passed {
  seed: number;
  ok: true;
  counts: Record<string, number>;
  traceHash: string;
  simulatedMs: number;
  operations: number;
}

export interface Failed {
  seed: number;
  ok: false;
  /** The checker that was broken; `error` for an exception that is no verdict. */
  checker: string;
  message: string;
}

export type Outcome = Passed | Failed;

/** Refusals are made by the thousand in a run, and nobody looks at their stacks. */
const STACK_FRAMES = 0;

export function runSeed({ seed, settings = {}, trace = false }: Task, bug: Bug = {}): Outcome {
  const before = Error.stackTraceLimit;
  if (!trace) Error.stackTraceLimit = STACK_FRAMES;
  try {
    const print = trace ? (line: string) => console.log(line) : undefined;
    const report = new Simulation(seed, { bug, settings, print }).run();
    const { traceHash, simulatedMs, operations } = report;
    return { seed, ok: true, counts: Object.fromEntries(report.counts), traceHash, simulatedMs, operations };
  } catch (error) {
    if (trace) console.error(error);
    const checker = error instanceof Violation ? error.checker : 'error';
    return { seed, ok: false, checker, message: error instanceof Error ? error.message : String(error) };
  } finally {
    Error.stackTraceLimit = before;
  }
}
