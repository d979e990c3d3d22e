/**
 * Runs a target once per seed, and says what came of it: how often, and the first inputs by which it failed or took too
 * long. What never ends is ended from another thread, with its seed told first. Knows nothing of formats.
 */
import { Worker } from 'node:worker_threads';
import { Chance } from './chance.ts';

export interface Target {
  readonly name: string;
  /** Executions of a short run. */
  readonly executions: number;
  /** How much one execution weighs in a long run, compared with the others. */
  readonly share: number;
  /** Throws, or rejects, at what must not be. */
  run(chance: Chance): void | Promise<void>;
}

export interface Report {
  executions: number;
  /** `target:seed`, each with what was thrown. */
  readonly crashes: string[];
  /** `target:seed`, each with how long it took. */
  readonly hangs: string[];
  /** Of processor time, by the slowest. */
  slowestMs: number;
}

/** An execution that takes more processor time hangs. */
export const HANG_MS = 1000;
/** After so much time on the clock it is taken to be endless: a busy machine lets others wait, too. */
const ENDLESS_MS = 60_000;
/** After so many the target is left alone. */
const FAILURES_MAX = 5;

/** In another thread, since this one would not get to it: tells the seed and stops the process. */
const WATCHDOG = `
  const { workerData, parentPort } = require('node:worker_threads');
  const { name, state, limitMs } = workerData;
  let last = -1n, since = Date.now();
  setInterval(() => {
    const now = Atomics.load(state, 0);
    if (now !== last) { last = now; since = Date.now(); return; }
    if (now === 0n || Date.now() - since < limitMs) return;
    require('node:fs').writeSync(2, 'fuzz: endless: ROSTER_FUZZ_REPLAY=' + name + ':' + now + '\\n');
    process.kill(process.pid, 'SIGKILL');
  }, 100);
`;

/** Runs `target` with the seeds from `seed` on. */
export async function fuzz(target: Target, seed: number, executions: number): Promise<Report> {
  const report: Report = { executions: 0, crashes: [], hangs: [], slowestMs: 0 };
  // The seed that is being run; 0: none.
  const state = new BigInt64Array(new SharedArrayBuffer(8));
  const workerData = { name: target.name, state, limitMs: ENDLESS_MS };
  const watchdog = new Worker(WATCHDOG, { eval: true, workerData, stderr: false });
  try {
    for (let i = 0; i < executions && report.crashes.length + report.hangs.length < FAILURES_MAX; i++) {
      Atomics.store(state, 0, BigInt(seed + i));
      await once(target, seed + i, report);
    }
  } finally {
    Atomics.store(state, 0, 0n);
    await watchdog.terminate();
  }
  return report;
}

async function once(target: Target, seed: number, report: Report): Promise<void> {
  const which = `${target.name}:${seed}`;
  const before = performance.now();
  const cpuBefore = process.cpuUsage();
  report.executions++;
  try {
    await target.run(new Chance(seed));
  } catch (error) {
    report.crashes.push(`${which}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  }
  // Asking for processor time costs more than many an execution.
  if (performance.now() - before < report.slowestMs) return;
  const { user, system } = process.cpuUsage(cpuBefore);
  const ms = (user + system) / 1000;
  report.slowestMs = Math.max(report.slowestMs, Math.min(ms, performance.now() - before));
  if (ms > HANG_MS) report.hangs.push(`${which}: ${Math.round(ms)} ms`);
}
