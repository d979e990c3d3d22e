import { describe, expect, it } from 'vitest';
import { startEtcd } from '../support/etcd.ts';
import { requirePeers } from '../support/peers.ts';
import { startRoster } from '../support/roster.ts';
import { expectSameCommands } from '../support/transcripts.ts';
import { adminScript, stricter } from './etcdctl-admin-script.ts';
import { runScript, script } from './etcdctl-script.ts';

describe('etcdctl', () => {
  it('manages users, roles and the store of Roster as of etcd', { timeout: 300_000 }, async (context) => {
    const { etcd, etcdctl } = requirePeers(context, 'etcd', 'etcdctl');
    const reference = await startEtcd(etcd);
    const roster = await startRoster();
    try {
      const reply = await runScript(etcdctl, reference.endpoint, adminScript);
      const actual = await runScript(etcdctl, roster.endpoint, adminScript);
      // In their place stands what is expected instead.
      const expected = reply.map((block, i) => {
        const said = stricter.get(/^\$ etcdctl (.*)/.exec(block)![1]!);
        if (said === undefined) return block;
        expect(block, 'no difference any more').not.toContain(said);
        expect(actual[i]).toContain(said);
        return actual[i]!;
      });
      expect(expected.join('\n\n')).toContain('Authentication Enabled');
      expectSameCommands(actual, expected);
      console.log(
        `${expected.length} etcdctl commands of an administrator: the same output, ${stricter.size} of them refused to others`,
      );
    } finally {
      await reference.stop();
      await roster.stop();
    }
  });

  it('says the same to Roster as to etcd', { timeout: 180_000 }, async (context) => {
    const { etcd, etcdctl } = requirePeers(context, 'etcd', 'etcdctl');
    const reference = await startEtcd(etcd);
    const roster = await startRoster();
    try {
      const expected = await runScript(etcdctl, reference.endpoint);
      const actual = await runScript(etcdctl, roster.endpoint);
      expect(script.length).toBeGreaterThanOrEqual(60);
      expect(expected.join('\n\n')).toContain('compacted revision 10');
      expectSameCommands(actual, expected);
      console.log(`${expected.length} etcdctl commands: the same output`);
    } finally {
      await reference.stop();
      await roster.stop();
    }
  });
});
