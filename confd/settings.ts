/**
 * Settings of `roster confd`: confd's flags, `CONFD_*` environment and confd.toml. Owns the one table of them and the
 * precedence flag > environment > file > default; reads the configuration file and nothing else.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { parseDurationMs, parseWait } from './duration.ts';
import { messageOf } from './logger.ts';

/** The command line, the environment or the configuration file cannot be used. */
export class SettingsError extends Error {
  override name = 'SettingsError';
}

const LEVELS = ['panic', 'fatal', 'error', 'warn', 'info', 'debug'] as const;

type Kind = 'switch' | 'text' | 'texts';
interface Option {
  flag: string;
  kind: Kind;
  /** Name in confd.toml; undefined when it cannot stand there. */
  key: string | undefined;
  /** What the flag takes, for --help. */
  takes: string;
  help: string;
}

function option(flag: string, kind: Kind, takes: string, help: string, key: string | undefined = flag): Option {
  return { flag, kind, key, takes, help };
}

const OPTIONS: readonly Option[] = [
  option('onetime', 'switch', '', 'render everything once and exit; 1 if anything failed'),
  option('watch', 'switch', '', 'follow the store instead of asking every --interval'),
  option('noop', 'switch', '', 'print what would change, and change nothing'),
  option('sync-only', 'switch', '', 'write files without check_cmd and reload_cmd'),
  option('keep-stage-file', 'switch', '', 'leave staged files in place', 'keepstagefile'),
  option('interval', 'text', 'SECONDS', 'between two looks at everything (default 600; with --watch 60)'),
  option('wait', 'text', 'MIN[:MAX]', 'how long changes are collected before a render (default 20ms:200ms)'),
  option('confdir', 'text', 'DIR', 'folder with conf.d/ and templates/ (default /etc/confd)'),
  option('config-file', 'text', 'FILE', 'settings file (default <confdir>/confd.toml)', undefined),
  option('prefix', 'text', 'PATH', 'key prefix, in place of the one in each resource'),
  option('prefix-mode', 'text', 'replace|join', 'what --prefix does to the one in each resource', 'prefix_mode'),
  option('backend', 'text', 'NAME', 'etcdv3 (or etcd, the same)'),
  option('node', 'texts', 'URL', 'endpoint of the store, repeatable (default 127.0.0.1:2379)', 'nodes'),
  option('endpoints', 'texts', 'LIST', 'the same, separated by commas', undefined),
  option('client-cert', 'text', 'FILE', 'client certificate', 'client_cert'),
  option('client-key', 'text', 'FILE', 'key of the client certificate', 'client_key'),
  option('client-ca-keys', 'text', 'FILE', 'certificates of the authorities to trust', 'client_cakeys'),
  option('log-level', 'text', 'LEVEL', LEVELS.join(', '), 'log-level'),
];

/** confd.toml names of things confd has and this program has not. */
const UNSUPPORTED = new Set(
  'scheme srv_domain srv_record basic_auth username password auth_token auth_type app_id user_id role_id secret_id path table separator file filter client_insecure'.split(
    ' ',
  ),
);

export interface Settings {
  onetime: boolean;
  watch: boolean;
  noop: boolean;
  syncOnly: boolean;
  keepStageFile: boolean;
  intervalMs: number;
  wait: { minMs: number; maxMs: number };
  confDir: string;
  prefix: string;
  prefixMode: 'replace' | 'join';
  endpoints: readonly string[];
  clientCert: string | undefined;
  clientKey: string | undefined;
  clientCa: string | undefined;
  logLevel: (typeof LEVELS)[number];
  /** Things in confd.toml that have no effect. */
  warnings: readonly string[];
}

/** The name under which a setting's value is kept: `--endpoints` is another word for `--node`. */
function keptAs(flag: string): string {
  return flag === 'endpoints' ? 'node' : flag;
}

type Raw = boolean | string | readonly string[];
/** Where a value came from, for error messages. */
interface Given {
  value: Raw;
  from: string;
}

/** The text of `--help`. */
export function usage(): string {
  const lines = OPTIONS.map(({ flag, takes, help }) => `  --${`${flag} ${takes}`.padEnd(30)}${help}`);
  return `roster confd [flags]\n\nRenders the templates of confd's conf.d/*.toml whenever their keys change.\n\n${lines.join('\n')}\n`;
}

function switchValue(text: string, from: string): boolean {
  if (['1', 't', 'true'].includes(text.toLowerCase())) return true;
  if (['0', 'f', 'false'].includes(text.toLowerCase())) return false;
  throw new SettingsError(`${from}: ${JSON.stringify(text)} is neither true nor false`);
}

/** Flags as Go's flag package takes them: `-flag`, `--flag`, `-flag=x`, `-flag x`. */
function parseFlags(argv: readonly string[]): Map<string, Given> {
  const given = new Map<string, Given>();
  for (let i = 0; i < argv.length; i++) {
    const found = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(argv[i]!);
    if (found === null) throw new SettingsError(`unexpected argument ${JSON.stringify(argv[i])}`);
    const [, flag = '', inline] = found;
    const from = `--${flag}`;
    const known = OPTIONS.find((candidate) => candidate.flag === flag);
    if (known === undefined) throw new SettingsError(`unknown flag ${from}`);
    if (known.kind === 'switch') {
      given.set(flag, { value: inline === undefined || switchValue(inline, from), from });
      continue;
    }
    const value = inline ?? argv[++i];
    if (value === undefined) throw new SettingsError(`${from} needs a value: ${known.takes}`);
    const kept = keptAs(flag);
    const earlier = given.get(kept)?.value;
    if (known.kind === 'text') given.set(kept, { value, from });
    else
      given.set(kept, { value: [...(Array.isArray(earlier) ? (earlier as string[]) : []), ...value.split(',')], from });
  }
  return given;
}

