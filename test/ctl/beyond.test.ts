import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { beyond, namesOf, version2, version3 } from '../../ctl/catalogue.ts';
import { startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { startRoster } from '../support/roster.ts';
import { type Outcome, type RunOptions, rosterctl } from './run-ctl.ts';

/** What rosterctl has beyond etcdctl, and the verbs whose output has nothing to be compared with. */

interface Store {
  readonly endpoint: string;
  stop(): Promise<void>;
}

type Ctl = (line: string | string[], options?: RunOptions) => Promise<Outcome>;

const ctlOf =
  (endpoint: () => string): Ctl =>
  (line, options = {}) =>
    rosterctl(typeof line === 'string' ? line.split(' ') : line, {
      ...options,
      env: { ETCDCTL_ENDPOINTS: endpoint(), ...options.env },
    });

const etcd = findPeer('etcd');
const stores: [string, () => Promise<Store>][] = [['Roster', () => startRoster()]];
if (etcd !== undefined) stores.push(['etcd', () => startEtcd(etcd)]);

describe.each(stores)('on %s', (_name, start) => {
  let store: Store;
  const ctl = ctlOf(() => store.endpoint);
  const said = async (line: string | string[], options?: RunOptions) => {
    const outcome = await ctl(line, options);
    expect([outcome.code, outcome.stderr]).toEqual([0, '']);
    return outcome.stdout;
  };
  const revision = async () => Number(/"revision":(\d+)/.exec((await ctl('get x -w json')).stdout)![1]);

  beforeAll(async () => {
    store = await start();
    for (const [key, value] of [
      ['/app/db/host', 'a'],
      ['/app/db/port', '5432'],
      ['/app/name', 'shop'],
      ['/app/web/1/addr', 'x'],
      ['/app/web/2/addr', 'y'],
      ['/apple', 'no child of /app'],
    ] as const) {
      await said(['put', key, value]);
    }
  });
  afterAll(() => store?.stop());

  it('get --children: one level', async () => {
    expect(await said('get /app --children')).toBe('/app/db/\n/app/name\n/app/web/\n');
    expect(await said('get /app/ --children')).toBe('/app/db/\n/app/name\n/app/web/\n');
    expect(await said(['get', '', '--children'])).toBe('/\n');
    expect(await said('get /none --children')).toBe('');
    expect(await said('get /app --children --separator=/1')).toBe('');
    const { children } = JSON.parse(await said('get /app/web --children -w json'));
    expect(children).toEqual([
      { key: '/app/web/1/', branch: true },
      { key: '/app/web/2/', branch: true },
    ]);
    const before = await revision();
    await said('put /app/zoo 1');
    expect(await said(`get /app --children --rev ${before}`)).not.toContain('zoo');
    expect(await said('get /app --children')).toContain('/app/zoo\n');
    await said('del /app/zoo');
  });

  it('get --children: keys of any octets', async () => {
    await said(['put', 'bin\u{10ffff}/x', '1']);
    await said(['put', 'bin\u{10ffff}/y', '1']);
    await said(['put', 'zz', '1']);
    expect(await said(['get', '', '--children'])).toBe('/\nbin\u{10ffff}/\nzz\n');
    await said('del bin --prefix');
    await said('del zz');
  });

  it('du', async () => {
    expect(await said('du /app')).toBe(
      '/app/db/, 2, 24 B, 5 B\n/app/name, 1, 9 B, 4 B\n/app/web/, 2, 30 B, 2 B\ntotal, 5, 63 B, 11 B\n',
    );
    const rows = JSON.parse(await said('du -w json'));
    expect(rows.at(-1)).toMatchObject({ name: 'total', keys: 6 });
    expect(await said('du /app -w table')).toMatch(/\|\s+PREFIX\s+\| KEYS \| KEYS SIZE \| VALUES SIZE \|/);
    expect((await ctl('du a b')).code).toBe(128);
  });

  it('put --ttl', async () => {
    await said('put /brief 1 --ttl 600');
    const lease = /"Lease" : (-?\d+)/.exec(await said('get /brief -w fields'))![1]!;
    expect(lease).not.toBe('0');
    const left = await said(`lease timetolive ${BigInt.asUintN(64, BigInt(lease)).toString(16)} --keys`);
    expect(left).toMatch(/granted with TTL\(600s\), remaining\(5\d\ds\), attached keys\(\[\/brief\]\)/);
    // A put that fails leaves no lease behind.
    const leases = await said('lease list');
    expect((await ctl(['put', '', 'x', '--ttl', '600'])).code).toBe(1);
    expect(await said('lease list')).toBe(leases);
    await said('del /brief');
  });

  it('diff', async () => {
    const from = await revision();
    await said('put /d/new 1');
    await said('put /app/name market');
    await said('del /app/db/host');
    await said('put /app/web/1/addr x');
    const to = await revision();
    await said('put /d/later 1');
    const all = `+ /d/new "1"\n~ /app/name "shop" -> "market"\n- /app/db/host "a"\n`;
    const sorted = (text: string) => text.trim().split('\n').sort();
    expect(sorted(await said(`diff --from ${from} --to ${to}`))).toEqual(sorted(all));
    expect(await said(`diff --from ${from} --to ${to} /d/`)).toBe('+ /d/new "1"\n');
    expect(await said(`diff --from ${from} /d/`)).toBe('+ /d/later "1"\n+ /d/new "1"\n');
    expect(await said(`diff --from ${to} --to ${to}`)).toBe('');
    expect(JSON.parse(await said(`diff --from ${from} --to ${to} -w json /d/`))).toEqual([
      { change: '+', key: '/d/new', from: '', to: '"1"' },
    ]);
    expect((await ctl(`diff --from ${to} --to ${from}`)).code).toBe(128);
    expect((await ctl('diff')).stderr).toContain('--from');
  });

  it('history', async () => {
    await said('put /h one');
    await said('put /h two');
    await said('del /h');
    await said('put /h three');
    const text = await said('history /h');
    expect(text.replace(/\d+(?=:| created)/g, 'N')).toBe(
      'revision N: created: "one"\nrevision N: put, version 2: "two"\nrevision N: deleted\nrevision N: created: "three"\n'.replace(
        'version 2:',
        'version N:',
      ),
    );
    expect((await said('history /h --limit 1')).split('\n').length).toBe(2);
    await said('del /h');
    expect((await said('history /h')).trim().split('\n').at(-1)).toContain('deleted');
    const { changes } = JSON.parse(await said('history /h -w json'));
    expect(changes.map(({ type }: { type: string }) => type)).toEqual(['PUT', 'PUT', 'DELETE', 'PUT', 'DELETE']);
    const never = await ctl('history /never');
    expect([never.code, never.stdout]).toEqual([0, '']);
    expect(never.stderr).toContain('no change of "/never" is remembered');
  });

  it('watch --resume tells what is left of what was compacted', async () => {
    const from = await revision();
    await said('put /w/a 1');
    await said('put /w/a 2');
    await said('put /w/b 1');
    await said('del /w/b');
    await said('put /w/c 1');
    await said(`compaction ${from + 4}`);
    const refused = await ctl(`watch /w/ --prefix --rev ${from + 1}`);
    expect([refused.code, refused.stdout]).toEqual([5, '']);
    expect(refused.stderr).toContain('watch was canceled (etcdserver: mvcc: required revision has been compacted)');
    const interrupt = new AbortController();
    const resumed = await ctl(`watch /w/ --prefix --resume --rev ${from + 1}`, {
      signal: AbortSignal.any([interrupt.signal, AbortSignal.timeout(20_000)]),
      onStdout: (text) => {
        if (text.includes('/w/c')) interrupt.abort();
      },
    });
    expect(resumed.stdout).toBe('PUT\n/w/a\n2\nPUT\n/w/c\n1\n');
    expect(resumed.stderr).toMatch(
      new RegExp(`^missed revisions ${from + 1} to ${from + 4}: compacted .* 1 changed in them and still exist`),
    );
    const before = await ctl('history /w/a');
    expect(before.stderr).toContain(`revisions before ${from + 4} are compacted`);
  });

  it('top, once', async () => {
    const text = await said('top --count 1 --interval 200ms');
    expect(text).toContain('ENDPOINT');
    expect(text).toMatch(new RegExp(`${store.endpoint} \\|\\s+leader \\|\\s+3\\.`));
    const [row] = JSON.parse(await said('top --count 1 --interval 100ms --cluster -w json'));
    expect(row).toMatchObject({ role: 'leader' });
    expect((await ctl('top --interval 1')).code).toBe(128);
  });

  it('doctor: a cluster of one that is well', async () => {
    const { stdout, code } = await ctl('doctor');
    expect([code, stdout]).toEqual([0, 'All is well: 1 of 1 members answer, and agree.\n']);
  });

  it('make-mirror copies, and follows', async () => {
    const copy = await startRoster();
    try {
      const interrupt = new AbortController();
      const there = ctlOf(() => copy.endpoint);
      const done = ctl(`make-mirror ${copy.endpoint} --prefix /app/ --dest-prefix /copy/`, {
        signal: AbortSignal.any([interrupt.signal, AbortSignal.timeout(60_000)]),
      });
      const seen = async (key: string, value: string) => {
        await expect
          .poll(async () => (await there(`get ${key} --print-value-only`)).stdout, { timeout: 20_000 })
          .toBe(value);
      };
      await seen('/copy/db/port', '5432\n');
      await said('put /app/late 1');
      await seen('/copy/late', '1\n');
      await said('del /app/late');
      await seen('/copy/late', '');
      interrupt.abort();
      expect((await done).code).toBe(5);
      expect((await there('get /apple')).stdout).toBe('');
    } finally {
      await copy.stop();
    }
  });

  it('lock: the exit code is that of the command, and the lock is given back', async () => {
    const failed = await ctl(['lock', 'l', '--', 'sh', '-c', 'echo $ETCD_LOCK_KEY; exit 3']);
    expect(failed.code).toBe(3);
    expect(failed.stdout).toMatch(/^l\/[0-9a-f]+\n$/);
    expect(await said('get l/ --prefix')).toBe('');
    const interrupt = new AbortController();
    const held = await ctl('lock l', {
      signal: interrupt.signal,
      onStdout: (text) => {
        if (text.startsWith('l/')) interrupt.abort();
      },
    });
    expect(held.code).toBe(0);
    expect(await said('get l/ --prefix')).toBe('');
  });

  it('elect -l sees who leads', async () => {
    const [leader, listener] = [new AbortController(), new AbortController()];
    const listening = ctl('elect -l e', {
      signal: AbortSignal.any([listener.signal, AbortSignal.timeout(20_000)]),
      onStdout: (text) => {
        if (text.includes('me')) listener.abort();
      },
    });
    let leads = (): void => {};
    const elected = new Promise<void>((resolve) => {
      leads = resolve;
    });
    const onStdout = (text: string) => {
      if (text.includes('me')) leads();
    };
    const leading = ctl('elect e me', { signal: leader.signal, onStdout });
    await elected;
    expect((await listening).stdout).toMatch(/^e\/[0-9a-f]+\nme\n/);
    leader.abort();
    expect((await leading).code).toBe(0);
  });

  it('check perf', { timeout: 60_000 }, async () => {
    const { stdout } = await ctl('check perf --duration 1');
    // Whether a busy machine passes is not for this test to say.
    expect(stdout).toMatch(
      /Throughput (?:is|too low:) \d+ writes\/s\n.*lowest request took.*\n.*Stddev.*\n(?:PASS|FAIL)\n$/,
    );
    expect(await said('get /etcdctl-check-perf/ --prefix')).toBe('');
    await said('put /etcdctl-check-perf/x 1');
    expect((await ctl('check perf')).code).toBe(3);
  });

  it('auth status, downgrade, alarm, member list as the server has them', async () => {
    const { stdout, stderr } = await ctl('auth status');
    if (_name === 'Roster') expect(stdout).toBe('Authentication Status: false\nAuthRevision: 1\n');
    else expect(stderr).toContain('hint: the server is older than this command');
    const { code } = await ctl('downgrade validate 3.1');
    expect(code).toBe(1);
    expect((await ctl('downgrade enable')).stderr).toBe('Error: TARGET_VERSION not provided\n');
    expect((await ctl('downgrade cancel')).code).toBe(_name === 'Roster' ? 0 : 1);
  });

  it('member list --hex', async () => {
    const list = await said('member list -w json --hex');
    expect(list).toMatch(
      /^\{"header":\{"cluster_id":"[0-9a-f]+","member_id":"[0-9a-f]+".*"members":\[\{"ID":"[0-9a-f]+"/,
    );
  });

  it('snapshot save', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'rosterctl-'));
    try {
      const file = join(folder, 'snap.db');
      expect(await said(`snapshot save ${file}`)).toContain(`Snapshot saved at ${file}\n`);
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      expect((await stat(file)).size % 512).toBe(32);
      expect((await ctl('snapshot save x --endpoints a,b')).code).toBe(128);
      expect((await ctl(`snapshot save ${folder}/no/where`)).stderr).toContain('could not open');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('on Roster alone', () => {
  it('check datascale', { timeout: 120_000 }, async () => {
    const store = await startRoster();
    try {
      const { stdout, code } = await ctlOf(() => store.endpoint)('check datascale --auto-compact --auto-defrag');
      expect(stdout).toMatch(
        /^Start data scale check for work load \[10000 key-value pairs, 1024 bytes per key-value, 50 concurrent clients\]\.\nCompacted with revision \d+\nDefragmented ".*"\nPASS: Approximate system memory used : -?[\d.]+ MB\.\n$/,
      );
      expect(code).toBe(0);
    } finally {
      await store.stop();
    }
  });

  it('get --stream; snapshot status, hashkv, restore and backup', { timeout: 60_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'rosterctl-'));
    const store = await startRoster();
    const ctl = ctlOf(() => store.endpoint);
    try {
      for (let i = 0; i < 5; i++) await ctl(`put /k${i} ${i}`);
      expect((await ctl('get /k --prefix --stream')).stdout).toBe((await ctl('get /k --prefix')).stdout);
      const streamed = (await ctl('get /k --prefix --stream -w json')).stdout;
      expect(streamed).toBe((await ctl('get /k --prefix -w json')).stdout);
      await ctl('del /k0');
      await ctl('compaction 5');
      const hash = /, (\d+), (\d+)\n/.exec((await ctl('endpoint hashkv')).stdout)!;
      const file = join(folder, 'snap.db');
      expect((await ctl(`snapshot save ${file}`)).code).toBe(0);
      const status = await ctl(`snapshot status ${file}`);
      expect(status.stdout).toMatch(/^[0-9a-f]+, 7, \d+, .*B, 3\.7\.0\n$/);
      expect((await ctl(`snapshot status ${file} -w table`)).stdout).toContain('| TOTAL KEYS |');
      expect(JSON.parse((await ctl(`snapshot status ${file} -w json`)).stdout)).toMatchObject({ revision: 7 });
      expect((await ctl(`hashkv ${file}`)).stdout).toBe(`${hash[1]}, ${hash[2]}, 5\n`);
      expect((await ctl(`hashkv ${file} --rev 4`)).stderr).toContain('required revision has been compacted');
      expect((await ctl(`hashkv ${file} --rev 400`)).code).toBe(1);
      const restored = await ctl(`snapshot restore ${file} --data-dir ${folder}/data --name a`);
      expect(restored.stdout).toContain('revision 7');
      expect((await ctl(`snapshot restore ${file} --data-dir ${folder}/data`)).stderr).toContain('not empty');
      expect((await ctl(`snapshot restore ${file} --data-dir ${folder}/other --bump-revision 5`)).code).toBe(128);
      await writeFile(`${file}.bad`, (await readFile(file)).fill(1, 100, 110));
      expect((await ctl(`snapshot status ${file}.bad`)).stderr).toContain('SHA-256');
      expect((await ctl(`defrag --data-dir ${folder}/data`)).stdout).toContain('Nothing to do');
      expect((await ctl('migrate --data-dir x')).stdout).toContain('Nothing to migrate');
      // The backup verb, of a directory that nobody uses, and of one that somebody does.
      const copied = await ctl(`backup --data-dir ${folder}/data --backup-dir ${folder}/copy`);
      expect([copied.code, copied.stdout]).toEqual([0, `backed up ${folder}/data to ${folder}/copy\n`]);
      expect(await readFile(join(folder, 'copy', 'roster.json'), 'utf8')).toBe(
        await readFile(join(folder, 'data', 'roster.json'), 'utf8'),
      );
      expect((await ctl(`backup --data-dir ${folder}/data --backup-dir ${folder}/copy`)).code).toBe(1);
      expect((await ctl(`backup --data-dir ${store.dataDir} --backup-dir ${folder}/copy2`)).stderr).toMatch(
        /process|use/,
      );
      expect((await ctl(`backup --data-dir ${folder} --backup-dir ${folder}/copy3`)).stderr).toContain(
        'no data directory',
      );
    } finally {
      await store.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('rosterctl tells of itself', () => {
  it('has help with a description for every verb of both generations', async () => {
    for (const [api, groups] of [
      ['3', [...version3, ...beyond]],
      ['2', version2],
    ] as const) {
      const all = await rosterctl(['--api', api, '--help']);
      expect(all.code).toBe(0);
      for (const name of namesOf(groups)) {
        expect(all.stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'));
        const help = await rosterctl(['--api', api, name, '--help']);
        expect([help.code, help.stdout]).toEqual([0, expect.stringContaining(`Usage: rosterctl ${name}`)]);
        expect((await rosterctl(['--api', api, 'help', name])).stdout).toBe(help.stdout);
      }
    }
  });

  it('lists the options of every command', async () => {
    const { stdout } = await rosterctl(['options']);
    for (const flag of ['--endpoints', '--write-out', '--command-timeout', '--user', '--discovery-srv', '--cacert']) {
      expect(stdout).toContain(flag);
    }
  });

  it('completes in bash', async () => {
    const { stdout } = await rosterctl(['completion', 'bash']);
    const folder = await mkdtemp(join(tmpdir(), 'rosterctl-'));
    try {
      const script = join(folder, 'complete.sh');
      const probe = (words: string, count: number) =>
        `COMP_WORDS=(${words}); COMP_CWORD=${count}; _rosterctl; echo "\${COMPREPLY[*]}"\n`;
      await writeFile(
        script,
        stdout +
          probe('rosterctl le', 1) +
          probe('rosterctl lease g', 2) +
          probe('rosterctl get --child', 2) +
          probe("rosterctl -w json member '' ", 4),
      );
      const lines = execFileSync('bash', [script], { encoding: 'utf8' }).split('\n');
      expect(lines.slice(0, 3)).toEqual(['lease', 'grant', '--children']);
      expect(lines[3]).toContain('promote');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('has scripts for zsh and fish with every verb, and none for others', async () => {
    for (const shell of ['zsh', 'fish']) {
      const { stdout, code } = await rosterctl(['completion', shell]);
      expect(code).toBe(0);
      for (const name of namesOf([...version3, ...beyond, ...version2])) expect(stdout).toContain(name);
    }
    expect((await rosterctl(['completion', 'tcsh'])).code).toBe(128);
    expect((await rosterctl(['completion'])).code).toBe(128);
  });
});
