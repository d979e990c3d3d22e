/** Runs of the suite as files under bench/results/: `2026-11-22T1930.json`, and `...-quick.json` for those at small scale. */
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Results } from './measurement.ts';

export const RESULTS_FOLDER = 'bench/results';

/** Returns the file's name. */
export async function saveResults(results: Results, folder = RESULTS_FOLDER): Promise<string> {
  await mkdir(folder, { recursive: true });
  const name = `${results.startedAt.slice(0, 16).replaceAll(':', '')}${results.quick ? '-quick' : ''}.json`;
  const path = join(folder, name);
  await writeFile(path, `${JSON.stringify(results, rounded, 2)}\n`);
  await format(path);
  return path;
}

/** As `npm run check` wants files to be. The formatter's absence, or its refusal of a file elsewhere, is no failure. */
export async function format(path: string): Promise<void> {
  await promisify(execFile)(join('node_modules', '.bin', 'biome'), ['format', '--write', path]).catch(() => {});
}

/** Four digits say more than is known; whole numbers stay. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
}

export async function readResults(path: string): Promise<Results> {
  return JSON.parse(await readFile(path, 'utf8')) as Results;
}

/** The newest run at full scale, or undefined. */
export async function newestResults(folder = RESULTS_FOLDER): Promise<string | undefined> {
  const names = await readdir(folder).catch(() => []);
  const full = names.filter((name) => name.endsWith('.json') && !name.endsWith('-quick.json')).sort();
  const newest = full.at(-1);
  return newest === undefined ? undefined : join(folder, newest);
}
