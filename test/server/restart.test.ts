import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import { readServeFlags } from '../../server/config/serve-flags.ts';
import { LmdbBackend } from '../../server/disk/lmdb-backend.ts';
import { type RunningServer, startServer } from '../../server/serve.ts';
import { freePort } from '../support/ports.ts';

/** One member started and stopped within this process, on one data directory. */
describe('a member that starts again', () => {
  let folder: string;
  let lines: string[];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'roster-restart-'));
    lines = [];
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const start = async (...more: string[]): Promise<RunningServer> => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const args = ['--data-dir', join(folder, 'data'), '--listen-client-urls', url, '--advertise-client-urls', url];
    args.push('--listen-peer-urls', 'http://127.0.0.1:0');
    const log = pino({}, { write: (line: string) => void lines.push(line) });
    return startServer(readServeFlags([...args, ...more], {}), log);
  };
  const member = async (server: RunningServer) => {
    const client = new Client({ endpoints: server.clientUrls });
    try {
      const { header, members } = await client.memberList();
      return { cluster: header!.cluster_id, id: members[0]!.ID };
    } finally {
      client.close();
    }
  };

  it('stays who it is, whatever the flags for a new member say', async () => {
    const first = await start();
    const before = await member(first);
    await first.stop();
    const peer = 'http://127.0.0.1:12380';
    const second = await start('--initial-advertise-peer-urls', peer, '--initial-cluster-token', 'another');
    expect(await member(second)).toEqual(before);
    await second.stop();
    expect(lines.join('')).toContain('made with other --initial-* flags');
  });

  it('goes through many starts without losing or inventing anything', async () => {
    for (let round = 1; round <= 5; round++) {
      const server = await start();
      const client = new Client({ endpoints: server.clientUrls });
      const { kvs, revision } = await client.getPrefix('/r/');
      expect([kvs.length, revision]).toEqual([round - 1, round === 1 ? 1 : round]);
      await client.put(`/r/${round}`, String(round));
      if (round === 3) await client.compact(2, { physical: true });
      client.close();
      await server.stop();
    }
  });

  it('goes on with a directory from before members were kept in it', async () => {
    const first = await start();
    const before = await member(first);
    await first.stop();
    const backend = new LmdbBackend({ directory: join(folder, 'data', 'member', 'db') });
    for (const bucket of ['members', 'cluster'] as const) {
      const keys: string[] = [];
      backend.scan(bucket, '', undefined, (key) => keys.push(key) > 0);
      expect(keys.length).toBeGreaterThan(0);
      for (const key of keys) backend.delete(bucket, key);
    }
    backend.delete('meta', 'confState');
    await new Promise((resolve) => backend.commit(resolve));
    await new Promise((resolve) => backend.close(resolve));
    const second = await start();
    expect(await member(second)).toEqual(before);
    await second.stop();
  });

  it('lets another start have the directory after its stop, and not before', async () => {
    const server = await start();
    await expect(start()).rejects.toThrow('in use');
    await server.stop();
    await server.stop();
    await (await start()).stop();
  });
});
