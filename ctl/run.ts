/**
 * rosterctl as a function: arguments and streams in, exit code out. Owns which generation of verbs a command line means,
 * and how errors end a command. Touches the process nowhere: main.ts does.
 */
import { CommanderError } from 'commander';
import { RosterError } from '../core/errors.ts';
import { CommandError, Context, Exit, type Io, PlainError } from './context.ts';
import { chosen, type Generation } from './generation.ts';
import { remedy } from './hints.ts';
import { programOf } from './program.ts';

/** Runs one command line (without node and script) to its end. */
export async function run(args: readonly string[], io: Io): Promise<number> {
  const dashes = args.indexOf('--');
  const context = new Context(io, dashes === -1 ? undefined : args.slice(dashes + 1));
  let generation: Generation = 3;
  try {
    const choice = chosen(args, io.env);
    generation = choice.generation;
    const { program, parsable } = await programOf(choice, context);
    await program.parseAsync(parsable, { from: 'user' });
    return context.exitCode ?? (io.signal.aborted && generation === 3 ? Exit.INTERRUPTED : Exit.OK);
  } catch (error) {
    return exitCodeOf(error, context, generation);
  } finally {
    context.close();
  }
}

function exitCodeOf(error: unknown, context: Context, generation: Generation): number {
  if (error instanceof CommanderError) {
    // A command group without a command prints its help, as asked.
    if (error.code === 'commander.help' || error.exitCode === 0) return Exit.OK;
    context.warn(`Error: ${usageText(error)}`);
    return Exit.ERROR;
  }
  if (context.io.signal.aborted) return generation === 2 ? Exit.OK : Exit.INTERRUPTED;
  if (error instanceof CommandError) {
    if (error.message !== '') context.warn(error instanceof PlainError ? error.message : `Error: ${error.message}`);
    if (error.hint !== undefined) context.warn(`hint: ${error.hint}`);
    if (error.cause instanceof RosterError) hint(error.cause, context);
    return error.exitCode;
  }
  if (!(error instanceof RosterError)) throw error;
  context.warn(`Error: ${error.message}`);
  hint(error, context);
  // Who cannot log in gets no client at all, in etcdctl.
  return error.code === 'AuthFailed' ? Exit.BAD_CONNECTION : Exit.ERROR;
}

function hint(error: RosterError, context: Context): void {
  const text = remedy(error);
  if (text !== undefined) context.warn(`hint: ${text}`);
}

/** What commander says, in etcdctl's words where it has some. */
function usageText({ message }: CommanderError): string {
  return message.replace(/^error: /, '').replace(/^unknown option '(.*)'/, 'unknown flag: $1');
}
