import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { startRoster } from '../support/roster.ts';
import { commandsOf, runPage } from './pages.ts';

const FOLDER = fileURLToPath(new URL('../../docs/recipes/', import.meta.url));
const pages = readdirSync(FOLDER).filter((name) => name !== 'README.md');

describe('the recipes', { timeout: 120_000 }, () => {
  it.each(pages)('%s says what happens', async (name) => {
    const blocks = commandsOf(readFileSync(`${FOLDER}${name}`, 'utf8'));
    expect(blocks.length).toBeGreaterThan(0);
    const store = await startRoster();
    try {
      const printed = await runPage(blocks, store.endpoint);
      const told = blocks.map(({ printed: expected }, i) => (expected === undefined ? printed[i]! : expected));
      expect(printed).toEqual(told);
    } finally {
      await store.stop();
    }
  });

  it('are all in the list', () => {
    const list = readFileSync(`${FOLDER}README.md`, 'utf8');
    expect(pages.filter((name) => !list.includes(`(${name})`))).toEqual([]);
  });
});
