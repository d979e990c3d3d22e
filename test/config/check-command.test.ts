import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runConfigCommand } from '../../server/config/check-command.ts';
import { UsageError } from '../../server/config/flag-table.ts';
import { serveFlags } from '../../server/config/serve-flags.ts';

const folder = mkdtempSync(join(tmpdir(), 'roster-check-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('roster config check', () => {
  it('prints every flag, its value, and where that comes from', () => {
    const path = join(folder, 'etcd.conf');
    writeFileSync(path, 'ETCD_NAME="m1"\nETCD_NOBODY_KNOWS_IT=1\n');
    const text = runConfigCommand(['check', '--env-file', path, '--debug', '--max-wals=1'], { ETCD_MAX_TXN_OPS: '9' });
    const rows = new Map(
      text.split('\n').map((line) => {
        const [name = '', value, ...origin] = line.split(/\s+/);
        return [name, [value, origin.join(' ')]];
      }),
    );
    for (const name of Object.keys(serveFlags)) expect(rows.has(`--${name}`), name).toBe(true);
    expect(rows.get('--name')).toEqual(['m1', `ETCD_NAME (${path}:1)`]);
    expect(rows.get('--log-level')).toEqual(['debug', 'flag --debug']);
    expect(rows.get('--max-txn-ops')).toEqual(['9', 'environment variable ETCD_MAX_TXN_OPS']);
    expect(rows.get('--grpc-keepalive-min-time')).toEqual(['5s', 'default']);
    expect(rows.get('--grpc-keepalive-interval')).toEqual(['2h', 'default']);
    expect(rows.get('--warning-apply-duration')).toEqual(['100ms', 'default']);
    expect(rows.get('--max-learners')).toEqual(['1', 'default']);
    expect(rows.get('--data-dir')).toEqual(['m1.etcd', 'from others']);
    expect(rows.get('--initial-cluster')).toEqual(['m1=http://localhost:2380', 'from others']);
    expect(text).toContain('older names: --debug (now --log-level debug)\n');
    expect(text).toContain('accepted, and of no effect: --max-wals\n');
    expect(text).toContain(`warning: unrecognized ${path}:2: ETCD_NOBODY_KNOWS_IT`);
  });

  it.each([
    [['check', '--nmae=x'], 'unknown flag --nmae'],
    [['check', '--listen-client-urls', 'http://127.0.0.1:1'], '--advertise-client-urls is required'],
    [['check', '--auth-token', 'jwt,sign-method=RS256'], '--auth-token: RS256 needs'],
    [['chekc'], 'unknown command config "chekc"'],
  ])('%j is refused', (args, message) => {
    expect(() => runConfigCommand(args, {})).toThrow(UsageError);
    expect(() => runConfigCommand(args, {})).toThrow(message);
  });

  it('explains itself', () => {
    for (const args of [[], ['--help'], ['check', '--help']]) expect(runConfigCommand(args, {})).toContain('usage:');
  });

  it('shows no password', () => {
    const flags = ['--discovery-token', 't', '--discovery-endpoints', 'h:1', '--discovery-user', 'u:secret1'];
    const text = runConfigCommand(['check', ...flags, '--discovery-password', 'secret2'], {});
    expect(text).toMatch(/--discovery-user +u:\(hidden\) /);
    expect(text).toMatch(/--discovery-password +\(hidden\) /);
    expect(text).not.toContain('secret');
  });
});
