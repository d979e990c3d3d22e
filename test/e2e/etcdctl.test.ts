import { describe, expect, it } from 'vitest';
import { startEtcd } from '../support/etcd.ts';
import { requirePeers } from '../support/peers.ts';
import { startRoster } from '../support/roster.ts';
import { runScript, script } from './etcdctl-script.ts';

describe('etcdctl', () => {
  it('says the same to Roster as to etcd', { timeout: 180_000 }, async (context) => {
    const { etcd, etcdctl } = requirePeers(context, 'etcd', 'etcdctl');
    const reference = await startEtcd(etcd);
    const roster = await startRoster();
    try {
      const expected = await runScript(etcdctl, reference.endpoint);
      const actual = await runScript(etcdctl, roster.endpoint);
      expect(script.length).toBeGreaterThanOrEqual(60);
      expect(expected.join('\n\n')).toContain('compacted revision 10');
      expect(actual.join('\n\n')).toEqual(expected.join('\n\n'));
      console.log(`${expected.length} etcdctl commands: the same output`);
    } finally {
      await reference.stop();
      await roster.stop();
    }
  });
});
