/**
 * Makes a failing run smaller: fewer faults, members, clients and less time, for as long as it still breaks the same
 * promise. Owns the order in which things are tried.
 */
import type { Outcome, Task } from './seed-run.ts';
import { type Settings, settingsOf } from './settings.ts';

/** Runs that one failure is worth. */
export const SHRINK_RUNS_MAX = 150;

type Change = Partial<Settings>;

/** Numbers that may be nothing at all, the noisiest first. */
const TO_NOTHING = [
  'memberChangeMs',
  'loss',
  'duplication',
  'spike',
  'jitterMs',
  'drift',
  'keepers',
  'watchers',
  'leases',
  'compactions',
  'slowReader',
  'staysDead',
] as const satisfies readonly (keyof Settings)[];

/** What could be left out of `from`, the largest pieces first. */
function* smaller(from: Settings): Generator<Change> {
  const { faults } = from;
  const half = faults.length >> 1;
  if (half > 0) {
    yield { faults: faults.slice(0, half) };
    yield { faults: faults.slice(half) };
  }
  for (const fault of faults) yield { faults: faults.filter((other) => other !== fault) };
  for (const name of TO_NOTHING) if (from[name] > 0) yield { [name]: 0 };
  if (from.members > 3) yield { members: 3, staysDead: Math.min(1, from.staysDead) };
  if (from.clients > 1) yield { clients: 1 };
  if (from.clients > 2) yield { clients: from.clients - 1 };
  if (from.keys > 1) yield { keys: 1 };
  if (from.faultMs > 1_000) {
    yield { faultMs: Math.round(from.faultMs / 2) };
    yield { faultMs: Math.round(from.faultMs * 0.8) };
  }
}

export interface Shrunk {
  /** What differs from what the seed says. */
  settings: Change;
  outcome: Outcome & { ok: false };
  runs: number;
}

/** `failed` is what `task` came to. */
export async function shrink(
  task: Task,
  failed: Outcome & { ok: false },
  run: (task: Task) => Promise<Outcome>,
): Promise<Shrunk> {
  let settings: Change = task.settings ?? {};
  let outcome = failed;
  let runs = 0;
  for (let found = true; found; ) {
    found = false;
    for (const change of smaller({ ...settingsOf(task.seed), ...settings })) {
      if (runs >= SHRINK_RUNS_MAX) return { settings, outcome, runs };
      runs++;
      const tried = await run({ ...task, settings: { ...settings, ...change } });
      if (tried.ok || tried.checker !== failed.checker) continue;
      settings = { ...settings, ...change };
      outcome = tried;
      found = true;
      break;
    }
  }
  return { settings, outcome, runs };
}
