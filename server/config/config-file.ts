/**
 * etcd's configuration file (etcd.conf.yml): YAML or JSON whose keys are flag names, and a few nested sections whose keys
 * stand for flags. Turns it into flag names and texts; what they mean is the flag table's business.
 */
import { createRequire } from 'node:module';
import type { LineCounter, YAMLMap } from 'yaml';
import { nearest, UsageError } from './flag-table.ts';

export interface FileSetting {
  /** Of a flag. */
  readonly name: string;
  /** As it would be given on a command line. */
  readonly text: string;
  /** Where it stands, for errors: `key "x" (file:line)`. */
  readonly source: string;
}

export interface KnownKeys {
  /** All names that a key may have. */
  readonly names: Iterable<string>;
  /** Of the flag, or of the older or ignored name; undefined: nobody knows it. */
  kind(name: string): { readonly duration?: boolean } | undefined;
}

/** Section -> key -> flag (etcd embed.Config: securityConfig, DiscoveryCfg, SocketOpts). */
const SECTIONS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'client-transport-security': {
    ...Object.fromEntries(
      ['cert-file', 'key-file', 'client-cert-file', 'client-key-file', 'client-cert-auth', 'trusted-ca-file'].map(
        (key) => [key, key],
      ),
    ),
    'auto-tls': 'auto-tls',
    'client-crl-file': 'client-crl-file',
    'allowed-cn': 'client-cert-allowed-cn',
    'allowed-hostname': 'client-cert-allowed-hostname',
    'skip-client-san-verification': 'skip-client-san-verification',
    'ca-file': 'ca-file',
  },
  'peer-transport-security': {
    ...Object.fromEntries(
      ['cert-file', 'key-file', 'client-cert-file', 'client-key-file', 'client-cert-auth', 'trusted-ca-file'].map(
        (key) => [key, `peer-${key}`],
      ),
    ),
    'auto-tls': 'peer-auto-tls',
    'peer-crl-file': 'peer-crl-file',
    'allowed-cn': 'peer-cert-allowed-cn',
    'allowed-hostname': 'peer-cert-allowed-hostname',
    'skip-client-san-verification': 'peer-skip-client-san-verification',
    'ca-file': 'peer-ca-file',
  },
  'discovery-config': {
    token: 'discovery-token',
    endpoints: 'discovery-endpoints',
    'dial-timeout': 'discovery-dial-timeout',
    'request-timeout': 'discovery-request-timeout',
    'keep-alive-time': 'discovery-keepalive-time',
    'keep-alive-timeout': 'discovery-keepalive-timeout',
  },
  'socket-options': { 'reuse-port': 'socket-reuse-port', 'reuse-address': 'socket-reuse-address' },
};

/**
 * Empty values are left out: etcd's sample file has many. Throws UsageError naming file, line, key and the nearest known
 * key.
 */
export function parseConfigFile(content: string, path: string, known: KnownKeys): FileSetting[] {
  // Loaded here, since most starts read no file.
  const yaml = createRequire(import.meta.url)('yaml') as typeof import('yaml');
  const lines = new yaml.LineCounter();
  const document = yaml.parseDocument(content, { lineCounter: lines });
  const [error] = document.errors;
  if (error !== undefined) throw new UsageError(`${path}:${error.linePos?.[0].line ?? 1}: ${firstLine(error.message)}`);
  const root: unknown = document.toJS();
  if (root === null || root === undefined) return [];
  if (!isObject(root)) throw new UsageError(`${path}: must be keys and values, such as "name: a"`);
  const lineOf = (...keys: string[]) => lineOfKey(document.contents as unknown as YAMLMap, keys, lines);

  const settings: FileSetting[] = [];
  const add = (name: string, key: string, value: unknown, line: number) => {
    const flag = known.kind(name);
    const where = `${path}:${line}`;
    if (flag === undefined)
      throw new UsageError(`${where}: unknown key ${JSON.stringify(key)}${meant(key, known.names)}`);
    const source = `key ${JSON.stringify(key)} (${where})`;
    const text = textOf(value, flag.duration === true, source);
    if (text !== '') settings.push({ name, text, source });
  };
  for (const [key, value] of Object.entries(root)) {
    const section = Object.hasOwn(SECTIONS, key) ? SECTIONS[key] : undefined;
    if (section === undefined) {
      add(key, key, value, lineOf(key));
      continue;
    }
    if (value === null) continue;
    if (!isObject(value))
      throw new UsageError(`${path}:${lineOf(key)}: ${JSON.stringify(key)} must have keys below it`);
    for (const [inner, innerValue] of Object.entries(value)) {
      const line = lineOf(key, inner);
      const name = Object.hasOwn(section, inner) ? section[inner] : undefined;
      if (name === undefined) {
        const hint = meant(inner, Object.keys(section));
        throw new UsageError(`${path}:${line}: unknown key ${JSON.stringify(inner)} in ${JSON.stringify(key)}${hint}`);
      }
      add(name, `${key}.${inner}`, innerValue, line);
    }
  }
  return settings;
}

function meant(key: string, names: Iterable<string>): string {
  const name = nearest(key, names);
  return name === undefined ? '' : `: did you mean ${JSON.stringify(name)}?`;
}

/** A list is what would be separated by commas on a command line; a bare number of a duration is nanoseconds. */
function textOf(value: unknown, duration: boolean, source: string): string {
  if (value === null || value === undefined) return '';
  if (Array.isArray(value)) return value.map((part) => textOf(part, duration, source)).join(',');
  if (typeof value === 'object') throw new UsageError(`${source}: must be a plain value or a list`);
  if (duration && typeof value === 'number' && value !== 0) return `${value}ns`;
  return String(value as string | number | boolean | bigint);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function lineOfKey(map: YAMLMap, keys: readonly string[], lines: LineCounter): number {
  const [first, ...rest] = keys;
  const pair = map.items?.find(({ key }) => String(key) === first);
  if (pair === undefined) return 1;
  if (rest.length > 0) return lineOfKey(pair.value as YAMLMap, rest, lines);
  const { range } = pair.key as { range?: readonly [number, number, number] };
  return range === undefined ? 1 : lines.linePos(range[0]).line;
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0]!.replace(/ at line \d+, column \d+:?$/, '');
}
