import { describe, expect, it } from 'vitest';
import { adminScript } from '../e2e/etcdctl-admin-script.ts';
import { runScript, type Step, script } from '../e2e/etcdctl-script.ts';
import { startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { startRoster } from '../support/roster.ts';
import { expectSameCommands } from '../support/transcripts.ts';
import { differences, told } from './etcdctl-differences.ts';
import { mistakes } from './mistakes-script.ts';
import { rosterctlRun } from './run-ctl.ts';

/** rosterctl beside Debian's etcdctl: the same commands on two stores of their own, the same output and exit codes. */

const found = { etcd: findPeer('etcd'), etcdctl: findPeer('etcdctl') };
const peers = found.etcd && found.etcdctl ? { etcd: found.etcd, etcdctl: found.etcdctl } : undefined;

describe.skipIf(peers === undefined)('rosterctl says what etcdctl says', () => {
  const scripts: readonly [string, readonly Step[]][] = [
    ['in every format, of keys, leases, watches and members', script],
    ['as an administrator', adminScript],
    ['of what is wrong', mistakes],
  ];
  it.each(scripts)('%s', { timeout: 240_000 }, async (_name, steps) => {
    const { etcd, etcdctl } = peers!;
    const [theirs, ours] = await Promise.all([startEtcd(etcd), startEtcd(etcd)]);
    try {
      const expected = (await runScript(etcdctl, theirs.endpoint, steps)).map(told);
      const actual = (await runScript(rosterctlRun, ours.endpoint, steps)).map(told);
      const different = new Set<string>();
      for (const [i, block] of expected.entries()) {
        const same = differences.find(({ command }) => command.test(block.split('\n')[0]!))?.equal ?? ((text) => text);
        expect(same(actual[i]!)).toBe(same(block));
        if (actual[i] !== block) different.add(block.split('\n')[0]!);
      }
      console.log(`${expected.length} commands, ${different.size} with a known difference`);
      expect(actual.length).toBe(expected.length);
    } finally {
      await theirs.stop();
      await ours.stop();
    }
  });
});

describe.skipIf(peers === undefined)('rosterctl says the same of Roster as of etcd', () => {
  it.each([
    ['in every format', script],
    ['of what is wrong', mistakes],
  ] as const)('%s', { timeout: 240_000 }, async (_name, steps) => {
    const { etcd } = peers!;
    const [theirs, ours] = [await startEtcd(etcd), await startRoster()];
    try {
      const expected = await runScript(rosterctlRun, theirs.endpoint, steps);
      const actual = await runScript(rosterctlRun, ours.endpoint, steps);
      // What a status tells is of each server its own.
      const comparable = (blocks: string[]) =>
        blocks.map(told).filter((block) => !/^\$ etcdctl endpoint status/.test(block));
      expectSameCommands(comparable(actual), comparable(expected));
    } finally {
      await theirs.stop();
      await ours.stop();
    }
  });
});
