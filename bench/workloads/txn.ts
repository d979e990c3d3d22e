/** Transactions, deletes, and a mixture of all unary calls. */
import { decode, defaults, encode } from '../../core/wire/binary.ts';
import {
  CompareResult,
  CompareTarget,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RangeResponse,
  TxnRequest,
} from '../../core/wire/messages.ts';
import { fill, filledKey } from '../fill.ts';
import { type CallKind, Load } from '../load.ts';
import { work } from '../measurement.ts';
import { CONNECTIONS_MAX, VALUE_BYTES } from '../puts.ts';
import type { ClusterUnderTest } from '../servers.ts';
import { callOnce } from '../status.ts';
import { type Comparison, compare, type Prepared } from './compare.ts';
import { puts, randomKey, unary } from './put.ts';
import { ranges } from './range.ts';
import { loadSeconds, type Scale, type Section, together } from './section.ts';

const TXN_PATH = '/etcdserverpb.KV/Txn';
const CLIENTS = 100;
const STORED_KEYS = 20_000;
const FILL_SECONDS = 4;
/** Deleted in each run, for each second that other runs take. */
const DELETES_PER_SECOND = 10_000;

const value = Buffer.alloc(VALUE_BYTES, 'v');

function putOperation(key: string): { request_put: PutRequest } {
  return { request_put: { ...defaults(PutRequest), key, value } };
}

/** Every client has a key of its own and writes it if it has still the version that the client made last. */
async function prepareSwaps(cluster: ClusterUnderTest): Promise<Prepared> {
  const versions = new Array<number>(CLIENTS).fill(0);
  const key = (client: number): string => `swap-${String(client).padStart(4, '0')}`;
  const swap: CallKind = {
    path: TXN_PATH,
    request: (client) => {
      const version = versions[client]!++;
      return encode(TxnRequest, {
        compare: [
          {
            result: CompareResult.values.EQUAL,
            target: CompareTarget.values.VERSION,
            key: key(client),
            version,
            range_end: '',
          },
        ],
        success: [putOperation(key(client))],
        failure: [],
      });
    },
  };
  const load = await unary(cluster, CLIENTS, [swap]);
  const verify = async (): Promise<void> => {
    const everything = encode(RangeRequest, { key: 'swap-', range_end: 'swap.' });
    const { kvs } = decode(RangeResponse, await callOnce(cluster.members[0]!, 'KV/Range', everything));
    const wrong = kvs.filter((kv, client) => kv?.version !== versions[client]).length + CLIENTS - kvs.length;
    if (wrong > 0) throw new Error(`${wrong} of ${CLIENTS} clients' compare-and-swaps did not all succeed`);
  };
  return { ...load, verify };
}

/** As etcd's own `benchmark txn-mixed`: as many that read as that write. */
function mixedTxns(): [CallKind, CallKind] {
  const read = (): Uint8Array => {
    const key = filledKey(Math.floor(Math.random() * STORED_KEYS));
    return encode(TxnRequest, {
      compare: [],
      success: [{ request_range: { ...defaults(RangeRequest), key } }],
      failure: [],
    });
  };
  const write = (): Uint8Array =>
    encode(TxnRequest, { compare: [], success: [putOperation(randomKey(STORED_KEYS))], failure: [] });
  return [
    { path: TXN_PATH, request: read, replyBytesMin: VALUE_BYTES },
    { path: TXN_PATH, request: write },
  ];
}

/** What services do all day: they read mostly, small and now and then a list, and write. */
function mixture(): [CallKind, ...CallKind[]] {
  const [readTxn, writeTxn] = mixedTxns();
  return [
    { ...ranges(1, false, STORED_KEYS), weight: 10 },
    { ...ranges(1, true, STORED_KEYS), weight: 2 },
    { ...ranges(100, false, STORED_KEYS), weight: 1 },
    { ...puts(VALUE_BYTES), weight: 5 },
    { ...readTxn, weight: 1 },
    { ...writeTxn, weight: 1 },
  ];
}

async function prepareDeletes(cluster: ClusterUnderTest, keys: number): Promise<Prepared> {
  const member = cluster.members[0]!;
  const prefix = 'delete-';
  await fill(member, { keys, valueBytes: VALUE_BYTES, prefix });
  let next = 0;
  const request = (): Uint8Array => encode(DeleteRangeRequest, { key: filledKey(next++, prefix) });
  const kinds = [{ path: '/etcdserverpb.KV/DeleteRange', request }] as const;
  const load = await Load.open({
    ports: [member.port],
    clients: CLIENTS,
    connections: CONNECTIONS_MAX,
    kinds: [...kinds],
  });
  return {
    run: () => load.run((calls) => calls < keys),
    verify: async () => {
      const left = encode(RangeRequest, { key: prefix, range_end: 'delete.', count_only: true });
      const { count } = decode(RangeResponse, await callOnce(member, 'KV/Range', left));
      if (count !== 0) throw new Error(`${count} of ${keys} deleted keys are still there`);
    },
    close: () => load.close(),
  };
}

function cases(scale: Scale): Comparison[] {
  const numbers = { clients: CLIENTS, valueBytes: VALUE_BYTES };
  const deleted = DELETES_PER_SECOND * scale.seconds;
  return [
    { what: work('txn compare-and-swap', numbers), prepare: prepareSwaps },
    { what: work('txn mixed', numbers), prepare: (cluster) => unary(cluster, CLIENTS, mixedTxns()) },
    { what: work('mixed load', numbers), prepare: (cluster) => unary(cluster, CLIENTS, mixture()) },
    { what: work('delete', numbers), prepare: (cluster) => prepareDeletes(cluster, deleted), once: true },
  ];
}

export const txnSection: Section = {
  name: 'txn',
  estimateSeconds: (scale) => loadSeconds(scale, 5) + 2 * FILL_SECONDS,
  run: (run) =>
    together(run, 1, async (clusters) => {
      for (const { members } of clusters) await fill(members[0]!, { keys: STORED_KEYS, valueBytes: VALUE_BYTES });
      for (const each of cases(run.scale)) await compare(run, clusters, each);
    }),
};
