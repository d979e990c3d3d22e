import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { entriesOf } from '../../ctl/v2/snapshot-04.ts';
import { type RunningEtcd, startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { type RunOptions, rosterctl } from './run-ctl.ts';

/** The v2 verbs that do not end, those that need files, and how the flags are read. */

const etcd = findPeer('etcd');

describe.skipIf(etcd === undefined)('v2 verbs on etcd --enable-v2', () => {
  let store: RunningEtcd;
  const ctl = (line: string | string[], options: RunOptions = {}) =>
    rosterctl(typeof line === 'string' ? line.split(' ') : line, {
      ...options,
      env: { ETCDCTL_ENDPOINTS: `http://${store.endpoint}`, ...options.env },
    });
  beforeAll(async () => {
    store = await startEtcd(etcd, ['--enable-v2']);
  });
  afterAll(() => store?.stop());
  const indexOf = async (line: string) => Number(/Modified-Index: (\d+)/.exec((await ctl(line)).stdout)![1]);
  const until = (enough: (text: string) => boolean) => {
    const interrupt = new AbortController();
    return {
      signal: AbortSignal.any([interrupt.signal, AbortSignal.timeout(20_000)]),
      onStdout: (text: string) => {
        if (enough(text)) interrupt.abort();
      },
    };
  };

  it('chooses the generation by --api, by the environment, by the name', async () => {
    expect((await ctl('set /g/a 1')).stdout).toBe('1\n');
    expect((await ctl('--api 2 get /g/a')).stdout).toBe('1\n');
    expect((await ctl('get --api=2 /g/a')).stdout).toBe('1\n');
    expect((await ctl('get /g/a', { env: { ETCDCTL_API: '2' } })).stdout).toBe('1\n');
    expect((await ctl('--api 3 get /g/a', { env: { ETCDCTL_API: '2' } })).stdout).toBe('');
    expect((await ctl('put /g/v3 1', { env: { ETCDCTL_API: '2' } })).stdout).toBe('OK\n');
    expect((await ctl('cluster-h')).stdout).toContain('cluster is healthy');
  });

  it('watches from an index on, one change or all', async () => {
    const index = await indexOf('-o extended set /w/a 1');
    await ctl('set /w/a 2');
    await ctl('mkdir /w/dir');
    await ctl('rm /w/a');
    const env = { ETCDCTL_API: '2' };
    expect((await ctl(`watch /w/a --after-index ${index - 1}`, { env })).stdout).toBe('1\n');
    const all = await ctl(`watch /w -r -f --after-index ${index}`, {
      env,
      ...until((text) => text.includes('delete')),
    });
    expect(all.stdout).toBe('[set] /w/a\n2\n[delete] /w/a\nPrevNode.Value: 2\n');
    expect(all.code).toBe(0);
  });

  it('runs a command for each change', async () => {
    const index = await indexOf('-o extended set /x/a one');
    await ctl('set /x/b two');
    const script = 'echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $((ETCD_WATCH_MODIFIED_INDEX))';
    const line = ['exec-watch', '/x', '-r', '--after-index', String(index - 1), '--', 'sh', '-c', script];
    const outcome = await ctl(
      line,
      until((text) => text.includes('two')),
    );
    expect(outcome.stdout).toBe(`set /x/a one ${index}\nset /x/b two ${index + 1}\n`);
    expect((await ctl('exec-watch /x')).stderr).toBe('Error:  key and command to exec required\n');
  });

  it('says where to go on when an index is too old', { timeout: 60_000 }, async () => {
    const writes = Array.from({ length: 1_010 }, (_, i) => i);
    while (writes.length > 0) {
      const some = writes.splice(0, 50);
      await Promise.all(some.map((i) => fetch(`http://${store.endpoint}/v2/keys/many?value=${i}`, { method: 'PUT' })));
    }
    const outcome = await ctl('watch /many --after-index 1', { env: { ETCDCTL_API: '2' } });
    expect(outcome.code).toBe(4);
    expect(outcome.stderr).toMatch(
      /^Error: {2}401: The event in requested index is outdated and cleared.*\nhint: .* --after-index \d+\n$/,
    );
  });

  it('shows requests as cURL commands', async () => {
    const { stderr } = await ctl('--debug set /curl 1 --ttl 100');
    expect(stderr).toContain(`cURL Command: curl -X GET http://${store.endpoint}/v2/members`);
    expect(stderr).toContain(`cURL Command: curl -X PUT http://${store.endpoint}/v2/keys/curl -d "value=1&ttl=100"`);
    expect((await ctl('--debug --no-sync set /curl 1')).stderr).not.toContain('v2/members');
    expect((await ctl('-o yaml ls')).stderr).toContain('there is no output format "yaml"');
    expect((await ctl('--timeout 5 ls')).stderr).toContain('there is no duration "5"');
    expect((await ctl('set /a 1 --ttl x')).code).toBe(1);
  });

  it('goes on to the next endpoint', async () => {
    const list = `127.0.0.1:1,${store.endpoint}`;
    expect((await ctl(`--endpoints ${list} set /next 1`)).stdout).toBe('1\n');
    expect((await ctl(`-C ${list} ls /next`)).stdout).toBe('/next\n');
    expect((await ctl('ls /next', { env: { ETCDCTL_ENDPOINTS: '', ETCDCTL_PEERS: list } })).stdout).toBe('/next\n');
  });

  it('imports a snapshot of etcd 0.4', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'rosterctl-'));
    try {
      const file = join(folder, 'snap.json');
      await writeFile(file, JSON.stringify(tree));
      const { stdout, code } = await ctl(`import --snap ${file} -c 3 --hidden /_etcd`);
      expect([code, stdout]).toEqual([
        0,
        `starting to import snapshot ${file} with 3 clients\nfinished importing 4 keys\n`,
      ]);
      expect((await ctl('ls / -r --sort')).stdout).toContain('/old/a\n/old/leased\n/old/sub\n/old/sub/b\n');
      expect((await ctl('--api 2 -o extended get /old/leased')).stdout).toMatch(/TTL: (?:300|29\d)\n/);
      expect((await ctl('ls /_etcd')).stdout).toBe('/_etcd/config\n');
      await writeFile(file, 'nonsense');
      expect((await ctl(`import --snap ${file}`)).stderr).toContain('is no snapshot of etcd 0.4');
      expect((await ctl(`import --snap ${folder}/none`)).stderr).toBe(`cannot read snapshot file ${folder}/none\n`);
      expect((await ctl(`import --snap ${file} -c 101`)).code).toBe(1);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('checks the health of a cluster with a member that is gone', async () => {
    const lonely = await startEtcd(etcd, ['--enable-v2']);
    try {
      const env = { ETCDCTL_ENDPOINTS: `http://${lonely.endpoint}` };
      await rosterctl('member add gone http://127.0.0.1:1'.split(' '), { env: { ...env, ETCDCTL_API: '2' } });
      const health = await rosterctl(['cluster-health'], { env });
      expect(health.code).toBe(5);
      expect(health.stdout).toMatch(/^member [0-9a-f]+ is unreachable: no available published client urls$/m);
      expect(health.stdout).toMatch(/^cluster is (?:degraded|unavailable)$/m);
    } finally {
      await lonely.stop();
    }
  });
});

describe('a server without the v2 API', () => {
  it('is told by name', async () => {
    const server = createServer((_request, response) => response.writeHead(404).end('404 page not found'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const { code, stderr } = await rosterctl(['--endpoints', url, '--no-sync', 'ls']);
      expect([code, stderr]).toEqual([
        4,
        'Error:  the answer is no JSON (HTTP 404)\nhint: does this server have the v2 API? etcd: --enable-v2\n',
      ]);
    } finally {
      server.close();
    }
  });
});

it('sends a write to no second server once the first may have done it', async () => {
  const seen: string[] = [];
  const listen = async (answer: (response: ServerResponse) => void) => {
    const server = createServer((request, response) => {
      seen.push(`${request.method} ${request.url}`);
      answer(response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  };
  const first = await listen((response) => response.destroy());
  const second = await listen((response) => response.end('{"action":"create","node":{"key":"/q/1","value":"x"}}'));
  try {
    const run = (line: string) =>
      rosterctl(`--no-sync --endpoints ${first.url},${second.url} ${line}`.split(' '), { env: { ETCDCTL_API: '2' } });
    const write = await run('mk --in-order /q x');
    expect([write.code, write.stderr]).toEqual([
      2,
      expect.stringMatching(/^Error: {2}the answer is missing: .*\nhint: it may have been done all the same/),
    ]);
    expect(seen).toEqual(['POST /v2/keys/q']);
    expect((await run('get /q/1')).stdout).toBe('x\n');
    expect(seen).toHaveLength(3);
  } finally {
    first.server.close();
    second.server.close();
  }
});

const never = '0001-01-01T00:00:00Z';
const leaf = (path: string, value: string, expires = never) => ({
  Path: path,
  Value: value,
  ExpireTime: expires,
  Children: null,
});
const folderOf = (path: string, ...children: { Path: string }[]) => ({
  Path: path,
  ExpireTime: never,
  Children: Object.fromEntries(children.map((child) => [child.Path.split('/').at(-1)!, child])),
});
const tree = {
  Root: folderOf(
    '/',
    folderOf(
      '/old',
      leaf('/old/a', '1'),
      leaf('/old/gone', 'x', '2013-01-01T00:00:00Z'),
      leaf('/old/leased', 'y', new Date(Date.now() + 250_000).toISOString()),
      folderOf('/old/sub', leaf('/old/sub/b', '2')),
      folderOf('/old/empty'),
    ),
    folderOf('/_etcd', leaf('/_etcd/config', 'c')),
  ),
};

describe('snapshots of etcd 0.4', () => {
  it('are read in both forms', () => {
    const inner = JSON.stringify(tree);
    const keys = (text: string) => entriesOf(text, [], Date.now())?.map(({ key }) => key);
    expect(keys(inner)).toEqual(['/old/a', '/old/leased', '/old/sub/b']);
    const file = `0000abcd\n${JSON.stringify({ lastIndex: 7, state: Buffer.from(inner).toString('base64') })}`;
    expect(keys(file)).toEqual(keys(inner));
    for (const text of ['', '{}', '{"state":"e30="}', '{"Root":{"Value":"x"}}', '{"state":[1,2]}'])
      expect(keys(text)).toBeUndefined();
  });
});
