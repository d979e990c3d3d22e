/** version, options and completion: what rosterctl tells of itself. Asks no server. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { CommandError, type Context, Exit } from '../context.ts';
import { globalOptions } from '../globals.ts';

/** The etcd API this command line speaks. */
const API_VERSION = '3.7';

export function addAboutCommands(program: Command, context: Context): void {
  program
    .command('version')
    .description('Prints the version of rosterctl')
    .action(() => {
      context.print(`rosterctl version: ${packageVersion()}`);
      context.print(`API version: ${API_VERSION}`);
    });
  program
    .command('options')
    .description('Lists the flags that every command has')
    .action(() => {
      context.print('The following options can be passed to any command, or given as ETCDCTL_<NAME>:\n');
      const options = globalOptions();
      const width = Math.max(...options.map(({ flags }) => flags.length));
      for (const { flags, description, defaultValue } of options) {
        const value = defaultValue === undefined || defaultValue === '' ? '' : ` (default: ${defaultValue})`;
        context.print(`  ${flags.padEnd(width)}  ${description}${value}`);
      }
    });
  program
    .command('completion [args...]')
    .usage('bash|zsh|fish')
    .description('Generates completion scripts for bash, zsh and fish')
    .addHelpText(
      'after',
      `
Examples:
  $ source <(rosterctl completion bash)
  $ rosterctl completion zsh > "\${fpath[1]}/_rosterctl"
  $ rosterctl completion fish > ~/.config/fish/completions/rosterctl.fish`,
    )
    .action(async (args: string[]) => {
      const { completion, SHELLS } = await import('./completion.ts');
      const shell = SHELLS.find((name) => name === args[0]);
      if (args.length !== 1 || shell === undefined) {
        throw new CommandError(`completion needs one argument: ${SHELLS.join(', ')}`, Exit.BAD_ARGUMENTS);
      }
      context.io.stdout.write(await completion(shell, context));
    });
}

/** From package.json, which is two folders up from the source and three from the compiled file. */
function packageVersion(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
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
