import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { environmentName, UsageError } from '../../server/config/flag-table.ts';
import { ignoredFlags } from '../../server/config/ignored-flags.ts';
import { olderFlags, refusedFlags } from '../../server/config/older-flags.ts';
import { readServeConfiguration, serveFlags } from '../../server/config/serve-flags.ts';
import { serveHelp } from '../../server/config/serve-help.ts';

const folder = mkdtempSync(join(tmpdir(), 'roster-config-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function file(content: string): string {
  const path = join(folder, `file-${++files}`);
  writeFileSync(path, content);
  return path;
}

const read = (args: string[], environment: Record<string, string> = {}) => readServeConfiguration(args, environment);
const withFile = (content: string, args: string[] = [], environment: Record<string, string> = {}) =>
  read(['--config-file', file(content), ...args], environment);

describe('where values come from', () => {
  it('prefers flags, then the environment, then the environment file', () => {
    const path = file('ETCD_NAME="file"\nETCD_MAX_TXN_OPS=7\nETCD_HEARTBEAT_INTERVAL=50\nGOMAXPROCS=4\n');
    const { flags, origins, warnings } = read(['--name', 'flag', '--env-file', path], {
      ETCD_NAME: 'variable',
      ETCD_MAX_TXN_OPS: '8',
    });
    expect(flags).toMatchObject({ name: 'flag', 'max-txn-ops': 8, 'heartbeat-interval': 50 });
    expect(Object.fromEntries(origins)).toEqual({
      name: 'flag --name',
      'max-txn-ops': 'environment variable ETCD_MAX_TXN_OPS',
      'heartbeat-interval': `ETCD_HEARTBEAT_INTERVAL (${path}:3)`,
    });
    expect(warnings).toEqual([]);
  });

  it('lets a config file replace all flags and variables, and says so', () => {
    const path = file('name: a\nmax-txn-ops: 9\n');
    const { flags, warnings } = read(['--name', 'flag', `--config-file=${path}`], { ETCD_MAX_LEARNERS: '3' });
    expect(flags).toMatchObject({ name: 'a', 'max-txn-ops': 9, 'max-learners': 1, 'data-dir': 'a.etcd' });
    expect(warnings).toEqual([
      `the config file ${path} replaces all flags and variables; ignored: --name, ETCD_MAX_LEARNERS`,
    ]);
    expect(read([], { ETCD_CONFIG_FILE: path }).flags.name).toBe('a');
    expect(() => read(['--nmae', 'x', '--config-file', path]), 'unknown flags are refused all the same').toThrow(
      'did you mean --name?',
    );
  });

  it('warns of variables nobody knows, wherever they stand', () => {
    const path = file('ETCD_NMAE=x\n');
    expect(read(['--env-file', path], { ETCD_QUOTA_BACKEND_BYTE: '1', OTHER: '1' }).warnings).toEqual([
      `unrecognized ${path}:1: ETCD_NMAE: did you mean ETCD_NAME?`,
      'unrecognized environment variable ETCD_QUOTA_BACKEND_BYTE: did you mean ETCD_QUOTA_BACKEND_BYTES?',
    ]);
  });

  it.each(['config-file', 'env-file'])('names a --%s that cannot be read', (name) => {
    expect(() => read([`--${name}`, join(folder, 'none')])).toThrow(UsageError);
    expect(() => read([`--${name}`, join(folder, 'none')])).toThrow(`--${name}: ENOENT`);
  });
});

describe('the config file', () => {
  it("takes etcd's sample, sections and lists", () => {
    const { flags, ignored, warnings } = withFile(`
# This is the configuration file for the etcd server.
name: 'default'
data-dir:
snapshot-count: 10000
heartbeat-interval: 100
election-timeout: 1000
quota-backend-bytes: 0
listen-peer-urls: http://localhost:2380
listen-client-urls: http://localhost:2379
max-snapshots: 5
max-wals: 5
cors:
initial-advertise-peer-urls: http://localhost:2380
advertise-client-urls: http://localhost:2379
discovery:
discovery-fallback: 'exit'
discovery-proxy:
discovery-srv:
initial-cluster:
initial-cluster-token: 'etcd-cluster'
initial-cluster-state: 'new'
strict-reconfig-check: false
enable-pprof: true
proxy: 'off'
proxy-failure-wait: 5000
proxy-refresh-interval: 30000
proxy-dial-timeout: 1000
proxy-write-timeout: 5000
proxy-read-timeout: 0
client-transport-security:
  cert-file:
  key-file:
  client-cert-auth: false
  trusted-ca-file:
peer-transport-security:
  cert-file: p.pem
  key-file: p.key
  client-cert-auth: true
  trusted-ca-file: ca.pem
  allowed-cn: [a, b]
log-level: debug
logger: zap
log-outputs: [stderr]
force-new-cluster: false
auto-compaction-mode: periodic
auto-compaction-retention: "1"
socket-options: {reuse-port: true}
`);
    expect(flags).toMatchObject({
      name: 'default',
      'data-dir': 'default.etcd',
      'strict-reconfig-check': false,
      'cert-file': '',
      'peer-cert-file': 'p.pem',
      'peer-client-cert-auth': true,
      'peer-cert-allowed-cn': ['a', 'b'],
      'log-outputs': ['stderr'],
      'auto-compaction-retention': '1',
    });
    expect(ignored).toContain('socket-reuse-port');
    expect(ignored).toContain('max-wals');
    expect(warnings).toEqual([]);
  });

  it('takes durations as nanoseconds, as etcd does, and as text', () => {
    const interval = (value: string) =>
      withFile(`grpc-keepalive-min-time: ${value}\n`).flags['grpc-keepalive-min-time'];
    expect(interval('5000000000')).toBe(5000);
    expect(interval('7s')).toBe(7000);
    expect(interval('0')).toBe(0);
  });

  it('takes JSON, and a file with nothing in it', () => {
    expect(withFile('{"name": "j", "listen-metrics-urls": ["http://a:1", "http://b:2"]}').flags).toMatchObject({
      name: 'j',
      'listen-metrics-urls': ['http://a:1', 'http://b:2'],
    });
    expect(withFile('# nothing\n').flags.name).toBe('default');
  });

  it.each([
    ['name: a\nnmae: b\n', ':2: unknown key "nmae": did you mean "name"?'],
    ['quite-unlike-anything: b\n', ':1: unknown key "quite-unlike-anything"'],
    [
      'peer-transport-security:\n  cert-fiel: x\n',
      ':2: unknown key "cert-fiel" in "peer-transport-security": did you mean "cert-file"?',
    ],
    ['peer-transport-security: x\n', ':1: "peer-transport-security" must have keys below it'],
    ['name: {a: b}\n', 'must be a plain value or a list'],
    ['- a\n', 'must be keys and values'],
    ['name: "a\n', ':2: Missing closing "quote'],
    ['name: a\nname: b\n', ':2: Map keys must be unique'],
    ['max-txn-ops: many\n', 'invalid value "many" for key "max-txn-ops" ('],
    ['__proto__: x\n', 'unknown key "__proto__"'],
    ['discovery: http://x\n', 'is not supported: the v2 discovery service is gone'],
  ])('%j is refused with the place', (content, message) => {
    expect(() => withFile(content)).toThrow(UsageError);
    expect(() => withFile(content)).toThrow(message);
  });
});

describe('names of other versions', () => {
  it.each([
    [['--debug'], { 'log-level': 'debug' }],
    [['--debug=false'], { 'log-level': 'info' }],
    [['--log-output', 'stdout'], { 'log-outputs': ['stdout'] }],
    [['--logger=capnslog'], { 'log-format': 'console' }],
    [['--logger=capnslog', '--log-format=json'], { 'log-format': 'json' }],
    [['--experimental-max-learners=4'], { 'max-learners': 4 }],
    [['--experimental-corrupt-check-time', '1h'], { 'corrupt-check-time': 3_600_000 }],
    [['--experimental-snapshot-catchup-entries=9'], { 'snapshot-catchup-entries': 9 }],
    [['--experimental-initial-corrupt-check'], { 'experimental-initial-corrupt-check': true }],
    [['--feature-gates=InitialCorruptCheck=true'], { 'experimental-initial-corrupt-check': true }],
    [['--feature-gates=AllAlpha=true'], { 'experimental-initial-corrupt-check': true }],
    [['--feature-gates=AllAlpha=true,InitialCorruptCheck=false'], { 'experimental-initial-corrupt-check': false }],
    [
      ['--addr', 'h:1', '--bind-addr=h:2'],
      { 'advertise-client-urls': ['http://h:1'], 'listen-client-urls': ['http://h:2'] },
    ],
    [['--ca-file=ca.pem'], { 'trusted-ca-file': 'ca.pem', 'client-cert-auth': true }],
  ])('%j is today %j', (args, expected) => {
    expect(read(args).flags).toMatchObject(expected);
  });

  it('says which older names were used, and where values come from all the same', () => {
    const { older, origins } = read(['--debug'], { ETCD_EXPERIMENTAL_MAX_LEARNERS: '2' });
    expect(older).toEqual(['ETCD_EXPERIMENTAL_MAX_LEARNERS (now --max-learners)', '--debug (now --log-level debug)']);
    expect(origins.get('max-learners')).toBe('environment variable ETCD_EXPERIMENTAL_MAX_LEARNERS');
    expect(read([], { ETCD_EXPERIMENTAL_MAX_LEARNERS: '2', ETCD_MAX_LEARNERS: '3' }).flags['max-learners']).toBe(3);
  });

  it('names what is accepted and does nothing, once', () => {
    const args = ['--max-wals=3', '--max-wals=4', '--enable-v2v3=x', '-vv', '--snapshot-count=5'];
    const gates = ['--feature-gates', 'LeaseCheckpoint=true,CompactHashCheck=false'];
    expect(read([...args, ...gates], { ETCD_UNSAFE_NO_FSYNC: 'true' }).ignored).toEqual([
      '--snapshot-count',
      'ETCD_UNSAFE_NO_FSYNC',
      '--max-wals',
      '--enable-v2v3',
      '--vv',
      '--feature-gates LeaseCheckpoint',
    ]);
    expect(read([]).ignored).toEqual([]);
  });

  it.each([
    [['--max-wals=x'], 'invalid value "x" for flag --max-wals'],
    [['--proxy=on'], 'invalid value "on" for flag --proxy: must be off'],
    [['--discovery', 'http://x'], 'flag --discovery is not supported: the v2 discovery service is gone'],
    [
      ['--discovery-srv', 'example.org', '--initial-cluster', 'default=http://a:1'],
      'multiple discovery or bootstrap flags are set',
    ],
    [['--discovery-token', 'x'], '--discovery-endpoints and --discovery-token must be given together'],
    [['--discovery-token', 'a/b', '--discovery-endpoints', 'h:1'], '--discovery-token must have no slash'],
    [['--discovery-srv-name', 'x'], '--discovery-srv-name needs --discovery-srv'],
    [['--discovery-cert', 'x'], '--discovery-cert and --discovery-key must be given together'],
    [['--peers=a:1'], 'flag --peers is not supported: use --initial-cluster'],
    [['--debug=maybe'], 'invalid value "maybe" for flag --debug: must be true or false'],
    [['--addr=http://a:1'], 'invalid value "http://a:1" for flag --addr: must be host:port'],
    [
      ['--feature-gates=LeaseCheckpiont=true'],
      'unrecognized feature gate: LeaseCheckpiont: did you mean LeaseCheckpoint?',
    ],
    [['--feature-gates=LeaseCheckpoint'], 'missing bool value for feature gate LeaseCheckpoint'],
    [['--log-outputs=default,stdout'], 'multi logoutput for "default" is not supported yet'],
    [['--cors=example.org'], '"example.org" must be http://host'],
    [['--metrics=some'], 'must be one of basic, extensive'],
  ])('%j is refused', (args, message) => {
    expect(() => read(args)).toThrow(UsageError);
    expect(() => read(args)).toThrow(message);
  });

  it('leaves the members open when they are to be discovered', () => {
    expect(read(['--discovery-srv=example.org']).flags['initial-cluster']).toBe('');
    expect(read(['--discovery-srv=']).flags['initial-cluster']).toBe('default=http://localhost:2380');
  });

  it('takes empty values of what it does not have', () => {
    expect(read(['--peers=', '--discovery', '']).ignored).toEqual([]);
  });

  it('knows every name once', () => {
    const tables = [serveFlags, ignoredFlags, olderFlags, refusedFlags];
    const names = tables.flatMap((table) => Object.keys(table));
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
    expect(new Set(names.map(environmentName)).size).toBe(names.length);
  });

  it('translates every older name to one that exists', () => {
    const today: object[] = [serveFlags, ignoredFlags];
    const unknown = Object.entries(olderFlags).flatMap(([older, { boolean, translate }]) =>
      translate(boolean ? 'true' : 'h:1')
        .filter(([now]) => !today.some((table) => Object.hasOwn(table, now)))
        .map(([now]) => `${older} -> ${now}`),
    );
    expect(unknown).toEqual([]);
  });
});

describe('serve --help', () => {
  it('has every name', () => {
    const words = new Set(serveHelp().split(/\s+/));
    for (const table of [serveFlags, ignoredFlags, olderFlags]) {
      for (const name of Object.keys(table)) expect(words, name).toContain(`--${name}`);
    }
  });
});
