/**
 * `npm run sim`: many seeds on all processors, one seed again with everything that happens in it, or the canaries. What
 * it prints is for people; the exit code is 1 when a promise was broken.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { CANARIES, findCanary } from './canaries.ts';
import { searchCanary } from './canary-search.ts';
import { type Outcome, runSeed, type Task } from './seed-run.ts';
import { type Settings, settingsOf } from './settings.ts';
import { Sweep } from './sweep.ts';
import { Workers } from './workers.ts';

const USAGE = `npm run sim -- [--seeds N] [--from S] [--workers W] [--no-shrink]   N runs, from seed S on
npm run sim -- --seed N [--settings JSON] [--trace] [--canary NAME]   one run again
npm run sim -- --canaries [--only TEXT] [--schedules N] [--workers W]  each known bug put back, and found`;

const SEEDS = 200;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: String(SEEDS) },
    from: { type: 'string', default: '1' },
    workers: { type: 'string', default: String(availableParallelism()) },
    'no-shrink': { type: 'boolean', default: false },
    seed: { type: 'string' },
    settings: { type: 'string', default: '{}' },
    trace: { type: 'boolean', default: false },
    canary: { type: 'string' },
    canaries: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    schedules: { type: 'string', default: '1000000' },
    help: { type: 'boolean', default: false },
  },
});

function number(name: 'seeds' | 'from' | 'workers' | 'seed' | 'schedules'): number {
  const value = Number(values[name]);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`--${name} takes a number, not ${values[name]}\n${USAGE}`);
  process.exit(2);
}

async function many(): Promise<boolean> {
  const sweep = new Sweep({
    seeds: number('seeds'),
    from: number('from'),
    workers: number('workers'),
    shrinks: !values['no-shrink'],
    print: console.log,
  });
  return sweep.run();
}

/** In this process, so that a debugger finds everything here. */
async function one(): Promise<boolean> {
  const seed = number('seed');
  const changes = JSON.parse(values.settings) as Partial<Settings>;
  if (values.trace) console.log(JSON.stringify({ ...settingsOf(seed), ...changes }));
  const task = { seed, settings: changes, trace: values.trace };
  const outcome = values.canary === undefined ? runSeed(task) : await runWith(values.canary, task);
  console.log(outcome.ok ? JSON.stringify(outcome) : `seed ${seed} fails: ${outcome.message}`);
  return outcome.ok;
}

async function runWith(canary: string, task: Task): Promise<Outcome> {
  const workers = new Workers(1, findCanary(canary).name);
  try {
    return await workers.run(task);
  } finally {
    workers.close();
  }
}

async function canaries(): Promise<boolean> {
  const chosen = CANARIES.filter(({ name }) => name.includes(values.only));
  let missed = 0;
  let schedules = 0;
  for (const canary of chosen) {
    const schedulesMax = Math.min(canary.schedulesMax, number('schedules'));
    const found = await searchCanary({ ...canary, schedulesMax }, number('workers'));
    schedules += found.schedules;
    if (!found.ok) missed++;
    console.log(`${found.ok ? String(found.schedules).padStart(5) : ' none'}  ${canary.name}: ${found.text}`);
  }
  console.log(`${chosen.length - missed} of ${chosen.length} found in ${schedules} schedules`);
  return missed === 0;
}

if (values.help) console.log(USAGE);
else {
  const ok = await (values.canaries ? canaries() : values.seed === undefined ? many() : one());
  process.exitCode = ok ? 0 : 1;
}
