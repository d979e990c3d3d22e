/**
 * Where the values of flags come from: command line, environment, environment file, config file, defaults - in etcd's
 * order. Owns precedence, older names, what is ignored and what is refused; knows no particular flag but the two that name
 * files.
 */
import { readFileSync } from 'node:fs';
import { type FileSetting, parseConfigFile } from './config-file.ts';
import { parseEnvironmentFile } from './environment-file.ts';
import {
  type ArgumentKind,
  environmentName,
  type FlagTable,
  type FlagValues,
  initialValues,
  parseValue,
  readArguments,
  suggestion,
  UsageError,
} from './flag-table.ts';
import type { OlderFlag } from './older-flags.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** All names there are. A name is looked for in this order. */
export interface FlagNames<Table extends FlagTable> {
  readonly table: Table;
  readonly older: Readonly<Record<string, OlderFlag>>;
  readonly ignored: FlagTable;
  /** Name -> what to do instead. */
  readonly refused: Readonly<Record<string, string>>;
}

export interface Sources<Table extends FlagTable> {
  readonly values: FlagValues<Table>;
  /** Flag -> where its value comes from, in words. Flags that are not in here have their default. */
  readonly origins: ReadonlyMap<string, string>;
  /** What was given and does nothing, as it was written. */
  readonly ignored: readonly string[];
  /** What was given under an older name: `--debug (now --log-level debug)`. */
  readonly older: readonly string[];
  /** What the operator may not expect. */
  readonly warnings: readonly string[];
}

/** One value before it is parsed. */
interface Setting {
  readonly name: string;
  readonly text: string;
  /** In errors: `flag --name`. */
  readonly source: string;
  /** As it was written: `--name`, `ETCD_NAME`. */
  readonly written: string;
}

const CONFIG_FILE = 'config-file';
const ENV_FILE = 'env-file';
const FILES: Readonly<Record<string, ArgumentKind>> = {
  [CONFIG_FILE]: { help: 'a file' },
  [ENV_FILE]: { help: 'a file' },
};

/** Throws UsageError. Files are read as UTF-8. */
export function readSources<Table extends FlagTable>(
  names: FlagNames<Table>,
  args: readonly string[],
  environment: Environment,
): Sources<Table> {
  return new Reader(names).read(args, environment);
}

class Reader<Table extends FlagTable> {
  readonly #names: FlagNames<Table>;
  readonly #values: Record<string, unknown>;
  readonly #origins = new Map<string, string>();
  readonly #ignored: string[] = [];
  readonly #older: string[] = [];
  readonly #warnings: string[] = [];

  constructor(names: FlagNames<Table>) {
    this.#names = names;
    this.#values = initialValues(names.table);
  }

