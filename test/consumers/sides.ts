/** The servers a consumer's sequence runs on: always Roster, and Debian's etcd where it is installed. */
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { startRoster } from '../support/roster.ts';
import { HttpClient, type Json } from './http.ts';

const etcd = findPeer('etcd');

export interface Side {
  readonly name: 'etcd' | 'roster';
  readonly client: HttpClient;
}

/** `body` is run for each server; every `record` of one must be equal to that of the others. */
export function onEverySide(
  name: string,
  body: (side: Side, record: (what: string, seen: unknown) => void) => void,
): void {
  const records = new Map<string, Map<string, unknown>>();
  const servers = [
    ...(etcd === undefined ? [] : [['etcd', () => startEtcd(etcd, ['--bcrypt-cost', '4'])] as const]),
    ['roster', () => startRoster(['--bcrypt-cost', '4'])] as const,
  ];
  describe.each(servers)(`${name} on %s`, (server, start) => {
    const side = { name: server, client: undefined as unknown as HttpClient };
    let stop: () => Promise<void> = async () => {};
    beforeAll(async () => {
      const running = await start();
      stop = () => running.stop();
      side.client = new HttpClient(`http://${running.endpoint}`);
    });
    afterAll(async () => {
      side.client?.close();
      await stop();
    });
    body(side, (what, seen) => {
      const bySide = records.get(what) ?? new Map<string, unknown>();
      records.set(what, bySide.set(server, seen));
      const theirs = bySide.get('etcd');
      if (server === 'roster' && theirs !== undefined) expect(seen, what).toEqual(theirs);
    });
  });
}

/** An answer without what names the server or was chosen by it. */
export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).filter(([name]) => !['http_status'].includes(name));
  return Object.fromEntries(
    fields.map(([name, field]) =>
      ['cluster_id', 'member_id', 'raft_term', 'ID', 'lease', 'token', 'version'].includes(name) &&
      typeof field === 'string'
        ? [name, name === 'version' && /^\d+$/.test(field) ? field : 'set']
        : [name, plain(field)],
    ),
  );
}

export type { Json };
