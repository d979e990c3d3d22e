/** The puts of the benches: small values under a fixed number of keys. */
import { encode } from '../core/wire/binary.ts';
import { PutRequest } from '../core/wire/messages.ts';
import { type CallKind, runLoad } from './load.ts';
import type { ClusterUnderTest } from './servers.ts';

export const PUT_PATH = '/etcdserverpb.KV/Put';
export const KEY_SPACE = 100_000;
export const VALUE_BYTES = 256;
/** As in etcd's own published benchmark: 100 connections for many clients. */
export const CONNECTIONS_MAX = 100;

const value = Buffer.alloc(VALUE_BYTES, 'v');

function randomPut(): Uint8Array {
  const key = `key-${String(Math.floor(Math.random() * KEY_SPACE)).padStart(6, '0')}`;
  return encode(PutRequest, { key, value });
}

/**
 * What a cluster gets before its puts are measured for the first time. Roster's program is compiled while it runs, by use,
 * and stores run for months; a lone client alone, the case that profits most, would need minutes for that. Measured with
 * three members on a busy machine: processor time of one client's put 1.7 ms after 5 s of 100 clients, 1.0 ms after 60 s.
 */
export const WARM_UP = { clients: 100, seconds: 20 } as const;

export async function warmUp({ members }: ClusterUnderTest, seconds: number = WARM_UP.seconds): Promise<void> {
  const ports = members.map(({ port }) => port);
  await runLoad({ ports, clients: WARM_UP.clients, connections: CONNECTIONS_MAX, kinds: [randomPuts], seconds });
}

export const randomPuts: CallKind = { path: PUT_PATH, request: randomPut };
