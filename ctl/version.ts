/** version. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { Context } from './context.ts';

/** The etcd API this command line speaks. */
const API_VERSION = '3.7';

export function addVersionCommand(program: Command, context: Context): void {
  program
    .command('version')
    .description('Prints the version of rosterctl')
    .action(() => {
      context.print(`rosterctl version: ${packageVersion()}`);
      context.print(`API version: ${API_VERSION}`);
    });
}

/** From package.json, which is one folder up from the source and two from the compiled file. */
function packageVersion(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as Record<
        string,
        string
      >;
      if (name === 'rosterd') return version!;
    } catch {
      // The other place, then.
    }
  }
  return 'unknown';
}
