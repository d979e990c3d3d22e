/** Ranges of one key, of 100 and of 10,000, linearizable and serializable. */
import { setTimeout as sleep } from 'node:timers/promises';
import { encode } from '../../core/wire/binary.ts';
import { RangeRequest } from '../../core/wire/messages.ts';
import { fill, filledKey } from '../fill.ts';
import type { CallKind } from '../load.ts';
import { work } from '../measurement.ts';
import { VALUE_BYTES } from '../puts.ts';
import { type Comparison, compare } from './compare.ts';
import { unary } from './put.ts';
import type { Section, SectionRun } from './section.ts';
import { loadSeconds, together } from './section.ts';

/** In the store. */
const STORED_KEYS = 100_000;
const FILL_SECONDS = 10;
/** Until every member has all keys. */
const SETTLE_MS = 2000;

/** Of `keys` keys that follow one another, anywhere in the store. */
export function ranges(keys: number, serializable: boolean, stored = STORED_KEYS): CallKind {
  const replyBytesMin = keys * VALUE_BYTES;
  const request = (): Uint8Array => {
    const from = Math.floor(Math.random() * (stored - keys + 1));
    const range_end = keys === 1 ? '' : filledKey(from + keys);
    return encode(RangeRequest, { key: filledKey(from), range_end, serializable });
  };
  return { path: '/etcdserverpb.KV/Range', request, replyBytesMin };
}

interface RangeCase {
  /** In one range. */
  readonly keys: number;
  readonly clients: number;
  readonly serializable: boolean;
}

const oneNode: readonly RangeCase[] = [
  { keys: 1, clients: 1, serializable: false },
  { keys: 1, clients: 100, serializable: false },
  { keys: 1, clients: 1000, serializable: false },
  { keys: 1, clients: 100, serializable: true },
  { keys: 1, clients: 1000, serializable: true },
  { keys: 100, clients: 100, serializable: false },
  { keys: 100, clients: 100, serializable: true },
  { keys: 10_000, clients: 10, serializable: false },
  { keys: 10_000, clients: 10, serializable: true },
];
const threeNodes: readonly RangeCase[] = [
  { keys: 1, clients: 100, serializable: false },
  { keys: 1, clients: 1000, serializable: false },
  { keys: 1, clients: 1000, serializable: true },
];

function rangeCase(nodes: number, { keys, clients, serializable }: RangeCase): Comparison {
  const name = `${serializable ? 'serializable' : 'linearizable'} range`;
  return {
    what: work(name, { nodes, keys, clients, valueBytes: VALUE_BYTES }),
    prepare: (cluster) => unary(cluster, clients, [ranges(keys, serializable)]),
  };
}

function rangeSection(nodes: number, cases: readonly RangeCase[]): Section {
  return {
    name: nodes === 1 ? 'range' : `range-${nodes}`,
    estimateSeconds: (scale) => loadSeconds(scale, cases.length, nodes) + 2 * nodes * FILL_SECONDS,
    run: (run: SectionRun) =>
      together(run, nodes, async (clusters) => {
        for (const { members } of clusters) await fill(members[0]!, { keys: STORED_KEYS, valueBytes: VALUE_BYTES });
        await sleep(SETTLE_MS);
        for (const each of cases) await compare(run, clusters, rangeCase(nodes, each));
      }),
  };
}

export const rangeSections: readonly Section[] = [rangeSection(1, oneNode), rangeSection(3, threeNodes)];