function fromEnvironment(environment: NodeJS.ProcessEnv): Map<string, Given> {
  const given = new Map<string, Given>();
  for (const { flag, kind } of OPTIONS) {
    const from = `CONFD_${flag.toUpperCase().replaceAll('-', '_')}`;
    // confd's own three names beside the regular ones.
    const text = environment[from] ?? (flag === 'client-ca-keys' ? environment.CONFD_CLIENT_CAKEYS : undefined);
    if (text === undefined || text === '') continue;
    if (kind === 'switch') given.set(flag, { value: switchValue(text, from), from });
    else given.set(keptAs(flag), { value: kind === 'texts' ? text.split(',') : text, from });
  }
  return given;
}

function fileValue(known: Option, item: unknown, from: string): Raw {
  if (known.kind === 'switch' && typeof item === 'boolean') return item;
  if (known.kind === 'text' && (typeof item === 'string' || typeof item === 'number')) return String(item);
  if (known.kind === 'texts' && Array.isArray(item) && item.every((part) => typeof part === 'string')) return item;
  const wanted = { switch: 'true or false', text: 'a text', texts: 'a list of texts' }[known.kind];
  throw new SettingsError(`${from}: ${wanted} was expected`);
}

async function fromFile(path: string, mustExist: boolean, warnings: string[]): Promise<Map<string, Given>> {
  const given = new Map<string, Given>();
  let table: Record<string, unknown>;
  try {
    table = parse(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !mustExist) return given;
    throw new SettingsError(`${path}: ${messageOf(error).split('\n')[0]}`);
  }
  for (const [name, item] of Object.entries(table)) {
    const lower = name.toLowerCase();
    const known = OPTIONS.find(({ key }) => key === lower);
    const from = `${path}: ${name}`;
    if (known !== undefined) given.set(known.flag, { value: fileValue(known, item, from), from });
    else if (UNSUPPORTED.has(lower)) warnings.push(`${from} has no effect here`);
    else throw new SettingsError(`${from}: there is no such setting`);
  }
  return given;
}

/** All settings; undefined when help was asked for. Rejects with {@link SettingsError}. */
export async function readSettings(
  argv: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<Settings | undefined> {
  if (argv.some((word) => /^--?(help|h)$/.test(word))) return undefined;
  const warnings: string[] = [];
  const layers = [parseFlags(argv), fromEnvironment(environment)];
  const find = (flag: string): Given | undefined => layers.find((layer) => layer.has(flag))?.get(flag);
  const text = (flag: string): string | undefined => find(flag)?.value as string | undefined;
  const explicit = text('config-file');
  const file = explicit ?? join(text('confdir') ?? '/etc/confd', 'confd.toml');
  layers.push(await fromFile(file, explicit !== undefined, warnings));

  const on = (flag: string): boolean => (find(flag)?.value as boolean | undefined) ?? false;
  const checked = <T>(flag: string, fallback: T, read: (value: string) => T | undefined, wanted: string): T => {
    const given = find(flag);
    if (given === undefined) return fallback;
    const value = read(given.value as string);
    if (value !== undefined) return value;
    throw new SettingsError(`${given.from}: ${JSON.stringify(given.value)} is not ${wanted}`);
  };
  const oneOf =
    <T extends string>(...names: readonly T[]) =>
    (value: string): T | undefined =>
      names.find((name) => name === value);

  checked('backend', 'etcdv3', oneOf('etcdv3', 'etcd'), 'a backend this program has: etcdv3');
  const positive = (value: string) => parseDurationMs(value) || undefined;
  const nodes = (find('node')?.value as readonly string[] | undefined) ?? [];
  const endpoints = nodes.map((node) => node.trim()).filter((node) => node !== '');
  return {
    onetime: on('onetime'),
    watch: on('watch'),
    noop: on('noop'),
    syncOnly: on('sync-only'),
    keepStageFile: on('keep-stage-file'),
    intervalMs: checked('interval', on('watch') ? 60_000 : 600_000, positive, 'a number of seconds above 0'),
    wait: checked('wait', { minMs: 20, maxMs: 200 }, parseWait, 'a wait such as 20ms:200ms'),
    confDir: text('confdir') ?? '/etc/confd',
    prefix: text('prefix') ?? '',
    prefixMode: checked('prefix-mode', 'replace', oneOf('replace', 'join'), 'replace or join'),
    endpoints: endpoints.length > 0 ? endpoints : ['127.0.0.1:2379'],
    clientCert: text('client-cert'),
    clientKey: text('client-key'),
    clientCa: text('client-ca-keys'),
    logLevel: checked('log-level', 'info', oneOf(...LEVELS), `one of ${LEVELS.join(', ')}`),
    warnings,
  };
}
