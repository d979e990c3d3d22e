/**
 * A table of flags and the reader that turns arguments, environment and defaults into values - Go's flag syntax, which
 * etcd's users type: `-name v`, `--name=v`, bare booleans. Knows nothing of any particular flag.
 */

/** Input the user must correct: the text says which flag, what was wrong, and what would be right. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** A name is taken for another one that is mistyped up to so many letters. */
const TYPING_ERRORS_MAX = 3;

export interface Flag<T> {
  readonly initial: T;
  /** What the value is, for `--help`. */
  readonly help: string;
  /** A bare `--name` means true. */
  readonly boolean?: boolean;
  /** A bare number in a config file is nanoseconds. */
  readonly duration?: boolean;
  /** Text to value; throws UsageError whose text completes "invalid value ... : ". */
  readonly parse: (text: string) => T;
}

// biome-ignore lint/suspicious/noExplicitAny: a table holds flags of every type
export type FlagTable = Readonly<Record<string, Flag<any>>>;
export type FlagValues<Table extends FlagTable> = {
  -readonly [K in keyof Table]: Table[K] extends Flag<infer T> ? T : never;
};

export interface ParsedFlags<Table extends FlagTable> {
  values: FlagValues<Table>;
  /** Names that were given, by flag or by environment. */
  given: ReadonlySet<string>;
}

/** `data-dir` -> `ETCD_DATA_DIR` */
export function environmentName(flag: string): string {
  return `ETCD_${flag.toUpperCase().replaceAll('-', '_')}`;
}

/** What must be known of a name to read it off a command line. */
export type ArgumentKind = Pick<Flag<unknown>, 'boolean' | 'help'>;

/**
 * Splits arguments into names and texts, in their order. `kind` says what it knows of a name, and throws a UsageError for
 * one that does not exist.
 */
export function readArguments(
  args: readonly string[],
  kind: (name: string) => ArgumentKind,
): { name: string; text: string }[] {
  const given: { name: string; text: string }[] = [];
  for (let i = 0; i < args.length; i++) {
    const match = /^--?([a-zA-Z0-9][\w-]*)(?:=([\s\S]*))?$/.exec(args[i]!);
    if (match === null) throw new UsageError(`unexpected argument ${JSON.stringify(args[i])}: flags begin with --`);
    const name = match[1]!;
    const flag = kind(name);
    let text = match[2];
    if (text === undefined) {
      if (flag.boolean) text = 'true';
      else if (i + 1 < args.length) text = args[++i]!;
      else throw new UsageError(`flag --${name} needs a value: ${flag.help}`);
    }
    given.push({ name, text });
  }
  return given;
}

/** Throws a UsageError that says where the text came from. */
export function parseValue<T>(flag: Flag<T>, text: string, source: string): T {
  try {
    return flag.parse(text);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`invalid value ${JSON.stringify(text)} for ${source}: ${error.message}`);
  }
}

/** The initial values of all flags. */
export function initialValues<Table extends FlagTable>(table: Table): FlagValues<Table> {
  const values: Record<string, unknown> = Object.create(null);
  for (const [name, flag] of Object.entries(table)) values[name] = flag.initial;
  return values as FlagValues<Table>;
}

/** Flags win over the environment, the environment over defaults. `environment` keys of no known flag are left alone. */
export function parseFlags<Table extends FlagTable>(
  table: Table,
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): ParsedFlags<Table> {
  const values: Record<string, unknown> = initialValues(table);
  const given = new Set<string>();
  const set = (name: string, text: string, source: string) => {
    values[name] = parseValue(table[name]!, text, source);
    given.add(name);
  };
  for (const name of Object.keys(table)) {
    const text = environment[environmentName(name)];
    if (text !== undefined && text !== '') set(name, text, `environment variable ${environmentName(name)}`);
  }
  const kind = (name: string) => {
    if (Object.hasOwn(table, name)) return table[name]!;
    throw new UsageError(`unknown flag --${name}${suggestion(name, Object.keys(table))}`);
  };
  for (const { name, text } of readArguments(args, kind)) set(name, text, `flag --${name}`);
  return { values: values as FlagValues<Table>, given };
}

/** One line a flag, for `--help`. */
export function describeFlags(table: FlagTable): string {
  return Object.entries(table)
    .map(([name, flag]) => `  --${name} ${defaultText(flag)}\n        ${flag.help}`)
    .join('\n');
}

/** The default in quotes, as `--help` shows it. */
export function defaultText(flag: Flag<unknown>): string {
  return `'${valueText(flag, flag.initial)}'`;
}

/** A value as it would be given. */
export function valueText({ duration }: Pick<Flag<unknown>, 'duration'>, value: unknown): string {
  if (Array.isArray(value)) return value.join(',');
  if (value instanceof Map) return [...value].map(([name, on]) => `${name}=${on}`).join(',');
  return duration === true && typeof value === 'number' ? durationText(value) : String(value);
}

/** In the largest unit that leaves no fraction. */
function durationText(ms: number): string {
  for (const [unit, inMs] of [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ] as const) {
    if (ms !== 0 && ms % inMs === 0) return `${ms / inMs}${unit}`;
  }
  return `${ms}ms`;
}

/** `: did you mean --name?`, or where to look. `prefix` is what the user puts before such a name. */
export function suggestion(name: string, known: Iterable<string>, prefix = '--'): string {
  const best = nearest(name, known);
  return best === undefined ? ': see --help' : `: did you mean ${prefix}${best}?`;
}

/** The known name that `name` was probably meant to be. */
export function nearest(name: string, known: Iterable<string>): string | undefined {
  let best: { other: string; distance: number } | undefined;
  for (const other of known) {
    const distance = editDistance(name, other);
    if (best === undefined || distance < best.distance) best = { other, distance };
  }
  return best !== undefined && best.distance <= TYPING_ERRORS_MAX ? best.other : undefined;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(change, previous[j]! + 1, current[j - 1]! + 1));
    }
    previous = current;
  }
  return previous[b.length]!;
}
