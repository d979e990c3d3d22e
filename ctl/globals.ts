/**
 * The flags every v3 command has, each also a variable ETCDCTL_<NAME>: read, checked, and made into what a client is made
 * with. A flag wins over its variable.
 */
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import type { TlsOptions } from '../client/index.ts';
import type { Identity } from '../client/login.ts';
import { onByDefault } from './arguments.ts';
import { CommandError, Exit, type Globals, type Io } from './context.ts';
import { parseBoolean, parseGoDuration } from './go-text.ts';
import { FORMATS, type Format } from './output/print.ts';

interface Flags {
  endpoints: string;
  writeOut: string;
  hex: boolean;
  debug: boolean;
  dialTimeout: string;
  commandTimeout: string;
  keepaliveTime: string;
  keepaliveTimeout: string;
  maxRequestBytes: string;
  maxRecvBytes: string;
  insecureTransport: boolean;
  insecureDiscovery: boolean;
  insecureSkipTlsVerify: boolean;
  cert: string;
  key: string;
  cacert: string;
  user: string;
  password: string;
  authJwtToken: string;
  discoverySrv: string;
  discoverySrvName: string;
}

/** The flags, in the order in which `rosterctl options` lists them. */
export function globalOptions(): Option[] {
  const text = (flags: string, description: string, value = '') => new Option(flags, description).default(value);
  return [
    text('--endpoints <list>', 'addresses of the members, separated by commas', '127.0.0.1:2379'),
    text('-w, --write-out <format>', 'output format: fields, json, protobuf, simple, table', 'simple'),
    new Option('--hex', 'print octets as \\x.. and ids as hexadecimal numbers'),
    new Option('--debug', 'say on standard error how the command line was read'),
    text('--dial-timeout <duration>', 'how long a member is looked for that answers', '2s'),
    text('--command-timeout <duration>', 'how long a short command may take', '5s'),
    text('--keepalive-time <duration>', 'after how much silence the server is asked for a sign of life', '2s'),
    text('--keepalive-timeout <duration>', 'how long that sign may take', '6s'),
    text('--max-request-bytes <n>', 'largest message sent; 0: any', '0'),
    text('--max-recv-bytes <n>', 'largest message received; 0: any', '0'),
    onByDefault('--insecure-transport', 'endpoints without https:// are reached without TLS'),
    onByDefault('--insecure-discovery', 'accept SRV records of servers without TLS'),
    new Option('--insecure-skip-tls-verify', 'take any server certificate: for tests only'),
    text('--cert <file>', 'the certificate shown to the server'),
    text('--key <file>', 'the key that goes with --cert'),
    text('--cacert <file>', "the authorities that may have signed the server's certificate"),
    text('--user <name:password>', 'who asks; the password is asked for when it is missing'),
    text('--password <password>', 'of the --user, which then has none itself'),
    text('--auth-jwt-token <token>', 'a signed token in place of user and password'),
    text('-d, --discovery-srv <domain>', 'take the endpoints from the SRV records of a domain'),
    text('--discovery-srv-name <name>', 'service name to ask those records for'),
  ];
}

/** Rejects with a CommandError when a flag or variable makes no sense. */
export async function readGlobals(program: Command, io: Io): Promise<Globals> {
  const flags = withVariables(program, io);
  const tls = tlsOf(flags);
  return {
    endpoints: await endpointsOf(flags),
    dialTimeoutMs: duration('dial-timeout', flags.dialTimeout),
    commandTimeoutMs: duration('command-timeout', flags.commandTimeout),
    format: formatOf(flags.writeOut),
    hex: flags.hex,
    debug: flags.debug,
    tls,
    identity: await identityOf(flags, io),
    connection: {
      keepaliveTimeMs: duration('keepalive-time', flags.keepaliveTime),
      keepaliveTimeoutMs: duration('keepalive-timeout', flags.keepaliveTimeout),
      sendBytesMax: bytes('max-request-bytes', flags.maxRequestBytes),
      receiveBytesMax: bytes('max-recv-bytes', flags.maxRecvBytes),
    },
  };
}

function withVariables(program: Command, io: Io): Flags {
  const flags: Record<string, unknown> = { ...program.opts() };
  for (const option of program.options) {
    const name = option.attributeName();
    const variable = io.env[`ETCDCTL_${option.long!.slice(2).toUpperCase().replaceAll('-', '_')}`];
    const source = program.getOptionValueSource(name);
    if (variable && source !== 'cli') {
      flags[name] = option.isBoolean() || option.optional ? parseBoolean(variable) : variable;
      if (flags[name] === undefined)
        throw new CommandError(`invalid argument "${variable}" for "${option.long}" flag: it is true or false`);
    } else if (option.isBoolean()) flags[name] ??= false;
  }
  return flags as unknown as Flags;
}

function formatOf(text: string): Format {
  if ((FORMATS as readonly string[]).includes(text)) return text as Format;
  throw new CommandError('unsupported output format', Exit.BAD_FEATURE);
}

function duration(name: string, text: string): number {
  const ms = parseGoDuration(text);
  if (ms !== undefined) return ms;
  const why = /^\d+$/.test(text) ? 'missing unit in duration' : 'invalid duration';
  throw new CommandError(`invalid argument "${text}" for "--${name}" flag: time: ${why} "${text}"`);
}

function bytes(name: string, text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new CommandError(
    `invalid argument "${text}" for "--${name}" flag: strconv.ParseUint: parsing "${text}": invalid syntax`,
  );
}

/** The authorities, certificate and key in these files. */
export function readTls(files: { cacert: string; cert: string; key: string }, prefix = ''): TlsOptions {
  const pem = (flag: 'cacert' | 'cert' | 'key'): Buffer | undefined => {
    if (files[flag] === '') return undefined;
    try {
      return readFileSync(files[flag]);
    } catch (error) {
      throw new CommandError(`cannot read --${prefix}${flag}: ${(error as Error).message}`);
    }
  };
  const [ca, cert, key] = [pem('cacert'), pem('cert'), pem('key')];
  if ((cert === undefined) !== (key === undefined)) {
    throw new CommandError(
      `--${prefix}cert and --${prefix}key go together: one of them is missing`,
      Exit.BAD_ARGUMENTS,
    );
  }
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

function tlsOf(flags: Flags): TlsOptions | undefined {
  const tls = readTls(flags);
  const skip = flags.insecureSkipTlsVerify;
  const wanted = Object.keys(tls).length > 0 || !flags.insecureTransport || (skip && /https:/.test(flags.endpoints));
  return wanted ? { ...tls, ...(skip && { insecureSkipVerify: true }) } : undefined;
}

async function identityOf(flags: Flags, io: Io): Promise<Identity> {
  if (flags.authJwtToken !== '') return { token: flags.authJwtToken };
  if (flags.user === '') return {};
  if (flags.password !== '') return { user: flags.user, password: flags.password };
  const colon = flags.user.indexOf(':');
  if (colon !== -1) return { user: flags.user.slice(0, colon), password: flags.user.slice(colon + 1) };
  const { askSecret } = await import('./prompt.ts');
  return { user: flags.user, password: await askSecret(io, 'Password: ') };
}

async function endpointsOf(flags: Flags): Promise<string[]> {
  if (flags.discoverySrv === '') return flags.endpoints.split(',').map((endpoint) => endpoint.trim());
  const { discovered } = await import('./discovery.ts');
  return discovered(flags.discoverySrv, flags.discoverySrvName, flags.insecureDiscovery);
}
