/** Runs the transcripts of testdata/. REWRITE_TRANSCRIPTS=1 writes down what happens instead; read the difference. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { Transcript } from './transcript.ts';

const folder = fileURLToPath(new URL('testdata/', import.meta.url));

/** The same text with the part after each `----` as it happens now. */
function played(source: string): string {
  const transcript = new Transcript();
  return `${source
    .trimEnd()
    .split(/\n\n+/)
    .map((block) => {
      const [head] = block.split(/\n?^----$/m);
      const commands = head!.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
      if (commands.length === 0) return block;
      return `${head!.trimEnd()}\n----\n${transcript.run(commands)}`;
    })
    .join('\n\n')}\n`;
}

describe('raft transcripts', () => {
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.txt'))) {
    it(name.replace('.txt', '').replaceAll('-', ' '), () => {
      const source = readFileSync(folder + name, 'utf8');
      const result = played(source);
      if (process.env.REWRITE_TRANSCRIPTS === '1') writeFileSync(folder + name, result);
      else expect(result).toBe(source);
    });
  }
});
