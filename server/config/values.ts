/** Kinds of flag values: numbers with bounds, Go durations, booleans, URLs. Each parser's error says what would be right. */
import { type Flag, UsageError } from './flag-table.ts';

export function text(initial: string, help: string): Flag<string> {
  return { initial, help, parse: (value) => value };
}

export function choice<const T extends string>(initial: T, options: readonly T[], help: string): Flag<T> {
  return {
    initial,
    help,
    parse(value) {
      const found = options.find((option) => option === value);
      if (found === undefined) throw new UsageError(`must be one of ${options.join(', ')}`);
      return found;
    },
  };
}

/** Go's strconv.ParseBool. */
export function flag(initial: boolean, help: string): Flag<boolean> {
  return {
    initial,
    help,
    boolean: true,
    parse(value) {
      if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(value)) return true;
      if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(value)) return false;
      throw new UsageError('must be true or false');
    },
  };
}

/** Comma-separated words; none when empty. */
export function list(help: string): Flag<readonly string[]> {
  return {
    initial: [],
    help: `${help}, comma-separated`,
    parse: (value) =>
      value
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== ''),
  };
}

/** Comma-separated words, or `*` for any; nothing is any, too. */
export function wordSet(help: string): Flag<readonly string[]> {
  const { parse } = list('');
  return {
    initial: ['*'],
    help: `${help}, comma-separated; *: any`,
    parse(value) {
      const words = parse(value);
      return words.length === 0 || words.includes('*') ? ['*'] : words;
    },
  };
}

/** Origins as browsers send them (`https://host`, a port only if it is not the usual one), or `*` for any. */
export function originList(help: string): Flag<readonly string[]> {
  const words = wordSet(help);
  return { ...words, parse: (value) => words.parse(value).map((word) => (word === '*' ? word : checkOrigin(word))) };
}

/** Undefined: it is none. */
export function originOf(value: string): string | undefined {
  if (!/^https?:\/\/[^/?#@\s]+\/?$/.test(value) || !URL.canParse(value)) return undefined;
  return new URL(value).origin;
}

function checkOrigin(value: string): string {
  const origin = originOf(value);
  if (origin === undefined) throw new UsageError(`${JSON.stringify(value)} must be http://host or https://host[:port]`);
  return origin;
}

/** A whole number of `min..max`. */
export function whole(initial: number, min: number, max: number, help: string): Flag<number> {
  return {
    initial,
    help,
    parse(value) {
      const number = /^[+-]?\d+$/.test(value) ? Number(value) : Number.NaN;
      if (!(number >= min && number <= max)) throw new UsageError(`must be a whole number from ${min} to ${max}`);
      return number;
    },
  };
}

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Go's time.ParseDuration, in milliseconds. */
export function parseDurationMs(value: string): number {
  if (value === '0') return 0;
  const body = value.replace(/^[+-]/, '');
  if (!/^(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+$/.test(body)) {
    throw new UsageError('must be a duration such as 300ms, 5s or 1h30m');
  }
  let total = 0;
  for (const [, count, unit] of body.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)/g))
    total += Number(count) * unitMs[unit!]!;
  return value.startsWith('-') ? -total : total;
}

/** A duration of at least `minMs`; the value is in milliseconds. */
export function duration(initialMs: number, minMs: number, help: string): Flag<number> {
  return {
    initial: initialMs,
    help: `${help} (a duration, e.g. 5s)`,
    duration: true,
    parse(value) {
      const ms = parseDurationMs(value);
      if (ms < minMs) throw new UsageError(`must be at least ${minMs}ms`);
      return ms;
    },
  };
}

/** The same, or none. */
export function optionalUrls(help: string): Flag<readonly string[]> {
  const { parse } = urls([], help);
  return { initial: [], help, parse: (value) => (value === '' ? [] : parse(value)) };
}

/** Comma-separated http(s) URLs with host and port and no path, etcd's types.NewURLs; sorted, as etcd sorts them. */
export function urls(initial: readonly string[], help: string): Flag<readonly string[]> {
  return {
    initial,
    help,
    parse(value) {
      const list = value.split(',').map((part) => checkUrl(part.trim()));
      return list.sort();
    },
  };
}

export function checkUrl(value: string): string {
  let url: URL;
  try {
    url = new URL(value);
  } catch {
    throw new UsageError(`${JSON.stringify(value)} is not a URL: write http://host:port`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new UsageError(`${JSON.stringify(value)} must begin with http:// or https://`);
  }
  if (!/^https?:\/\/(?:\[[^\]]+\]|[^:/?#@]+):\d+\/?$/.test(value)) {
    throw new UsageError(`${JSON.stringify(value)} must be host and port only: http://host:port`);
  }
  return value.replace(/\/$/, '');
}
