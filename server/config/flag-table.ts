/**
 * A table of flags and the reader that turns arguments, environment and defaults into values - Go's flag syntax, which
 * etcd's users type: `-name v`, `--name=v`, bare booleans. Knows nothing of any particular flag.
 */

/** Input the user must correct: the text says which flag, what was wrong, and what would be right. */
export class UsageError extends Error {
  override name = 'UsageError';
}

export interface Flag<T> {
  readonly initial: T;
  /** What the value is, for `--help`. */
  readonly help: string;
  /** A bare `--name` means true. */
  readonly boolean?: boolean;
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

/** Flags win over the environment, the environment over defaults. `environment` keys of no known flag are left alone. */
export function parseFlags<Table extends FlagTable>(
  table: Table,
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): ParsedFlags<Table> {
  const values: Record<string, unknown> = Object.create(null);
  const given = new Set<string>();
  for (const [name, flag] of Object.entries(table)) values[name] = flag.initial;

  const set = (name: string, text: string, source: string) => {
    try {
      values[name] = table[name]!.parse(text);
      given.add(name);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      throw new UsageError(`invalid value ${JSON.stringify(text)} for ${source}: ${error.message}`);
    }
  };
  for (const name of Object.keys(table)) {
    const text = environment[environmentName(name)];
    if (text !== undefined && text !== '') set(name, text, `environment variable ${environmentName(name)}`);
  }
  for (let i = 0; i < args.length; i++) {
    const match = /^--?([a-zA-Z0-9][\w-]*)(?:=([\s\S]*))?$/.exec(args[i]!);
    if (match === null) throw new UsageError(`unexpected argument ${JSON.stringify(args[i])}: flags begin with --`);
    const name = match[1]!;
    const flag = Object.hasOwn(table, name) ? table[name] : undefined;
    if (flag === undefined) throw new UsageError(`unknown flag --${name}${suggestion(name, Object.keys(table))}`);
    let text = match[2];
    if (text === undefined) {
      if (flag.boolean) text = 'true';
      else if (i + 1 < args.length) text = args[++i]!;
      else throw new UsageError(`flag --${name} needs a value: ${flag.help}`);
    }
    set(name, text, `flag --${name}`);
  }
  return { values: values as FlagValues<Table>, given };
}

/** One line a flag, for `--help`. */
export function describeFlags(table: FlagTable): string {
  return Object.entries(table)
    .map(([name, flag]) => `  --${name} ${defaultText(flag)}\n        ${flag.help}`)
    .join('\n');
}

function defaultText(flag: Flag<unknown>): string {
  const { initial } = flag;
  if (Array.isArray(initial)) return `'${initial.join(',')}'`;
  return initial === '' || typeof initial === 'string' ? `'${initial}'` : `'${String(initial)}'`;
}

function suggestion(name: string, known: readonly string[]): string {
  const best = known
    .map((other) => ({ other, distance: editDistance(name, other) }))
    .sort((a, b) => a.distance - b.distance)[0];
  return best !== undefined && best.distance <= 3 ? `: did you mean --${best.other}?` : ': see --help';
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
