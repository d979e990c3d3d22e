import { describe, expect, it } from 'vitest';
import { describeFlags, environmentName, UsageError } from '../../server/config/flag-table.ts';
import { readServeFlags, serveFlags } from '../../server/config/serve-flags.ts';

const read = (args: string[], environment: Record<string, string> = {}) => readServeFlags(args, environment);

describe('readServeFlags()', () => {
  it("has etcd's defaults", () => {
    const flags = read([]);
    expect(flags.name).toBe('default');
    expect(flags['data-dir']).toBe('default.etcd');
    expect(flags['listen-client-urls']).toEqual(['http://localhost:2379']);
    expect(flags['heartbeat-interval']).toBe(100);
    expect(flags['election-timeout']).toBe(1000);
    expect(flags['max-request-bytes']).toBe(1_572_864);
    expect(flags['initial-cluster']).toBe('default=http://localhost:2380');
    expect(flags['initial-cluster-state']).toBe('new');
    expect(flags['listen-peer-urls']).toEqual(['http://localhost:2380']);
    expect(flags['snapshot-count']).toBe(10_000);
    expect(flags['snapshot-catchup-entries']).toBe(5000);
    expect(flags['max-learners']).toBe(1);
    expect(flags['strict-reconfig-check']).toBe(true);
    expect(flags['pre-vote']).toBe(true);
    expect(flags['initial-election-tick-advance']).toBe(true);
    expect(flags['force-new-cluster']).toBe(false);
    expect(flags['peer-cert-allowed-cn']).toEqual([]);
  });

  it('takes one dash or two, a space or an equals sign', () => {
    for (const args of [['-name', 'a'], ['--name', 'a'], ['-name=a'], ['--name=a']]) {
      expect(read(args).name).toBe('a');
    }
    expect(read(['--name', 'a'])['data-dir']).toBe('a.etcd');
  });

  it('takes bare booleans and what Go calls true and false', () => {
    expect(read(['--client-cert-auth', '--trusted-ca-file', 'ca.pem'])['client-cert-auth']).toBe(true);
    expect(read(['--enable-grpc-gateway=F'])['enable-grpc-gateway']).toBe(false);
    expect(() => read(['--client-cert-auth=yes'])).toThrow(/true or false/);
  });

  it('prefers flags to the environment and the environment to defaults', () => {
    expect(environmentName('data-dir')).toBe('ETCD_DATA_DIR');
    expect(read([], { ETCD_NAME: 'env' }).name).toBe('env');
    expect(read(['--name', 'flag'], { ETCD_NAME: 'env' }).name).toBe('flag');
    expect(read([], { ETCD_NAME: '' }).name).toBe('default');
    expect(read([], { ETCD_NOBODY_KNOWS: 'x' }).name).toBe('default');
  });

  it.each([
    [['--nmae', 'x'], 'unknown flag --nmae: did you mean --name?'],
    [['--quite-unlike-anything', 'x'], 'unknown flag --quite-unlike-anything: see --help'],
    [['--__proto__', 'x'], 'unexpected argument "--__proto__": flags begin with --'],
    [['--constructor', 'x'], 'unknown flag --constructor: see --help'],
    [['stray'], 'unexpected argument "stray": flags begin with --'],
    [['--name'], 'flag --name needs a value: human-readable name of this member'],
    [['--max-txn-ops', '0'], 'invalid value "0" for flag --max-txn-ops: must be a whole number from 1 to 1000000'],
    [['--max-txn-ops', '1e3'], 'invalid value "1e3" for flag --max-txn-ops: must be a whole number from 1 to 1000000'],
    [
      ['--listen-client-urls', 'localhost:2379'],
      'invalid value "localhost:2379" for flag --listen-client-urls: "localhost:2379" must begin with http:// or https://',
    ],
    [
      ['--listen-client-urls', 'http://localhost:2379/path'],
      'invalid value "http://localhost:2379/path" for flag --listen-client-urls: "http://localhost:2379/path" must be host and port only: http://host:port',
    ],
    [
      ['--listen-client-urls', 'http://127.0.0.1:1'],
      '--advertise-client-urls is required when --listen-client-urls is set explicitly',
    ],
    [
      ['--heartbeat-interval', '300'],
      '--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[300ms]',
    ],
    [
      ['--grpc-keepalive-min-time', '5'],
      'invalid value "5" for flag --grpc-keepalive-min-time: must be a duration such as 300ms, 5s or 1h30m',
    ],
    [['--cert-file', 'a'], '--cert-file and --key-file must be given together'],
    [['--initial-cluster', 'http://a:1'], '--initial-cluster: "http://a:1" must be name=http://host:port'],
    [['--initial-cluster', 'a=a:1'], '"a:1" must begin with http:// or https://'],
    [['--initial-cluster-state', 'old'], 'must be one of new, existing'],
    [['--max-learners', '0'], 'must be a whole number from 1 to 1000'],
    [['--peer-key-file', 'a'], '--peer-cert-file and --peer-key-file must be given together'],
    [
      ['--listen-peer-urls', 'https://localhost:1'],
      'an https:// URL in --listen-peer-urls needs --peer-cert-file and --peer-key-file',
    ],
    [['--peer-client-cert-auth'], '--peer-client-cert-auth needs --peer-trusted-ca-file'],
    [['--peer-cert-allowed-cn', 'a'], '--peer-cert-allowed-cn needs --peer-trusted-ca-file'],
    [
      [
        '--peer-client-cert-auth',
        '--peer-trusted-ca-file=ca',
        '--peer-cert-allowed-cn=a',
        '--peer-cert-allowed-hostname=b',
      ],
      '--peer-cert-allowed-cn and --peer-cert-allowed-hostname cannot be given together',
    ],
    [
      ['--log-level', 'loud'],
      'invalid value "loud" for flag --log-level: must be one of debug, info, warn, error, panic, fatal',
    ],
  ])('%j is refused with the reason', (args, message) => {
    expect(() => read(args)).toThrow(UsageError);
    expect(() => read(args)).toThrow(message);
  });

  it('names the environment variable that was wrong', () => {
    expect(() => read([], { ETCD_MAX_TXN_OPS: 'x' })).toThrow(
      'invalid value "x" for environment variable ETCD_MAX_TXN_OPS: must be a whole number from 1 to 1000000',
    );
  });

  it('reads the flags of a member of several from the environment too', () => {
    const flags = read([], {
      ETCD_NAME: 'b',
      ETCD_INITIAL_CLUSTER: 'a=http://a:2380,b=http://b:2380',
      ETCD_STRICT_RECONFIG_CHECK: 'false',
      ETCD_PRE_VOTE: 'false',
      ETCD_PEER_CLIENT_CERT_AUTH: 'true',
      ETCD_PEER_TRUSTED_CA_FILE: 'ca.pem',
      ETCD_PEER_CERT_ALLOWED_CN: 'x, y,',
    });
    expect(flags['initial-cluster']).toBe('a=http://a:2380,b=http://b:2380');
    expect([flags['strict-reconfig-check'], flags['pre-vote']]).toEqual([false, false]);
    expect(flags['peer-cert-allowed-cn']).toEqual(['x', 'y']);
  });

  it('names itself in the initial cluster when that is not given', () => {
    const flags = read(['--name', 'm', '--initial-advertise-peer-urls', 'http://m:2,http://m:1']);
    expect(flags['initial-cluster']).toBe('m=http://m:1,m=http://m:2');
  });

  it("parses Go's durations", () => {
    const interval = (value: string) => read(['--grpc-keepalive-min-time', value])['grpc-keepalive-min-time'];
    expect(interval('250ms')).toBe(250);
    expect(interval('1m30s')).toBe(90_000);
    expect(interval('1.5s')).toBe(1500);
    expect(interval('0')).toBe(0);
  });

  it('describes every flag', () => {
    const text = describeFlags(serveFlags);
    for (const name of Object.keys(serveFlags)) expect(text).toContain(`--${name} `);
  });
});
