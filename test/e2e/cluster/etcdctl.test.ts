import { expect, it } from 'vitest';
import { requirePeers } from '../../support/peers.ts';
import { expectSameCommands } from '../../support/transcripts.ts';
import { memberSession } from './etcdctl-session.ts';

it('etcdctl says the same about the members of Roster as about those of etcd', {
  timeout: 300_000,
}, async (context) => {
  const { etcdctl } = requirePeers(context, 'etcd', 'etcdctl');
  // Both at once: most of it is waiting. Both clean up, whichever fails.
  const sessions = [memberSession('etcd', etcdctl), memberSession('roster', etcdctl)];
  await Promise.allSettled(sessions);
  const [expected, actual] = (await Promise.all(sessions)) as [string[], string[]];
  expect(expected.length).toBeGreaterThanOrEqual(60);
  expect(expected.join('\n\n')).toContain('added to cluster');
  expectSameCommands(actual, expected);
  console.log(`${expected.length} etcdctl commands about members: the same output`);
});