  read(args: readonly string[], environment: Environment): Sources<Table> {
    const given = readArguments(args, (name) => this.#kindOfArgument(name));
    const last = (name: string) => given.findLast((argument) => argument.name === name)?.text ?? '';
    const configFile = last(CONFIG_FILE) || (environment[environmentName(CONFIG_FILE)] ?? '');
    const envFile = last(ENV_FILE);
    const settings = given
      .filter(({ name }) => !Object.hasOwn(FILES, name))
      .map(({ name, text }) => ({ name, text, source: `flag --${name}`, written: `--${name}` }));
    const fromFile = envFile === '' ? [] : this.#environmentFile(envFile, environment);
    const variables = [...fromFile, ...this.#environment(environment)];
    if (configFile === '') for (const setting of [...variables, ...settings]) this.#set(setting);
    else {
      for (const setting of this.#configFile(configFile)) this.#set(setting);
      this.#warnOfHidden(configFile, [...settings, ...variables]);
    }
    return {
      values: this.#values as FlagValues<Table>,
      origins: this.#origins,
      ignored: [...new Set(this.#ignored)],
      older: [...new Set(this.#older)],
      warnings: this.#warnings,
    };
  }

  #set({ name, text, source, written }: Setting): void {
    const { table, older: olderNames, ignored, refused } = this.#names;
    if (Object.hasOwn(table, name)) {
      this.#values[name] = parseValue(table[name]!, text, source);
      this.#origins.set(name, source);
      return;
    }
    const older = Object.hasOwn(olderNames, name) ? olderNames[name] : undefined;
    if (older !== undefined) {
      this.#older.push(`${written} (now ${older.now})`);
      for (const [now, translated] of translate(older, text, source)) {
        this.#set({ name: now, text: translated, source, written });
      }
    } else if (Object.hasOwn(ignored, name)) {
      parseValue(ignored[name]!, text, source);
      this.#ignored.push(written);
    } else if (text !== '')
      throw new UsageError(`${source} is not supported: ${refused[name] ?? `there is no --${name}`}`);
  }

  #kind(name: string): (ArgumentKind & { readonly duration?: boolean }) | undefined {
    const { table, older, ignored, refused } = this.#names;
    for (const one of [table, older, ignored]) if (Object.hasOwn(one, name)) return one[name];
    return Object.hasOwn(refused, name) ? { help: '' } : undefined;
  }

  #kindOfArgument(name: string): ArgumentKind {
    const kind = Object.hasOwn(FILES, name) ? FILES[name] : this.#kind(name);
    if (kind === undefined) throw new UsageError(`unknown flag --${name}${suggestion(name, this.#suggestions())}`);
    return kind;
  }

  /** Older names first, so that today's win. */
  #allNames(): string[] {
    const { table, older, ignored, refused } = this.#names;
    return [...Object.keys(refused), ...Object.keys(ignored), ...Object.keys(older), ...Object.keys(table)];
  }

  #suggestions(): string[] {
    return [...Object.keys(this.#names.table), ...Object.keys(FILES), ...Object.keys(this.#names.ignored)];
  }

  /** Empty variables are as good as none (etcd: flags.SetFlagsFromEnv). */
  #environment(environment: Environment): Setting[] {
    const settings: Setting[] = [];
    for (const name of new Set(this.#allNames())) {
      const variable = environmentName(name);
      const text = environment[variable];
      if (text === undefined || text === '') continue;
      settings.push({ name, text, source: `environment variable ${variable}`, written: variable });
    }
    this.#warnOfUnknown(Object.keys(environment), () => 'environment variable');
    return settings;
  }

  /** A variable that is set for this run wins over the file. */
  #environmentFile(path: string, environment: Environment): Setting[] {
    const variables = new Map(parseEnvironmentFile(readText(path, ENV_FILE), path).map((one) => [one.name, one]));
    const settings: Setting[] = [];
    for (const name of new Set(this.#allNames())) {
      const variable = environmentName(name);
      const found = variables.get(variable);
      if (found === undefined || found.value === '' || (environment[variable] ?? '') !== '') continue;
      settings.push({ name, text: found.value, source: `${variable} (${path}:${found.line})`, written: variable });
    }
    this.#warnOfUnknown(variables.keys(), (variable) => `${path}:${variables.get(variable)!.line}:`);
    return settings;
  }

  #warnOfUnknown(variables: Iterable<string>, where: (variable: string) => string): void {
    const known = new Set([...this.#allNames(), ...Object.keys(FILES)].map(environmentName));
    for (const variable of variables) {
      if (!variable.startsWith('ETCD_') || known.has(variable)) continue;
      const names = this.#suggestions().map(environmentName);
      this.#warnings.push(`unrecognized ${where(variable)} ${variable}${suggestion(variable, names, '')}`);
    }
  }

  #configFile(path: string): Setting[] {
    const known = { names: this.#allNames(), kind: (name: string) => this.#kind(name) };
    const settings = parseConfigFile(readText(path, CONFIG_FILE), path, known);
    return settings.map((setting: FileSetting) => ({ ...setting, written: setting.name }));
  }

  /** As with etcd: the file is all that counts. */
  #warnOfHidden(path: string, hidden: readonly Setting[]): void {
    if (hidden.length === 0) return;
    const written = [...new Set(hidden.map((setting) => setting.written))].join(', ');
    this.#warnings.push(`the config file ${path} replaces all flags and variables; ignored: ${written}`);
  }
}

function translate(older: OlderFlag, text: string, source: string): ReturnType<OlderFlag['translate']> {
  const flag = { initial: [] as ReturnType<OlderFlag['translate']>, help: older.help, parse: older.translate };
  return parseValue(flag, text, source);
}

function readText(path: string, flag: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`--${flag}: ${(error as Error).message}`);
  }
}
