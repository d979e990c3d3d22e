import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import { GrpcStatus } from '../../client/index.ts';
import { clientSuite } from '../conformance/client.ts';
import { startEtcd } from '../support/etcd.ts';
import { findPeer, requirePeers } from '../support/peers.ts';

const etcd = findPeer('etcd');

describe.skipIf(etcd === undefined)("the client against Debian's etcd (apt-get install etcd-server)", () => {
  clientSuite(() => startEtcd(etcd));
});

describe('the client against an etcd that misbehaves', () => {
  it('names the endpoint that does not answer in time', async (context) => {
    const store = await startEtcd(requirePeers(context, 'etcd').etcd);
    const client = new Client({ endpoints: [store.endpoint] });
    try {
      await client.put('a', '1');
      process.kill(store.pid, 'SIGSTOP');
      // The signal is under way: each thread stops when it is next scheduled.
      await expect.poll(() => readFileSync(`/proc/${store.pid}/stat`, 'utf8')).toMatch(/\) T /);
      const error = await client.get('a', { timeoutMs: 300 }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ status: GrpcStatus.DEADLINE_EXCEEDED });
      expect(String(error)).toContain(store.endpoint);
    } finally {
      client.close();
      await store.stop();
    }
  });

  it('leaves no watcher behind', async (context) => {
    const store = await startEtcd(requirePeers(context, 'etcd').etcd);
    const client = new Client({ endpoints: [store.endpoint] });
    const watchers = async (): Promise<string | undefined> => {
      const text = await (await fetch(`http://${store.endpoint}/metrics`)).text();
      return /^etcd_debugging_mvcc_watcher_total (\d+)$/m.exec(text)?.[1];
    };
    try {
      let created = 0;
      const three = Array.from({ length: 3 }, () => client.watch('a', { onCreated: () => created++ }));
      while (created < 3) await new Promise((resolve) => setTimeout(resolve, 10));
      expect(await watchers()).toBe('3');
      for (const expected of ['2', '1', '0']) {
        await three.pop()!.return!();
        while ((await watchers()) !== expected) await new Promise((resolve) => setTimeout(resolve, 10));
      }
    } finally {
      client.close();
      await store.stop();
    }
  });
});
