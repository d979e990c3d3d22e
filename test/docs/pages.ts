/** The commands of a page of docs/, run as written in one shell, and what each block of them printed. */
import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rosterctlMain, rosterMain } from '../support/roster.ts';

const PACKAGE = fileURLToPath(new URL('../..', import.meta.url));
const TIMEOUT_MS = 80_000;

/** One ```sh block, and the ```text block that follows it: what it prints. */
export interface Commands {
  readonly commands: string;
  readonly printed: string | undefined;
}

/** The blocks of a page, but for those marked `<!-- not run -->`. */
export function commandsOf(page: string): Commands[] {
  const blocks = [...page.matchAll(/(<!-- not run -->\s*)?^```(sh|text)\n(.*?)^```$/gms)];
  const found: { commands: string; printed: string | undefined }[] = [];
  let skipped = false;
  for (const [, mark, language, content] of blocks) {
    if (language === 'sh') {
      skipped = mark !== undefined;
      if (!skipped) found.push({ commands: content!, printed: undefined });
    } else if (!skipped) found.at(-1)!.printed = content!;
  }
  return found;
}

/** What one run of the page printed, block by block, without the trailing newline; with an error when the shell gave up. */
export async function runPage(blocks: readonly Commands[], endpoint: string): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'roster-page-'));
  try {
    await prepare(folder);
    const script = [
      'set -e',
      `trap 'for job in $(jobs -p); do kill $job 2> /dev/null || true; done; wait' EXIT`,
      ...blocks.map(({ commands }, i) => `{\n${commands}\n} > ${folder}/out.${i}`),
    ].join('\n');
    const failure = await shell(script, join(folder, 'work'), {
      ...process.env,
      PATH: `${join(folder, 'bin')}:${process.env.PATH}`,
      ETCDCTL_ENDPOINTS: endpoint,
    });
    const printed: string[] = [];
    for (const i of blocks.keys())
      printed.push(await readFile(join(folder, `out.${i}`), 'utf8').catch(() => 'not run'));
    if (failure !== undefined) throw new Error(`${failure}\nprinted so far:\n${printed.join('---\n')}`);
    return printed;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** `roster` and `rosterctl` on the path, and the package where a program finds it. */
async function prepare(folder: string): Promise<void> {
  await mkdir(join(folder, 'bin'));
  await mkdir(join(folder, 'work', 'node_modules'), { recursive: true });
  await symlink(PACKAGE, join(folder, 'work', 'node_modules', 'rosterd'));
  for (const [name, main] of [
    ['roster', rosterMain],
    ['rosterctl', rosterctlMain],
  ] as const) {
    const file = join(folder, 'bin', name);
    await writeFile(file, `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`);
    await chmod(file, 0o755);
  }
  await symlink(process.execPath, join(folder, 'bin', 'node'));
}

/** Resolves with what went wrong, if anything. Nothing of the shell is left running. */
function shell(script: string, cwd: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn('bash', ['-c', script], { cwd, env, detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
    let complaints = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      complaints += chunk;
    });
    const endGroup = (): void => {
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {
        // All of it has ended.
      }
    };
    const timer = setTimeout(endGroup, TIMEOUT_MS);
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      endGroup();
      resolve(code === 0 ? undefined : `the page's shell ended with ${code ?? signal}: ${complaints}`);
    });
  });
}
