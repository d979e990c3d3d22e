/**
 * `npm run bench -- children`: one level of a large store (`GET /kv/...?children`). The cost should be that of the
 * answer, whatever lies below it; etcd has nothing of the kind, so there is nothing beside it.
 */
import { parseArgs } from 'node:util';
import { Histogram } from './histogram.ts';
import { startServers } from './servers.ts';

const help = `npm run bench -- children [options]
  --keys 1000000      keys in all
  --groups 100        groups that they lie in
  --requests 200      requests that are measured, one after the other
  --folder DIR        where the data directory goes (default: the system's temporary folder)`;

/** Puts of one transaction, and transactions under way, while the store is filled. */
const TXN_PUTS = 100;
const TXNS_AT_ONCE = 8;
const WARM_UP_REQUESTS = 50;
/** What it should stay below. */
const GOAL_MS = 20;

interface Settings {
  keys: number;
  groups: number;
  requests: number;
}

export async function benchChildren(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      keys: { type: 'string', default: '1000000' },
      groups: { type: 'string', default: '100' },
      requests: { type: 'string', default: '200' },
      folder: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(help);
  const settings = { keys: Number(values.keys), groups: Number(values.groups), requests: Number(values.requests) };
  const servers = await startServers('roster', 1, { folder: values.folder });
  try {
    await measure(`http://127.0.0.1:${servers.members[0]!.port}`, settings);
  } finally {
    await servers.stop();
  }
}

async function measure(url: string, settings: Settings): Promise<void> {
  const { keys, groups, requests } = settings;
  const startedMs = performance.now();
  await fill(url, settings);
  const seconds = (performance.now() - startedMs) / 1000;
  console.log(`${keys} keys in ${groups} groups, written in ${seconds.toFixed(0)} s\n`);
  await timed('one key, to compare with', requests, async () => {
    const response = await fetch(`${url}/kv/b/group-0/key-0`);
    await response.text();
  });
  for (const path of ['/kv/b?children', '/kv/b?children&serializable', '/kv/b/group-0?children&limit=100']) {
    const wanted = path.includes('limit') ? Math.min(100, Math.floor(keys / groups)) : groups;
    const latencyMs = await timed(path, requests, async () => {
      const response = await fetch(`${url}${path}`);
      const { children } = (await response.json()) as { children: object[] };
      if (children.length !== wanted) throw new Error(`${path}: ${children.length} children instead of ${wanted}`);
    });
    const verdict = latencyMs.percentile(0.5) < GOAL_MS ? 'below' : 'NOT BELOW';
    console.log(`  ${''.padEnd(34)} p50 is ${verdict} ${GOAL_MS} ms`);
  }
}

async function timed(name: string, requests: number, run: () => Promise<void>): Promise<Histogram> {
  const latencyMs = new Histogram();
  for (let i = 0; i < WARM_UP_REQUESTS + requests; i++) {
    const sentMs = performance.now();
    await run();
    if (i >= WARM_UP_REQUESTS) latencyMs.record(performance.now() - sentMs);
  }
  const at = (p: number) => latencyMs.percentile(p).toFixed(2);
  console.log(`  ${name.padEnd(34)} p50 ${at(0.5)} ms   p99 ${at(0.99)} ms`);
  return latencyMs;
}

async function fill(url: string, { keys, groups }: Settings): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < keys) {
      const success: object[] = [];
      for (; success.length < TXN_PUTS && next < keys; next++) {
        const key = Buffer.from(`b/group-${next % groups}/key-${next}`).toString('base64');
        success.push({ request_put: { key, value: 'dmFsdWU=' } });
      }
      const response = await fetch(`${url}/v3/kv/txn`, { method: 'POST', body: JSON.stringify({ success }) });
      if (!response.ok) throw new Error(`filling: ${await response.text()}`);
      await response.arrayBuffer();
    }
  };
  await Promise.all(Array.from({ length: TXNS_AT_ONCE }, worker));
}
