/**
 * `roster dev`: the whole road in one process - store, agent, renderer and two demo services - with an account of what
 * happens. Owns the temporary folder and everything it starts; leaves nothing behind.
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { hostname } from 'node:os';
import { Client } from '../../client/client.ts';
import { silentLogger } from '../../confd/logger.ts';
import { Renderer } from '../../confd/renderer.ts';
import { startAgent } from '../../registrator/agent.ts';
import type { ServiceChange } from '../../registrator/service.ts';
import { createLogger } from '../config/log.ts';
import { readServeFlags } from '../config/serve-flags.ts';
import { startServer } from '../serve.ts';
import { DemoServices } from './demo-services.ts';
import { createWorkspace, type Workspace, writeDefinition } from './workspace.ts';

const PREFERRED_PORT = 2379;
const SERVICES = ['web-1', 'web-2'] as const;
/** How often the rendered file is compared with what it should be. */
const RECONCILE_INTERVAL_MS = 10_000;

export type Say = (line: string) => void;

/** Runs until `signal` fires. Rejects when something cannot start; everything started before is stopped then too. */
export async function runDev(signal: AbortSignal, say: Say = console.log): Promise<void> {
  const closers: (() => Promise<unknown>)[] = [];
  try {
    await start(signal, say, closers);
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

async function start(signal: AbortSignal, say: Say, closers: (() => Promise<unknown>)[]): Promise<void> {
  const tell: Say = (line) => say(`${new Date().toTimeString().slice(0, 8)}  ${line}`);
  const workspace = await createWorkspace();
  closers.push(() => workspace.remove());

  const url = `http://127.0.0.1:${await choosePort()}`;
  const flags = readServeFlags(
    [
      ...['--data-dir', workspace.dataDir, '--listen-client-urls', url, '--advertise-client-urls', url],
      // Nobody will join.
      ...['--listen-peer-urls', 'http://127.0.0.1:0'],
    ],
    {},
  );
  const server = await startServer(flags, createLogger({ level: 'warn', format: 'console' }));
  closers.push(() => server.stop());

  const demo = new DemoServices((name) => tell(`service gone  ${name} has ended`));
  closers.push(() => demo.close());
  for (const name of SERVICES) await demo.start(name);
  await writeDefinition(workspace, demo.list());

  const client = new Client({ endpoints: [url] });
  closers.push(async () => client.close());
  introduce(say, url, workspace);

  let rendered = () => {};
  const firstServices = new Promise<void>((resolve) => {
    rendered = resolve;
  });
  const renderer = new Renderer(client, {
    confDir: workspace.confDir,
    log: silentLogger,
    hooks: {
      onRender({ dest, revision, keys }) {
        void show(tell, say, dest, revision).then(keys.length > 0 ? rendered : undefined);
      },
      onFailure: ({ stage, message }) => tell(`${stage} failed  ${message}`),
    },
  });
  const rendererStop = new AbortController();
  const rendering = renderer.run({ mode: 'watch', intervalMs: RECONCILE_INTERVAL_MS }, rendererStop.signal);
  closers.push(() => {
    rendererStop.abort();
    return rendering;
  });

  const agent = await startAgent(
    {
      hostname: hostname(),
      files: workspace.servicesDir,
      onChange: (change) => tell(describe(change)),
    },
    { client },
  );
  closers.push(() => agent.close());
  await agent.ready;
  // The account in its order: what to try comes when there is something to look at.
  await Promise.race([firstServices, stopped(signal)]);
  suggest(say, url, workspace, demo);
  closers.push(toggleByKeys(demo, tell));

  const failure = await Promise.race([stopped(signal), server.ended, rendering]);
  if (failure instanceof Error) throw failure;
  say('\nstopping');
}

function stopped(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}

function introduce(say: Say, url: string, workspace: Workspace): void {
  say(`Roster: store, agent, renderer and two demo services in one process. Ctrl-C stops all and leaves nothing behind.

  store       ${url}   etcd's v3 API, gRPC and JSON
  services    ${workspace.definition}
  template    ${workspace.template}
  file        ${workspace.upstreams}
`);
}

function describe({ kind, key, value, previous }: ServiceChange): string {
  if (kind === 'up') return `service up    ${key} = ${value}`;
  if (kind === 'down') return `service down  ${key} (was ${value})`;
  return `service moved ${key} = ${value} (was ${previous})`;
}

async function show(tell: Say, say: Say, dest: string, revision: number): Promise<void> {
  // The next change may have replaced or removed the file already; then its own account follows.
  const text = await readFile(dest, 'utf8').catch(() => '');
  tell(`file written  ${dest} at revision ${revision}`);
  say(text.trimEnd().replace(/^/gm, '          | '));
}

function suggest(say: Say, url: string, workspace: Workspace, demo: DemoServices): void {
  const [first] = demo.list();
  const endpoint = url.replace('http://', '');
  say(`
Try, in another terminal:
  kill ${first!.pid}                         stop ${first!.name}: its key goes, the file follows
  cat ${workspace.upstreams}
  npx rosterctl --endpoints ${endpoint} get --prefix /services/
  ETCDCTL_API=3 etcdctl --endpoints ${endpoint} put /services/web/by-hand 127.0.0.1:8000
  curl ${url}/v3/kv/range -d '{"key":"Lw==","range_end":"MA=="}'
  curl ${url}/health; curl ${url}/metrics
${process.stdin.isTTY ? `Or press ${SERVICES.map((name, i) => `${i + 1} (stop or start ${name})`).join(', ')}.\n` : ''}`);
}

/** On a terminal, digits stop and start the services. Returns what gives the terminal back. */
function toggleByKeys(demo: DemoServices, tell: Say): () => Promise<void> {
  const { stdin } = process;
  if (!stdin.isTTY) return async () => {};
  const onKey = (data: Buffer) => {
    const key = data.toString();
    const service = demo.list()[Number(key) - 1];
    if (key === '\x03' || key === 'q') process.kill(process.pid, 'SIGINT');
    else if (service === undefined) return;
    else if (service.pid !== undefined) demo.stop(service.name);
    else demo.start(service.name).catch((error: Error) => tell(error.message));
  };
  stdin.setRawMode(true);
  stdin.on('data', onKey);
  return async () => {
    stdin.off('data', onKey);
    stdin.setRawMode(false);
    stdin.pause();
  };
}

/** etcd's port if nobody has it, else one that is free. */
async function choosePort(): Promise<number> {
  return (await tryPort(PREFERRED_PORT)) ?? (await tryPort(0))!;
}

function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(undefined));
    probe.listen(port, '127.0.0.1', () => {
      const got = (probe.address() as { port: number }).port;
      probe.close(() => resolve(got));
    });
  });
}
