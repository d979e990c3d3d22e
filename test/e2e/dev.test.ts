import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect, it } from 'vitest';
import { rosterMain } from '../support/roster.ts';

/** `npm start`: the whole road in one process, told as it happens, and nothing left behind. */
it('shows the road: services appear in the file, a stopped one leaves it, Ctrl-C cleans up', {
  timeout: 60_000,
}, async () => {
  const child = spawn(process.execPath, [rosterMain, 'dev'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const gone = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const says = async (pattern: RegExp): Promise<RegExpExecArray> => {
    await expect.poll(() => output, { timeout: 20_000 }).toMatch(pattern);
    return pattern.exec(output)!;
  };
  try {
    const [, file] = await says(/file written {2}(\S+)/);
    await says(/\| {3}server 127\.0\.0\.1:\d+; # web-1\n\s+\| {3}server 127\.0\.0\.1:\d+; # web-2/);
    const [, pid] = await says(/kill (\d+)/);
    process.kill(Number(pid));
    await says(
      /service down {2}\/services\/web\/web-1[\s\S]*upstream web \{\n\s+\| {3}server 127\.0\.0\.1:\d+; # web-2\n\s+\| \}/,
    );
    child.kill('SIGINT');
    expect(await gone, output).toBe(0);
    expect(existsSync(dirname(file!))).toBe(false);
  } finally {
    child.kill('SIGKILL');
    await gone;
  }
});
