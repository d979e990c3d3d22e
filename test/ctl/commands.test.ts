import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { goDuration, parseGoDuration, parseInteger } from '../../ctl/go-text.ts';
import { hexId, humanBytes } from '../../ctl/output/text.ts';
import { freePort } from '../support/ports.ts';
import { type RunningRoster, startRoster } from '../support/roster.ts';
import { rosterctl } from './run-ctl.ts';

describe('how things are spelt', () => {
  it.each([
    [0, '0 B'],
    [9, '9 B'],
    [10, '10 B'],
    [999, '999 B'],
    [1_000, '1.0 kB'],
    [20_480, '20 kB'],
    [21_500, '22 kB'],
    [999_960, '1000 kB'],
    [1_550_000, '1.6 MB'],
    [2 ** 31, '2.1 GB'],
    [2 ** 53, '9.0 PB'],
  ])('%d octets: %s', (bytes, text) => expect(humanBytes(bytes)).toBe(text));

  it.each([
    [0.0005, '0.5µs'],
    [0.25, '250µs'],
    [1.5, '1.5ms'],
    [2_000, '2s'],
    [61_500, '1m1.5s'],
    [3_600_000, '1h0m0s'],
  ])('%d ms: %s', (ms, text) => expect(goDuration(ms)).toBe(text));

  it.each([
    ['5s', 5_000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['500ms', 500],
    ['0', 0],
    ['5', undefined],
    ['', undefined],
    ['s', undefined],
    ['-1s', undefined],
  ])('the duration %j', (text, ms) => expect(parseGoDuration(text)).toBe(ms));

  it('reads integers as Go does, in 64 bits', () => {
    expect(parseInteger('-9223372036854775808')).toBe(-(2n ** 63n));
    expect(parseInteger('9223372036854775808')).toEqual({
      complaint: 'strconv.ParseInt: parsing "9223372036854775808": value out of range',
    });
    expect(parseInteger('7fffffffffffffff', 16)).toBe(2n ** 63n - 1n);
    expect(parseInteger('0x1', 16)).toHaveProperty('complaint');
    expect(hexId(0xabcn)).toBe('0000000000000abc');
    expect(hexId(-1n)).toBe('ffffffffffffffff');
  });
});

describe('a command line that asks for nothing sensible', () => {
  it.each([
    ['put --nope a b', 1, 'unknown flag: --nope'],
    ['--nope', 1, 'unknown flag: --nope'],
    ['nope', 1, 'unknown command "nope" for "rosterctl"'],
    ['--api 2 nope', 3, 'unknown command "nope" for "rosterctl"'],
    ['--api 4 get a', 1, 'there is no API "4"'],
    ['get a --limit', 1, 'flag needs an argument: --limit'],
    ['get a --limit=x', 1, 'invalid argument "x" for "--limit" flag'],
    ['get a --prefix=perhaps', 1, 'invalid argument "perhaps" for "--prefix" flag'],
    ['get a --count-only', 128, '--count-only is only for'],
    ['get a --keys-only --count-only', 128, 'cannot be set at the same time'],
    ['get a --command-timeout=5', 1, 'missing unit in duration "5"'],
    ['get a --command-timeout=x', 1, 'invalid duration "x"'],
    ['get a -w yaml', 4, 'unsupported output format'],
    ['put a b --ttl 5 --lease 12', 128, 'cannot be set at the same time'],
    ['get a --endpoints=http://[::1', 1, 'neither host:port nor an http(s):// URL'],
    ['get a --endpoints=ftp://x', 1, 'neither host:port nor an http(s):// URL'],
    ['get a --cert=/nonexistent', 1, 'cannot read --cert'],
    ['watch a b --prefix', 128, 'mutually exclusive'],
    ['watch a b c', 128, 'bad number of arguments'],
  ])('%s', async (line, code, text) => {
    const outcome = await rosterctl(line.split(' '));
    expect(outcome.stderr).toContain(text);
    expect(outcome.stderr).toMatch(/^Error: /);
    expect([outcome.code, outcome.stdout]).toEqual([code, '']);
  });

  it('gets help', async () => {
    const help = await rosterctl(['put', '--help']);
    expect(help.stdout).toContain('rosterctl put [options] <key> <value>');
    expect(help.code).toBe(0);
    for (const group of [[], ['lease'], ['endpoint'], ['member']]) {
      const outcome = await rosterctl(group);
      expect(outcome.code).toBe(0);
      expect(outcome.stdout + outcome.stderr).toContain('Usage: rosterctl');
    }
  });
});

it('tells its version', async () => {
  const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
  const outcome = await rosterctl(['version']);
  expect(outcome).toEqual({ code: 0, stdout: `rosterctl version: ${version}\nAPI version: 3.7\n`, stderr: '' });
});

describe('rosterctl on a store', () => {
  let store: RunningRoster;
  beforeAll(async () => {
    store = await startRoster();
  });
  afterAll(() => store?.stop());
  const ctl = (line: string, options: Parameters<typeof rosterctl>[1] = {}) =>
    rosterctl(line.split(' '), { ...options, env: { ETCDCTL_ENDPOINTS: store.endpoint, ...options.env } });

  /** Runs a watch until `enough` of its output is there, then interrupts it. */
  async function watched(line: string, enough: (text: string) => boolean, env?: Record<string, string>) {
    const interrupt = new AbortController();
    return ctl(line, {
      signal: interrupt.signal,
      ...(env && { env }),
      onStdout: (text) => {
        if (enough(text)) interrupt.abort();
      },
    });
  }

  it('watches: events, earlier pairs, prefixes', async () => {
    await ctl('put w/a 1');
    await ctl('put w/a 2');
    await ctl('put w/b 3');
    await ctl('del w/a');
    const outcome = await watched('watch w/ --prefix --rev=2 --prev-kv', (text) =>
      text.endsWith('DELETE\nw/a\n2\nw/a\n\n'),
    );
    expect(outcome.stdout).toBe('PUT\nw/a\n1\nPUT\nw/a\n1\nw/a\n2\nPUT\nw/b\n3\nDELETE\nw/a\n2\nw/a\n\n');
    expect(outcome.code).toBe(5);
    const named = await watched('watch --rev=2', (text) => text.endsWith('3\n'), {
      ETCDCTL_WATCH_KEY: 'w/b',
      ETCDCTL_WATCH_RANGE_END: 'w/c',
    });
    expect(named.stdout).toBe('PUT\nw/b\n3\n');
  });

  it('runs a command for each event, in order', async () => {
    await ctl('put x/a one');
    await ctl('del x/a');
    const folder = await mkdtemp(join(tmpdir(), 'rosterctl-'));
    try {
      const file = join(folder, 'show.sh');
      await writeFile(file, 'echo "$ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $1"');
      const outcome = await watched(`watch x/a --rev=1 -- /bin/sh ${file} arg`, (text) => text.includes('"DELETE"'));
      expect(outcome.stdout).toBe('PUT\nx/a\none\nDELETE\nx/a\n\n"PUT" "x/a" "one" arg\n"DELETE" "x/a" "" arg\n');
      const failing = await ctl('watch x/a --rev=1 -- /bin/false');
      expect([failing.code, failing.stderr]).toEqual([1, 'command ["/bin/false"] error (exit status 1)\n']);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('keeps a lease alive until it is gone', async () => {
    const { stdout } = await ctl('lease grant 2');
    const id = /lease (\w+) granted with TTL\(2s\)/.exec(stdout)![1]!;
    let revoked = false;
    const outcome = await ctl(`lease keep-alive ${id}`, {
      onStdout: (text) => {
        if (text.split('\n').length < 3 || revoked) return;
        revoked = true;
        void ctl(`lease revoke ${id}`);
      },
    });
    expect(outcome.stdout).toMatch(
      new RegExp(`^(lease ${id} keepalived with TTL\\(2\\)\n){2,}lease ${id} expired or revoked.\n$`),
    );
    expect(outcome.code).toBe(0);
  });

  it('filters by revision', async () => {
    await ctl('put f/a 1');
    const second = await ctl('get f/ --prefix --min-mod-rev=1000000');
    expect(second).toEqual({ code: 0, stdout: '', stderr: '' });
    expect((await ctl('get f/ --prefix --max-create-rev=1000000')).stdout).toBe('f/a\n1\n');
  });

  it('asks every endpoint, and one that is down does not hide the others', async () => {
    const dead = `127.0.0.1:${await freePort()}`;
    const flags = `--endpoints=${store.endpoint},${dead} --dial-timeout=200ms`;
    const status = await ctl(`endpoint status ${flags}`);
    expect(status.stdout).toMatch(
      new RegExp(
        `^${store.endpoint}, [0-9a-f]+, 3[.0-9]+, [.0-9]*, \\d.*B, \\d.*B, \\d+%, .*B, true, false, \\d+, \\d+, \\d+, , , false\n$`,
      ),
    );
    expect(status.stderr).toContain(`Failed to get the status of endpoint ${dead} (${dead}: connect ECONNREFUSED`);
    expect(status.code).toBe(1);
    const health = await ctl(`endpoint health ${flags}`);
    expect(health.stdout).toMatch(new RegExp(`^${store.endpoint} is healthy: .* took = [\\d.]+(µs|ms|s)\n$`));
    expect(health.stderr).toContain(`${dead} is unhealthy: failed to commit proposal: ${dead}: connect ECONNREFUSED`);
    expect(health.stderr).toMatch(/Error: unhealthy cluster\n$/);
    expect(health.code).toBe(1);
  });

  it('takes global flags before and after the command, and from the environment', async () => {
    await ctl('put g/a 1');
    const { stdout } = await rosterctl(['--endpoints', store.endpoint, '--hex', 'get', 'g/a']);
    expect(stdout).toBe('\\x67\\x2f\\x61\n\\x31\n');
    expect((await ctl('get g/a', { env: { ETCDCTL_HEX: 'true' } })).stdout).toBe(stdout);
    expect((await ctl('get g/a --hex=false', { env: { ETCDCTL_HEX: 'false' } })).stdout).toBe('g/a\n1\n');
  });

  it('asks for the lists of a transaction, and takes quoted keys', async () => {
    const stdin = 'value("\\x74/\\u00e9") = `x`\n\n\nput "t/a b" \'c d\'\nget --prefix=true t/\n\n';
    const outcome = await ctl('txn -i', { stdin });
    expect(outcome.stdout).toBe(
      'compares:\nsuccess requests (get, put, del):\nfailure requests (get, put, del):\nFAILURE\n\nOK\n\nt/a b\nc d\n',
    );
    expect(
      (await ctl('txn', { stdin: 'mod("t/a b") != "0"\nlease("t/a b") = "0"\n\ndel t/ --prefix\n\n\n' })).stdout,
    ).toBe('SUCCESS\n\n1\n');
    for (const bad of [
      'mod(a) > "0"',
      'mod("a) > "0"',
      'mod("a") ~ "0"',
      'val("a") = x',
      'lease("a") = "zz"',
      'mod "a"',
    ]) {
      const refused = await ctl('txn', { stdin: `${bad}\n\n\n\n` });
      expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining(bad)]);
    }
    for (const bad of ['put a', 'get', 'frob a', 'put a b --nope']) {
      expect((await ctl('txn', { stdin: `\n${bad}\n\n\n` })).code).toBe(3);
    }
  });

  it('watches what it is told, line by line', async () => {
    await ctl('put i/a 1');
    const stdin =
      'nonsense\n\nwatch\nwatch i/a --rev=1\nwatch "i/b" --rev=1 -- sh -c "echo ran $ETCD_WATCH_KEY"\nprogress\n';
    const interrupt = new AbortController();
    const outcome = await ctl('watch --interactive', {
      stdin,
      stdinOpen: true,
      signal: AbortSignal.any([interrupt.signal, AbortSignal.timeout(20_000)]),
      onStdout: (text) => {
        if (text.includes('i/a') && !text.includes('i/b')) void ctl('put i/b 1');
        if (text.includes('ran')) interrupt.abort();
      },
    });
    expect(outcome.stdout).toContain('PUT\ni/a\n1\n');
    expect(outcome.stdout).toContain('PUT\ni/b\n1\n');
    expect(outcome.stdout).toContain('ran "i/b"\n');
    expect(outcome.stderr).toContain('Invalid command nonsense (only support watch)');
    expect(outcome.stderr).toContain('Invalid command:  (watch and progress supported)');
    expect(outcome.stderr).toContain('Invalid command watch (command type or key is not provided)');
    const ended = await ctl('watch -i', { stdin: 'watch i/z\n' });
    expect([ended.code, ended.stderr]).toEqual([3, 'Error: error reading watch request line: EOF\n']);
    const wrong = await ctl('watch -i', { stdin: 'watch i/z --\n', stdinOpen: true });
    expect(wrong.code).toBe(128);
  });

  it('tells how far a watch is when asked', async () => {
    const interrupt = new AbortController();
    const outcome = await ctl('watch -i', {
      stdin: 'watch p/none\n',
      stdinOpen: true,
      signal: AbortSignal.any([interrupt.signal, AbortSignal.timeout(20_000)]),
      keepTyping: 'progress\n',
      onStdout: (text) => {
        if (text.includes('progress notify')) interrupt.abort();
      },
    });
    expect(outcome.stdout).toMatch(/^progress notify: \d+\n/);
  });

  it('takes every variable that a flag has', async () => {
    await ctl('put e/a 1');
    const env = { ETCDCTL_WRITE_OUT: 'fields', ETCDCTL_COMMAND_TIMEOUT: '10s', ETCDCTL_INSECURE_TRANSPORT: 'true' };
    expect((await ctl('get e/a', { env })).stdout).toContain('"Key" : "e/a"');
    expect((await ctl('get e/a -w simple', { env })).stdout).toBe('e/a\n1\n');
    expect((await ctl('get e/a', { env: { ETCDCTL_HEX: 'perhaps' } })).code).toBe(1);
    expect(
      (await ctl('get e/a', { env: { ETCDCTL_INSECURE_TRANSPORT: 'false', ETCDCTL_DIAL_TIMEOUT: '300ms' } })).stderr,
    ).toMatch(/hint: check --cacert/);
    expect((await ctl('--debug get e/a')).stderr).toBe(`endpoints: ${store.endpoint}\n`);
    expect((await ctl('get e/a --max-request-bytes=x')).code).toBe(1);
  });

  it('prints protobuf as it is on the wire', async () => {
    await ctl('put pb/a 1');
    const { stdout } = await ctl('get pb/a -w protobuf');
    expect(stdout).toContain('pb/a');
    expect((await ctl('endpoint status -w protobuf')).stderr).toBe('Error: protobuf not supported as output format\n');
    expect((await ctl('watch pb/a --rev 1 -w table')).code).toBe(4);
  });

  it('warns before it deletes a range, and gives two seconds to think it over', async () => {
    for (const key of ['v/a', 'v/b', 'v/c']) await ctl(`put ${key} 1`);
    const interrupt = new AbortController();
    const stopped = await ctl('del v/a v/c', { signal: interrupt.signal, onStderr: () => interrupt.abort() });
    expect(stopped.stderr).toMatch(/^Warning: Keys between "v\/a" and "v\/c" will be deleted\. Please interrupt/);
    expect([stopped.code, stopped.stdout]).toEqual([5, '']);
    expect((await ctl('del v/a v/c --range')).stdout).toBe('2\n');
    expect(await ctl('del v/c v/d')).toMatchObject({ code: 0, stdout: '1\n' });
  });
});
