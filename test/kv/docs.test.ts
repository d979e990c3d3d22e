import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestMember } from '../auth/member.ts';

/** Every example of docs/http.md, as it is written, in order, on a new store. */

interface Example {
  command: string;
  output: string;
}

const page = readFileSync(new URL('../../docs/http.md', import.meta.url), 'utf8');
const examples: Example[] = [...page.matchAll(/```console\n([\s\S]*?)```/g)].flatMap(([, block]) =>
  block!
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const end = part.indexOf('\n');
      return { command: part.slice(0, end), output: part.slice(end + 1) };
    }),
);

let member: TestMember;
beforeAll(async () => {
  member = await TestMember.start();
});
afterAll(() => member.stop());

/** A watch goes on until it is interrupted: when everything has come that should, or nothing will. */
function run({ command, output }: Example): Promise<string> {
  const real = command.replaceAll('localhost:2379', member.endpoint);
  return new Promise((resolve) => {
    // A group of its own, so that the interrupt reaches curl as it does in a terminal.
    const child = spawn('bash', ['-c', real], { detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
    let printed = '';
    let timer: NodeJS.Timeout | undefined;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
      // A little longer, so that what comes too much is seen.
      if (command.includes('watch') && printed.length >= output.length)
        timer ??= setTimeout(() => process.kill(-child.pid!, 'SIGINT'), 200);
    });
    child.once('close', () => {
      clearTimeout(timer);
      resolve(printed.replace(/"4b56[0-9a-f]{12}"/g, '"4b56xxxxxxxxxxxx"'));
    });
  });
}

describe('docs/http.md', () => {
  it('has examples', () => {
    expect(examples.length).toBeGreaterThan(25);
    expect(page.match(/curl/g)!.length).toBeGreaterThan(examples.length);
  });

  it('says what happens', async () => {
    for (const example of examples) expect(await run(example), example.command).toBe(example.output);
  });
});
