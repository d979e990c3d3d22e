/** The simulator as plain JavaScript in a folder of its own: tests run it as a user does, and can change its text. */
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

export interface Ran {
  code: number;
  output: string;
}

export interface Compiled {
  readonly folder: string;
  /** What `npm run sim -- ARGS` would do. */
  sim(...args: string[]): Promise<Ran>;
  remove(): Promise<void>;
}

export async function compile(): Promise<Compiled> {
  const folder = await mkdtemp(join(tmpdir(), 'roster-sim-'));
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc');
  const options = ['--outDir', folder, '--tsBuildInfoFile', join(folder, '.tsbuildinfo')];
  await run(tsc, ['-p', join(ROOT, 'test', 'sim', 'tsconfig.json'), ...options]);
  // It says that these are modules.
  await copyFile(join(ROOT, 'package.json'), join(folder, 'package.json'));
  return {
    folder,
    async sim(...args) {
      const main = join(folder, 'test', 'sim', 'main.js');
      try {
        const { stdout, stderr } = await run(process.execPath, [main, ...args], { maxBuffer: OUTPUT_BYTES_MAX });
        return { code: 0, output: stdout + stderr };
      } catch (error) {
        const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
        return { code, output: `${stdout}${stderr}` };
      }
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
