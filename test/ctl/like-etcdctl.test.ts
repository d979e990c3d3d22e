import { execFile } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningEtcd, startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { type Outcome, rosterctl } from './run-ctl.ts';

/** rosterctl beside Debian's etcdctl: the same commands on two stores of their own, the same output. */

const etcd = findPeer('etcd');
const binary = findPeer('etcdctl');

function etcdctl(endpoint: string, args: readonly string[], stdin: string): Promise<Outcome> {
  const env = { PATH: process.env.PATH, ETCDCTL_API: '3', ETCDCTL_ENDPOINTS: endpoint };
  return new Promise((resolve) => {
    const child = execFile(binary!, [...args], { env }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
    child.stdin!.end(stdin);
  });
}

/** Values of which only the form can be the same. */
function masked(text: string, endpoint: string): string {
  return text
    .replaceAll(endpoint, 'ENDPOINT')
    .replace(/took = \S+/g, 'took = TIME')
    .replace(/remaining\(\d+s\)/g, 'remaining(Ns)')
    .replace(/http:\/\/127\.0\.0\.1:\d+/g, 'URL')
    .replace(/\b[0-9a-f]{13,16}\b/g, 'ID');
}

const lastLine = (text: string) => text.trim().split('\n').at(-1);

const LEASE = '1122334455667788';

/** A command line in words, or [words, stdin]; `$LEASE` is the id the latest grant printed. */
const script: readonly (string | [string, string])[] = [
  'put foo bar',
  'put foo bar2 --prev-kv',
  'put fop --ignore-value',
  ['put piped', 'from stdin\n'],
  'put -- dash -value',
  'put a/1 one',
  'put a/2 two',
  'put a/3 three',
  'put ключ значение',
  'get foo',
  'get foo --rev=2',
  'get foo --rev=1000',
  'get missing',
  'get a/1 a/3',
  'get a/ --prefix',
  'get a/ --prefix --keys-only',
  'get a/ --prefix --print-value-only',
  'get a/ --prefix=true --limit=2',
  'get a/ --prefix=false',
  'get a/ --prefix --order=DESCEND',
  'get a/ --prefix --sort-by=VALUE',
  'get a/ --prefix --sort-by=modify --order=descend',
  'get a/ --prefix --order=FOO',
  'get a/ --prefix --sort-by=FOO',
  'get a/2 --from-key',
  'get --prefix a/ --hex',
  'get ключ --consistency=s',
  'get foo --consistency=x',
  'get',
  'get a b --prefix',
  'get a --prefix --from-key',
  'put',
  'del missing',
  'del a/1 --prev-kv',
  'del a/ --prefix --prev-kv',
  'del a b --prefix',
  'del',
  'lease grant 600',
  'put leased x --lease=$LEASE',
  'lease timetolive $LEASE',
  'lease timetolive $LEASE --keys',
  'lease keep-alive --once $LEASE',
  'lease list',
  'lease revoke $LEASE',
  'get leased',
  'lease timetolive $LEASE',
  'lease keep-alive $LEASE',
  'lease revoke $LEASE',
  'lease revoke zz',
  'lease revoke',
  'lease grant 99999999999',
  'lease grant x',
  'lease grant',
  'lease timetolive',
  'lease keep-alive',
  'put foo bar --lease=zz',
  'put foo bar --lease=12345',
  'compaction 5',
  'compaction 5',
  'compaction 1000',
  'compaction',
  'compaction x',
  'get foo --rev=2',
  'del foo --prev-kv',
  'del piped --from-key',
  'watch',
  'watch foo --rev=1',
  'member list',
  'endpoint health',
  'endpoint health --cluster',
];

describe.skipIf(etcd === undefined || binary === undefined)(
  'rosterctl and etcdctl (apt-get install etcd-client)',
  () => {
    let theirs: RunningEtcd;
    let ours: RunningEtcd;
    const leases = { theirs: LEASE, ours: LEASE };
    beforeAll(async () => {
      [theirs, ours] = await Promise.all([startEtcd(etcd), startEtcd(etcd)]);
    });
    afterAll(async () => {
      await theirs?.stop();
      await ours?.stop();
    });

    it.each(script.map((line) => (typeof line === 'string' ? ([line, ''] as const) : line)))(
      '%s',
      async (line, stdin) => {
        const words = (lease: string) => line.replaceAll('$LEASE', lease).split(' ');
        const expected = await etcdctl(theirs.endpoint, words(leases.theirs), stdin);
        const actual = await rosterctl(words(leases.ours), { stdin, env: { ETCDCTL_ENDPOINTS: ours.endpoint } });
        if (line.startsWith('lease grant')) {
          leases.theirs = /lease (\w+)/.exec(expected.stdout)?.[1] ?? leases.theirs;
          leases.ours = /lease (\w+)/.exec(actual.stdout)?.[1] ?? leases.ours;
        }
        // Healthy endpoints went to stderr until etcdctl 3.5.
        if (line.startsWith('endpoint health')) expected.stdout += `${expected.stderr.split('\n')[0]}\n`;
        // etcdctl 3.4 mixes log lines of its client into stderr: what counts there is the error, which comes last.
        else expect(lastLine(actual.stderr)).toBe(lastLine(expected.stderr));
        expect(masked(actual.stdout, ours.endpoint)).toBe(masked(expected.stdout, theirs.endpoint));
        expect(actual.code).toBe(expected.code);
      },
    );
  },
);
