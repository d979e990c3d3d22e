import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningCluster, startCluster } from '../support/roster.ts';

/** One member becomes two, and is killed at the worst moment: the second exists in its log only. */
describe('a cluster of one that grows', { timeout: 120_000 }, () => {
  let cluster: RunningCluster;
  beforeAll(async () => {
    // What is applied stays in memory for longer than the test takes.
    cluster = await startCluster(1, ['--backend-batch-interval', '60s']);
  }, 120_000);
  afterAll(() => cluster.stop());

  it('goes on with its second member after a kill that follows the addition at once', async () => {
    const first = cluster.members[0]!;
    const second = await cluster.place('m2');
    const added = await fetch(`http://${first.endpoint}/v3/cluster/member/add`, {
      method: 'POST',
      body: JSON.stringify({ peerURLs: [second.peerUrl] }),
    });
    expect(added.status).toBe(200);
    await first.kill();
    first.launch();
    // The second asks the first who belongs to the cluster, and the first needs its vote.
    await expect
      .poll(
        () =>
          fetch(`${first.peerUrl}/version`).then(
            ({ ok }) => ok,
            () => false,
          ),
        { timeout: 60_000 },
      )
      .toBe(true);
    await second.start();
    for (const { endpoint } of cluster.members) {
      const list = await fetch(`http://${endpoint}/v3/cluster/member/list`, { method: 'POST', body: '{}' });
      expect(((await list.json()) as { members: unknown[] }).members).toHaveLength(2);
    }
  });
});
