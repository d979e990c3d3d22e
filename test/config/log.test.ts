import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { UsageError } from '../../server/config/flag-table.ts';
import { createLogger } from '../../server/config/log.ts';

const folder = mkdtempSync(join(tmpdir(), 'roster-log-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('--log-outputs', () => {
  it('writes to every file, after what is there', async () => {
    const [one, two] = [join(folder, 'one'), join(folder, 'two')];
    createLogger({ level: 'info', format: 'json', outputs: [one] }).info('first');
    const last = (path: string) => readFileSync(path, 'utf8').trimEnd().split('\n').at(-1)!;
    await expect.poll(() => last(one), { timeout: 20_000 }).toContain('"msg":"first"');
    createLogger({ level: 'warn', format: 'json', outputs: [one, two] }).warn({ a: 1 }, 'second');
    for (const path of [one, two]) {
      await expect.poll(() => last(path), { timeout: 20_000 }).toContain('"msg":"second"');
      expect(JSON.parse(last(path))).toMatchObject({ level: 'warn', ts: expect.any(String), a: 1 });
      expect(statSync(path).mode & 0o777).toBe(0o600);
    }
    expect(readFileSync(one, 'utf8').split('\n')).toHaveLength(3);
  });

  it('writes text with --log-format console', async () => {
    const path = join(folder, 'text');
    createLogger({ level: 'info', format: 'console', outputs: [path] }).info({ a: 'b' }, 'hello');
    await expect.poll(() => readFileSync(path, 'utf8'), { timeout: 20_000 }).toMatch(/^\S+Z info hello a="b"\n$/);
  });

  it('names a file that cannot be written', () => {
    const write = () => createLogger({ level: 'info', format: 'json', outputs: [join(folder, 'no', 'file')] });
    expect(write).toThrow(UsageError);
    expect(write).toThrow('--log-outputs: ENOENT');
  });
});
