/**
 * Makes of a command line as etcdctl takes it one that commander takes: short names of commands are written out,
 * `--flag=true|false` and `-f=value` are understood. Decides nothing about what the flags mean.
 */
import { type Command, Option } from 'commander';
import { CommandError, Exit } from './context.ts';
import { goQuote, parseBoolean } from './go-text.ts';

/** A boolean flag that is on unless `--flag=false` is given. */
export function onByDefault(flag: string, description: string): Option {
  return new Option(`${flag} [bool]`, description).default(true).argParser((text) => parseBoolean(text) ?? text);
}

/** The one of `names` that `word` is, or begins if no other does. */
export function named(names: readonly string[], word: string): string | undefined {
  if (names.includes(word)) return word;
  const fitting = names.filter((name) => name.startsWith(word));
  return word !== '' && fitting.length === 1 ? fitting[0] : undefined;
}

/** `args` for `program.parse(..., { from: 'user' })`. */
export function normalised(program: Command, args: readonly string[]): string[] {
  const result: string[] = [];
  let command = program;
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === '--') return result.concat(args.slice(i));
    const flag = /^(--[A-Za-z][\w-]*|-[A-Za-z])(?:=([\s\S]*))?$/.exec(arg);
    if (flag === null) {
      const found = operand(command, arg);
      if (found !== undefined) command = found;
      result.push(found === undefined ? arg : found.name());
      continue;
    }
    const [, name, value] = flag;
    const option = optionOf(command, name!);
    if (option === undefined) result.push(arg);
    else if (option.isBoolean() || option.negate) result.push(...booleanFlag(option, value));
    else if (option.optional) result.push(`${option.long}=${checkedBoolean(option, value ?? 'true')}`);
    else if (value !== undefined) result.push((option.long ?? option.short)!, value);
    else if (i + 1 < args.length) result.push(arg, args[++i]!);
    else throw new CommandError(`flag needs an argument: ${name}`);
  }
  return result;
}

function operand(command: Command, word: string): Command | undefined {
  if (command.commands.length === 0) return undefined;
  const name = named(
    command.commands.map((one) => one.name()),
    word,
  );
  return command.commands.find((one) => one.name() === name || one.aliases().includes(word));
}

function optionOf(command: Command, name: string): Option | undefined {
  for (let one: Command | null = command; one !== null; one = one.parent) {
    const option = one.options.find(({ long, short }) => long === name || short === name);
    if (option !== undefined) return option;
  }
  return undefined;
}

function booleanFlag(option: Option, value: string | undefined): string[] {
  return value === undefined || checkedBoolean(option, value) ? [(option.long ?? option.short)!] : [];
}

function checkedBoolean(option: Option, value: string): boolean {
  const boolean = parseBoolean(value);
  if (boolean !== undefined) return boolean;
  const quoted = goQuote(value);
  const complaint = `strconv.ParseBool: parsing ${quoted}: invalid syntax`;
  throw new CommandError(`invalid argument ${quoted} for "${option.long}" flag: ${complaint}`, Exit.ERROR);
}
