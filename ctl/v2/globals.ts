/** The flags every v2 verb has, and etcdctl's variables for them: read, checked, made into a store to talk to. */
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import type { Context } from '../context.ts';
import { discovered } from '../discovery.ts';
import { parseGoDuration } from '../go-text.ts';
import { askSecret } from '../prompt.ts';
import { badArguments } from './exit.ts';
import { Store2 } from './store.ts';

const DEFAULT_ENDPOINTS = 'http://127.0.0.1:2379,http://127.0.0.1:4001';

interface Flags {
  debug?: boolean;
  sync: boolean;
  output: string;
  discoverySrv?: string;
  insecureDiscovery?: boolean;
  peers?: string;
  endpoint?: string;
  endpoints?: string;
  certFile?: string;
  keyFile?: string;
  caFile?: string;
  username?: string;
  timeout: string;
  totalTimeout: string;
}

/** Flag -> variable. */
const VARIABLES: Readonly<Record<string, string>> = {
  peers: 'ETCDCTL_PEERS',
  endpoint: 'ETCDCTL_ENDPOINT',
  endpoints: 'ETCDCTL_ENDPOINTS',
  certFile: 'ETCDCTL_CERT_FILE',
  keyFile: 'ETCDCTL_KEY_FILE',
  caFile: 'ETCDCTL_CA_FILE',
  username: 'ETCDCTL_USERNAME',
  discoverySrv: 'ETCDCTL_DISCOVERY_SRV',
};

export function addGlobals2(program: Command, context: Context): void {
  program
    .option('--debug', 'output cURL commands which can be used to reproduce the request')
    .option('--no-sync', "don't synchronize cluster information before sending request")
    .option('-o, --output <format>', 'output response in the given format (simple, extended or json)', 'simple')
    .option('-D, --discovery-srv <domain>', 'take the endpoints from the SRV records of a domain')
    .option('--insecure-discovery', 'accept SRV records of servers without TLS')
    .addOption(new Option('-C, --peers <list>', 'the old name of --endpoints').hideHelp())
    .addOption(new Option('--endpoint <list>', 'the old name of --endpoints').hideHelp())
    .option('--endpoints <list>', `addresses of the members, separated by commas (default: ${DEFAULT_ENDPOINTS})`)
    .option('--cert-file <file>', 'the certificate shown to the server')
    .option('--key-file <file>', 'the key that goes with it')
    .option('--ca-file <file>', "the authorities that may have signed the server's certificate")
    .option('-u, --username <name:password>', 'who asks; the password is asked for when it is missing')
    .option('--timeout <duration>', 'how long one request may take', '2s')
    .option('--total-timeout <duration>', 'how long a command may take, unless it watches', '5s')
    .hook('preAction', async () => {
      context.store2 = await storeOf(program, context);
    });
}

async function storeOf(program: Command, context: Context): Promise<Store2> {
  const flags = { ...program.opts<Flags>() };
  for (const [name, variable] of Object.entries(VARIABLES)) {
    const value = context.io.env[variable];
    if (value && program.getOptionValueSource(name) !== 'cli') (flags as Record<string, unknown>)[name] = value;
  }
  const { output } = flags;
  if (output !== 'simple' && output !== 'extended' && output !== 'json') {
    throw badArguments(`there is no output format ${JSON.stringify(output)}: simple, extended or json`);
  }
  return new Store2(context, {
    endpoints: await endpointsOf(flags),
    sync: flags.sync,
    debug: flags.debug === true,
    output,
    timeoutMs: duration(flags.timeout),
    totalTimeoutMs: duration(flags.totalTimeout),
    tls: { ca: pem(flags.caFile), cert: pem(flags.certFile), key: pem(flags.keyFile) },
    credentials: flags.username === undefined ? undefined : await credentialsOf(flags.username, context),
  });
}

function duration(text: string): number {
  const ms = parseGoDuration(text);
  if (ms !== undefined) return ms;
  throw badArguments(`there is no duration ${JSON.stringify(text)}: 2s, 500ms, 1m30s are some`);
}

function pem(path: string | undefined): Buffer | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path);
  } catch (error) {
    throw badArguments(`cannot read a certificate or key: ${(error as Error).message}`);
  }
}

async function endpointsOf(flags: Flags): Promise<string[]> {
  if (flags.discoverySrv) return discovered(flags.discoverySrv, '', flags.insecureDiscovery === true);
  const list = flags.peers || flags.endpoint || flags.endpoints || DEFAULT_ENDPOINTS;
  return list.split(',').map((endpoint) => (endpoint.includes('://') ? endpoint : `http://${endpoint}`).trim());
}

/** `name:password`, asked for when there is no colon. */
export async function credentialsOf(
  text: string,
  context: Context,
  question = 'Password: ',
): Promise<{ user: string; password: string }> {
  const colon = text.indexOf(':');
  if (colon !== -1) return { user: text.slice(0, colon), password: text.slice(colon + 1) };
  return { user: text, password: await askSecret(context.io, question) };
}
