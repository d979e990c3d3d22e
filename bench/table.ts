/**
 * `npm run bench -- table`: the whole suite in one run. Sections run one after the other, each on fresh servers; what fails
 * is reported and the rest goes on. The run is kept under bench/results/, and the table of goals is printed at the end.
 */
import { parseArgs } from 'node:util';
import { type Measurement, type Results, thisMachine, work } from './measurement.ts';
import { failures, generatorTable, goalTable, machineLine, short } from './report/tables.ts';
import { RESULTS_FOLDER, saveResults } from './results.ts';
import { type ServerName, serverNames } from './servers.ts';
import { calmSection } from './workloads/calm.ts';
import { generatorSection } from './workloads/generator.ts';
import { leaseSection } from './workloads/lease.ts';
import { putSections } from './workloads/put.ts';
import { rangeSections } from './workloads/range.ts';
import { restoreSection } from './workloads/restore.ts';
import { recordFailure, type Scale, type Section, type SectionRun } from './workloads/section.ts';
import { sizesSection } from './workloads/sizes.ts';
import { txnSection } from './workloads/txn.ts';
import { watchSection } from './workloads/watch.ts';

const sections: readonly Section[] = [
  generatorSection,
  ...putSections,
  ...rangeSections,
  txnSection,
  leaseSection,
  watchSection,
  calmSection,
  restoreSection,
  sizesSection,
];

const FULL: Scale = {
  seconds: 5,
  rounds: 5,
  clients: [1, 100, 1000],
  valueBytes: [16, 256, 4096, 65_536],
  sizes: [10_000, 100_000, 1_000_000],
  revisions: 1_000_000,
  bigKeys: 100_000,
  missedPuts: 200_000,
  watchers: [1000, 10_000],
};
/** Fit to see that everything works; its figures are no more than a hint. */
const QUICK: Scale = {
  ...FULL,
  seconds: 1,
  rounds: 1,
  sizes: [1000, 10_000],
  revisions: 20_000,
  bigKeys: 5000,
  missedPuts: 40_000,
};

const help = `npm run bench -- table [options]
  --quick              small: see that everything works (minutes, not an hour)
  --sections a,b       only these: ${sections.map(({ name }) => name).join(', ')}
  --seconds 5          length of one run
  --rounds 5           runs of each server, alternating
  --folder DIR         where the data directories go (default: the system's temporary folder)
  --only roster|etcd   one server alone
  --out ${RESULTS_FOLDER}  where the run's file goes`;

export async function benchTable(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean', default: false },
      sections: { type: 'string' },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      folder: { type: 'string' },
      only: { type: 'string' },
      out: { type: 'string', default: RESULTS_FOLDER },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(help);
  const base = values.quick ? QUICK : FULL;
  const scale: Scale = {
    ...base,
    seconds: Number(values.seconds ?? base.seconds),
    rounds: Number(values.rounds ?? base.rounds),
  };
  const wanted = values.sections?.split(',');
  const unknown = wanted?.find((name) => !sections.some((section) => section.name === name));
  if (unknown !== undefined) throw new Error(`there is no section ${unknown}\n${help}`);
  const chosen = sections.filter(({ name }) => wanted === undefined || wanted.includes(name));
  const servers = serverNames.filter((name) => values.only === undefined || values.only === name);
  const results = await runSections(chosen, scale, servers, { quick: values.quick, folder: values.folder });
  const path = await saveResults(results, values.out);
  tell(results, path);
}

async function runSections(
  chosen: readonly Section[],
  scale: Scale,
  servers: readonly ServerName[],
  { quick, folder }: { quick: boolean; folder: string | undefined },
): Promise<Results> {
  const startMs = performance.now();
  const startedAt = new Date().toISOString();
  const measurements: Measurement[] = [];
  const run: SectionRun = {
    scale,
    servers,
    folder,
    record: (measurement) => {
      measurements.push(measurement);
      console.log(`    ${line(measurement)}`);
    },
    progress: (text) => console.log(`  ${text}`),
  };
  const minutes = (seconds: number): string => `${Math.max(1, Math.round(seconds / 60))} min`;
  for (const [i, section] of chosen.entries()) {
    const left = chosen.slice(i).reduce((sum, { estimateSeconds }) => sum + estimateSeconds(scale), 0);
    const here = minutes(section.estimateSeconds(scale));
    console.log(`[${i + 1}/${chosen.length}] ${section.name}: about ${here}; all that is left about ${minutes(left)}`);
    try {
      await section.run(run);
    } catch (error) {
      for (const server of servers) recordFailure(run, work(`section ${section.name}`), server, 0, error);
    }
  }
  const tookSeconds = (performance.now() - startMs) / 1000;
  return { startedAt, tookSeconds, quick, machine: thisMachine(), measurements };
}

function line({ server, figures, error }: Measurement): string {
  const name = server.padEnd(9);
  if (error !== undefined) return `${name} FAILED: ${error}`;
  const said = Object.entries(figures).map(([figure, value]) =>
    figure.endsWith('Bytes')
      ? `${figure.replace('Bytes', '')} ${short(value / 1024 ** 2)} MiB`
      : `${figure} ${short(value)}`,
  );
  return `${name} ${said.join('  ')}`;
}

function tell(results: Results, path: string): void {
  const { measurements } = results;
  console.log(`\n${machineLine(results)}\n`);
  console.log(`${goalTable(measurements)}\n`);
  console.log(`The load generator alone:\n\n${generatorTable(measurements)}\n`);
  const failed = failures(measurements);
  if (failed.length > 0) console.log(`What failed:\n${failed.map((text) => `- ${text}`).join('\n')}\n`);
  console.log(`kept as ${path}; npm run bench -- report ${path} writes docs/performance.md from it`);
}
