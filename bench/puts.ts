/** The puts of the benches: small values under a fixed number of keys. */
import { encode } from '../core/wire/binary.ts';
import { PutRequest } from '../core/wire/messages.ts';
import type { CallKind } from './load.ts';

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

export const randomPuts: CallKind = { path: PUT_PATH, request: randomPut };
