/** Puts: how the rate grows with clients, size of values and members; and latency at a fixed rate. */
import { encode } from '../../core/wire/binary.ts';
import { PutRequest } from '../../core/wire/messages.ts';
import { type CallKind, Load } from '../load.ts';
import { work } from '../measurement.ts';
import { CONNECTIONS_MAX, KEY_SPACE, PUT_PATH, VALUE_BYTES, WARM_UP, warmUp } from '../puts.ts';
import type { ClusterUnderTest } from '../servers.ts';
import { type Comparison, compare, type Prepared } from './compare.ts';
import { loadSeconds, type Section, together } from './section.ts';

const CLIENTS = 100;
/** Of the open loop: what both can do easily. */
const OPEN_PER_SECOND = 2000;
/** A quick look at the suite, of short runs, has a shorter warm-up too. */
const WARM_UP_RUNS_MAX = 4;
/** So that large values do not fill the disk. */
const LARGE_KEY_SPACE = 1000;

export function randomKey(keys: number): string {
  return `key-${String(Math.floor(Math.random() * keys)).padStart(6, '0')}`;
}

export function puts(valueBytes: number, keys = KEY_SPACE): CallKind {
  const value = Buffer.alloc(valueBytes, 'v');
  return { path: PUT_PATH, request: () => encode(PutRequest, { key: randomKey(keys), value }) };
}

/** Unary calls of every kind, to all members. */
export async function unary(
  cluster: ClusterUnderTest,
  clients: number,
  kinds: readonly [CallKind, ...CallKind[]],
  perSecond?: number,
): Promise<Prepared> {
  const ports = cluster.members.map(({ port }) => port);
  const load = await Load.open({ ports, clients, connections: CONNECTIONS_MAX, kinds });
  return {
    run: (ms) => load.run(ms, perSecond === undefined ? {} : { perSecond }),
    close: () => load.close(),
  };
}

function putCase(nodes: number, clients: number, valueBytes: number): Comparison {
  const keys = valueBytes > VALUE_BYTES ? LARGE_KEY_SPACE : KEY_SPACE;
  return {
    what: work('put', { nodes, clients, valueBytes }),
    prepare: (cluster) => unary(cluster, clients, [puts(valueBytes, keys)]),
  };
}

function putSection(nodes: number): Section {
  return {
    name: nodes === 1 ? 'put' : `put-${nodes}`,
    estimateSeconds: (scale) => loadSeconds(scale, scale.clients.length, nodes) + 2 * WARM_UP.seconds,
    run: (run) =>
      together(run, nodes, async (clusters) => {
        const seconds = Math.min(WARM_UP.seconds, WARM_UP_RUNS_MAX * run.scale.seconds);
        for (const cluster of clusters) await warmUp(cluster, seconds);
        for (const clients of run.scale.clients) await compare(run, clusters, putCase(nodes, clients, VALUE_BYTES));
      }),
  };
}

const putValues: Section = {
  name: 'put-values',
  estimateSeconds: (scale) => loadSeconds(scale, scale.valueBytes.length),
  run: (run) =>
    together(run, 1, async (clusters) => {
      for (const valueBytes of run.scale.valueBytes) {
        if (valueBytes !== VALUE_BYTES) await compare(run, clusters, putCase(1, CLIENTS, valueBytes));
      }
    }),
};

const putOpen: Section = {
  name: 'put-open',
  estimateSeconds: (scale) => loadSeconds(scale, 1),
  run: (run) =>
    together(run, 1, (clusters) =>
      compare(run, clusters, {
        what: work(`put at ${OPEN_PER_SECOND}/s, open loop`, { clients: CLIENTS, valueBytes: VALUE_BYTES }),
        prepare: (cluster) => unary(cluster, CLIENTS, [puts(VALUE_BYTES)], OPEN_PER_SECOND),
      }),
    ),
};

export const putSections: readonly Section[] = [putSection(1), putSection(3), putValues, putOpen];
