import { afterAll, beforeAll, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import { type RunningCluster, startCluster } from '../support/roster.ts';
import { proxyOf } from './start.ts';

const TIMEOUT_MS = 300_000;
const WAIT = { timeout: 90_000, interval: 100 };

let cluster: RunningCluster;
beforeAll(async () => {
  cluster = await startCluster(3, ['--heartbeat-interval', '50', '--election-timeout', '500']);
}, TIMEOUT_MS);
afterAll(() => cluster.stop());

it(
  'clients of the proxy lose nothing when the member it uses is killed',
  async () => {
    const proxy = await proxyOf(cluster.endpoints.join(','));
    const clients = Array.from({ length: 5 }, () => new Client({ endpoints: [proxy.endpoint] }));
    try {
      const seen = clients.map((client) => {
        const values: string[] = [];
        const read = async () => {
          for await (const item of client.watch('k/', { prefix: true, start_revision: 1 })) {
            if (item.kind === 'events') values.push(...item.events.map(({ kv }) => Buffer.from(kv!.value).toString()));
          }
        };
        void read().catch(() => {});
        return values;
      });
      const writer = clients[0]!;
      const lease = await writer.keepLease(5);
      await writer.put('k/lease', 'alive', { lease: lease.id });
      const written = ['alive'];
      for (let round = 0; round < 2; round++) {
        const member = cluster.members[round]!;
        await member.kill();
        for (let i = 0; i < 3; i++) {
          const value = `${round}/${i}`;
          // A put whose answer was lost is not repeated; the watches tell whether it happened.
          await expect.poll(() => writer.put(`k/${i}`, value).then(Boolean, () => false), WAIT).toBe(true);
          written.push(value);
        }
        await member.start();
      }
      for (const values of seen) {
        await expect.poll(() => values.at(-1), WAIT).toBe(written.at(-1));
        expect([...new Set(values)]).toEqual(written);
        expect(values).toEqual(seen[0]);
      }
      expect(lease.lost.aborted).toBe(false);
      expect(Buffer.from((await writer.get('k/lease'))!.value).toString()).toBe('alive');
    } finally {
      for (const client of clients) client.close();
      await proxy.close();
    }
  },
  TIMEOUT_MS,
);
