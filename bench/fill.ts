/** Fills a store with keys in an order of their own, many in one transaction. */
import { encode } from '../core/wire/binary.ts';
import { TxnRequest } from '../core/wire/messages.ts';
import { Load } from './load.ts';
import type { MemberUnderTest } from './servers.ts';

/** etcd takes 128 operations and 1.5 MiB at most in one transaction. */
const OPERATIONS_MAX = 100;
const REQUEST_BYTES_MAX = 512 * 1024;
const FILLING_CLIENTS = 10;

export interface Filling {
  readonly keys: number;
  readonly valueBytes: number;
  /** Of all keys. Default: `fill-`. */
  readonly prefix?: string;
  /** Each key is written so often, one pass after the other. Default 1. */
  readonly versions?: number;
}

/** Keys are the prefix and eight digits, counted from 0. */
export function filledKey(i: number, prefix = 'fill-'): string {
  return `${prefix}${String(i).padStart(8, '0')}`;
}

/** `progress` hears, now and then, which part (0..1) is done. */
export async function fill(
  member: MemberUnderTest,
  { keys, valueBytes, prefix, versions = 1 }: Filling,
  progress: (part: number) => void = () => {},
): Promise<void> {
  const value = Buffer.alloc(valueBytes, 'v');
  const each = Math.max(1, Math.min(OPERATIONS_MAX, Math.floor(REQUEST_BYTES_MAX / (valueBytes + 64))));
  const passCalls = Math.ceil(keys / each);
  let made = 0;
  const request = (): Uint8Array => {
    const from = (made++ % passCalls) * each;
    const count = Math.min(each, keys - from);
    const success = Array.from({ length: count }, (_, i) => ({
      request_put: {
        key: filledKey(from + i, prefix),
        value,
        lease: 0n,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
      },
    }));
    return encode(TxnRequest, { compare: [], success, failure: [] });
  };
  const load = await Load.open({
    ports: [member.port],
    clients: FILLING_CLIENTS,
    connections: FILLING_CLIENTS,
    kinds: [{ path: '/etcdserverpb.KV/Txn', request }],
  });
  const calls = passCalls * versions;
  try {
    await load.run((sent) => {
      if (sent % 100 === 0) progress(sent / calls);
      return sent < calls;
    });
  } finally {
    load.close();
  }
}
