import { describe, expect, it } from 'vitest';
import { runScript, type Step } from '../e2e/etcdctl-script.ts';
import { startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { startRoster } from '../support/roster.ts';
import { type Difference, told } from './etcdctl-differences.ts';
import { etcdctl2Run, rosterctl2Run } from './run-ctl.ts';
import { keys, users } from './v2-script.ts';

/** The v2 verbs of rosterctl beside `ETCDCTL_API=2 etcdctl`: the same commands, the same output and exit codes. */

const etcd = findPeer('etcd');
const etcdctl = findPeer('etcdctl');

interface Server {
  readonly endpoint: string;
  stop(): Promise<void>;
}

/** Where rosterctl is run. */
const servers: readonly [string, () => Promise<Server>][] = [
  ['etcd', () => startEtcd(etcd, ['--enable-v2'])],
  ['Roster', () => startRoster()],
];

const differences: readonly Difference[] = [
  {
    command: /user add alice:secret$/,
    why: 'etcdctl 3.4 does not see that the user exists, and sets the password again',
    equal: () => '',
  },
  {
    command: /member remove default$/,
    why: 'the id is told for rosterctl, and there is no link',
    equal: (block) => block.split('\n').at(-2)!,
  },
  {
    command: /member add second/,
    why: 'members are in the order of their ids, which are made by chance',
    equal: (block) => block.replace(/"(\S+=\S+,\S+)"/, (_, list: string) => list.split(',').sort().join(',')),
  },
];

/** Roster gives nothing to who does not say who he is (docs/v2.md). */
const noGuest: readonly Difference[] = [
  { command: /^\$ etcdctl set \/app\/x 1$/, why: 'nobody is a guest', equal: () => '' },
  { command: /role (?:revoke|get) guest/, why: 'there is no such role', equal: () => '' },
];

/** What differs from one server to the next although they do the same. */
function masked(block: string, indexes: boolean): string {
  const text = told(block)
    .replace(/"expiration":"[^"]+"/g, '"expiration":"#"')
    .replace(/("ttl":|TTL: )(?:100|9\d)\b/g, '$1#');
  if (!indexes) return text;
  return text
    .replace(/(Index: |Index":)\d+/g, '$1#')
    .replace(/ \[\d+\]$/gm, ' [#]')
    .replace(/(?<=!= )\d+\]/g, '#]')
    .replace(/\/\d{20}$/gm, '/#');
}

describe.skipIf(etcd === undefined || etcdctl === undefined)('the v2 verbs say what etcdctl says', () => {
  const scripts: readonly [string, readonly Step[]][] = [
    ['of keys, directories, watches and members', keys],
    ['of users and roles', users],
  ];
  describe.each(servers)('rosterctl on %s', (name, start) => {
    it.each(scripts)('%s', { timeout: 240_000 }, async (_title, steps) => {
      const ours = await start();
      try {
        const theirs = await startEtcd(etcd, ['--enable-v2']);
        const mask = (block: string) => masked(block, name !== 'etcd');
        const expected = (await runScript(etcdctl2Run(etcdctl!), theirs.endpoint, steps)).map(mask);
        await theirs.stop();
        const actual = (await runScript(rosterctl2Run, ours.endpoint, steps)).map(mask);
        expect(actual.length).toBe(expected.length);
        for (const [i, block] of expected.entries()) {
          const line = block.split('\n')[0]!;
          const known = name === 'etcd' ? differences : [...differences, ...noGuest];
          const same = known.find(({ command }) => command.test(line))?.equal ?? ((text: string) => text);
          expect(same(actual[i]!)).toBe(same(block));
        }
        console.log(`${expected.length} v2 commands on ${name}`);
      } finally {
        await ours.stop();
      }
    });
  });
});
