/**
 * The tree of commands for one command line: global flags, the group that holds the command in full, the names of all
 * others. Owns what help looks like; runs nothing.
 */
import { Command } from 'commander';
import { normalised } from './arguments.ts';
import type { Group } from './catalogue.ts';
import type { Context } from './context.ts';
import type { Choice } from './generation.ts';
import { globalOptions, readGlobals } from './globals.ts';

export interface Program {
  program: Command;
  /** What commander is to parse. */
  parsable: string[];
}

export async function programOf(choice: Choice, context: Context): Promise<Program> {
  const program = bareProgram(context);
  const group = choice.groups.find(({ commands }) => choice.name !== undefined && choice.name in commands);
  await addGlobals(program, context, choice, group);
  for (const other of choice.groups) {
    if (other === group) (await other.load())(program, context);
    else for (const [name, text] of Object.entries(other.commands)) program.command(name).description(text);
  }
  return { program, parsable: normalised(program, choice.args) };
}

/** With every command in full, for completion. */
export async function fullProgram(groups: readonly Group[], context: Context): Promise<Command> {
  const program = bareProgram(context);
  for (const option of globalOptions()) program.addOption(option);
  for (const group of groups) (await group.load())(program, context);
  return program;
}

function bareProgram({ io }: Context): Command {
  return new Command('rosterctl')
    .description('A command line for Roster and any other store that speaks etcd v3 or v2')
    .exitOverride()
    .helpCommand(false)
    .configureHelp({ showGlobalOptions: false })
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      // Help for a group without a command; errors are told by run.ts.
      writeErr: (text) => {
        if (!text.startsWith('error:')) io.stdout.write(text);
      },
    });
}

async function addGlobals(program: Command, context: Context, choice: Choice, group?: Group): Promise<void> {
  if (choice.generation === 2) {
    const { addGlobals2 } = await import('./v2/globals.ts');
    addGlobals2(program, context);
    return;
  }
  for (const option of globalOptions()) program.addOption(option.hideHelp());
  program.addHelpText('after', topHelp);
  program.hook('preAction', async () => {
    context.globals = await readGlobals(program, context.io);
    if (context.globals.debug) context.warn(`endpoints: ${context.globals.endpoints.join(', ')}`);
    if (group?.offline !== true) await context.loadClient();
  });
}

/** Only below the list of all commands. */
function topHelp({ command }: { command: Command }): string {
  if (command.parent !== null) return '\nrosterctl options lists the flags that every command has.';
  return `
Flags that every command has: rosterctl options. The verbs of etcd v2 (set, ls, mk, ...): rosterctl --api 2 --help.

Examples:
  $ rosterctl put /app/port 8080
  $ rosterctl get /app/ --prefix --keys-only
  $ rosterctl watch /app/ --prefix -- sh -c 'echo $ETCD_WATCH_KEY'
  $ rosterctl --endpoints a:2379,b:2379,c:2379 endpoint status -w table
  $ rosterctl doctor`;
}
