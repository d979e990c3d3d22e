import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import { freePort } from '../support/ports.ts';
import { type RunningRoster, startRoster } from '../support/roster.ts';

/** The plain HTTP endpoints of a running server, with the flags that concern them. */
let server: RunningRoster;
let url: string;
let monitoring: string;
beforeAll(async () => {
  monitoring = `http://127.0.0.1:${await freePort()}`;
  server = await startRoster([
    ...['--listen-metrics-urls', monitoring, '--metrics', 'extensive', '--enable-pprof', '--log-level', 'info'],
    ...['--cors', 'http://a.example:80,https://b.example', '--host-whitelist', '127.0.0.1,good.example'],
    ...['--max-wals=3', '--debug=false'],
  ]);
  url = `http://${server.endpoint}`;
});
afterAll(() => server.stop());

const post = (path: string, body: unknown) => fetch(`${url}${path}`, { method: 'POST', body: JSON.stringify(body) });
const alarm = (action: string, type: string) => post('/v3/maintenance/alarm', { action, memberID: '1', alarm: type });

/** `fetch` does not let one say who is called. */
function getAs(host: string, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const get = request(`${url}${path}`, { headers: { host } }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode!, body }));
    });
    get.once('error', reject).end();
  });
}

describe('/livez and /readyz', () => {
  it.each([
    ['/livez', 'ok\n'],
    ['/livez?verbose', '[+]serializable_read ok\nok\n'],
    ['/livez/serializable_read', 'ok\n'],
    ['/readyz', 'ok\n'],
    [
      '/readyz?verbose',
      '[+]data_corruption ok\n[+]linearizable_read ok\n[+]non_learner ok\n[+]serializable_read ok\nok\n',
    ],
    [
      '/readyz?verbose&exclude=non_learner&exclude=data_corruption',
      '[+]linearizable_read ok\n[+]serializable_read ok\nok\n',
    ],
    ['/readyz/linearizable_read?verbose', '[+]linearizable_read ok\nok\n'],
  ])('%s is well', async (path, body) => {
    const answer = await fetch(url + path);
    expect([answer.status, await answer.text()]).toEqual([200, body]);
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain/);
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
  });

  it('take GET only, and know no other checks', async () => {
    for (const path of ['/livez', '/readyz', '/readyz/non_learner']) {
      const answer = await fetch(url + path, { method: 'POST' });
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET']);
    }
    expect((await fetch(`${url}/livez/non_learner`)).status).toBe(404);
  });
});

describe('alarms', () => {
  it.each(['NOSPACE', 'CORRUPT'])(
    '%s makes /health and what looks at it fail until it is excluded or gone',
    async (type) => {
      expect((await alarm('ACTIVATE', type)).status).toBe(200);
      try {
        const health = await fetch(`${url}/health`);
        expect([health.status, await health.text()]).toEqual([503, `{"health":"false","reason":"ALARM ${type}"}\n`]);
        expect((await fetch(`${url}/health?exclude=${type}`)).status).toBe(200);
        expect((await fetch(`${url}/health?exclude=OTHER`)).status).toBe(503);
        const ready = await fetch(`${url}/readyz`);
        expect(ready.status).toBe(type === 'CORRUPT' ? 503 : 200);
        if (type === 'CORRUPT') {
          expect(await ready.text()).toContain(
            '[-]data_corruption failed: alarm activated: CORRUPT\n[+]linearizable_read ok\n',
          );
          expect((await fetch(`${url}/readyz?exclude=data_corruption`)).status).toBe(200);
          expect((await fetch(`${url}/readyz/data_corruption`)).status).toBe(503);
          expect((await fetch(`${url}/livez`)).status).toBe(200);
        }
      } finally {
        await alarm('DEACTIVATE', type);
      }
      expect((await fetch(`${url}/health`)).status).toBe(200);
    },
  );
});

describe('--listen-metrics-urls', () => {
  it('has what monitoring asks for and nothing else', async () => {
    for (const path of ['/metrics', '/health', '/livez', '/readyz']) {
      expect((await fetch(monitoring + path)).status, path).toBe(200);
    }
    for (const path of ['/version', '/debug/vars', '/v3/kv/range']) {
      expect((await fetch(monitoring + path, { method: 'POST' })).status, path).toBe(404);
    }
  });
});

describe('--cors and --host-whitelist', () => {
  it('allows the origins that are named', async () => {
    const allowed = async (origin: string, method: string) => {
      const answer = await fetch(`${url}/version`, { method, headers: { origin } });
      return [answer.status, answer.headers.get('access-control-allow-origin')];
    };
    for (const method of ['GET', 'OPTIONS']) {
      for (const origin of ['http://a.example', 'http://a.example:80', 'https://b.example']) {
        expect(await allowed(origin, method)).toEqual([200, origin]);
      }
      for (const origin of ['http://evil.example', 'https://a.example', 'http://a.example:81', 'null']) {
        expect(await allowed(origin, method)).toEqual([200, null]);
      }
    }
  });

  it('refuses other host names with 421 and says why, but not to monitoring', async () => {
    for (const path of ['/health', '/v3/kv/range', '/metrics']) {
      const { status, body } = await getAs('evil.example:2379', path);
      expect([path, status]).toEqual([path, 421]);
      expect(body).toContain('etcd --host-whitelist "evil.example"');
    }
    expect((await getAs('good.example:2379', '/health')).status).toBe(200);
    expect(server.log).toContain('"host":"evil.example"');
  });
});

describe('/debug', () => {
  it('/debug/vars is JSON with what etcd has there', async () => {
    const vars = (await (await fetch(`${url}/debug/vars`)).json()) as Record<string, unknown>;
    expect(Object.keys(vars)).toEqual(['cmdline', 'file_descriptor_limit', 'memstats', 'raft.status']);
    expect(vars['raft.status']).toMatchObject({ raftState: 'StateLeader', term: expect.any(Number) });
  });

  it('/debug/pprof says what to use instead', async () => {
    const answer = await fetch(`${url}/debug/pprof/heap`);
    expect([answer.status, await answer.text()]).toEqual([404, expect.stringContaining('kill -USR1')]);
  });
});

describe('/metrics', () => {
  const values = async () => {
    const text = await (await fetch(`${url}/metrics`)).text();
    return new Map(
      text
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'))
        .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
    );
  };

  it('counts where the work is done', async () => {
    const client = new Client({ endpoints: [server.endpoint] });
    try {
      const before = await values();
      const rise = async (name: string) => ((await values()).get(name) ?? 0) - (before.get(name) ?? 0);
      await client.put('/m/a', '1');
      await client.put('/m/b', '2');
      await client.delete('/m/a');
      await client.leaseGrant(60);
      await client.get('/m/b');
      expect(await rise('etcd_server_range_duration_seconds_count{success="true"}')).toBe(1);
      expect(await rise('etcd_server_read_indexes_failed_total')).toBe(0);
      expect(await rise('etcd_mvcc_put_total')).toBe(2);
      expect(await rise('etcd_mvcc_delete_total')).toBe(1);
      expect(await rise('etcd_debugging_lease_granted_total')).toBe(1);
      const labels = 'grpc_type="unary",grpc_service="etcdserverpb.KV",grpc_method="Put"';
      expect(await rise(`grpc_server_started_total{${labels}}`)).toBe(2);
      expect(await rise(`grpc_server_handled_total{${labels},grpc_code="OK"}`)).toBe(2);
      expect(await rise(`grpc_server_msg_received_total{${labels}}`)).toBe(2);
      expect(await rise(`grpc_server_handling_seconds_count{${labels}}`)).toBe(2);
      expect(await rise('etcd_server_request_duration_seconds_count{type="Put",success="true"}')).toBe(2);
      expect(await rise('etcd_disk_wal_fsync_duration_seconds_count')).toBeGreaterThanOrEqual(1);
      expect(await rise('etcd_disk_wal_write_bytes_total')).toBeGreaterThan(0);
      expect(await rise('etcd_network_client_grpc_received_bytes_total')).toBeGreaterThan(0);
      expect(await rise('etcd_network_client_grpc_sent_bytes_total')).toBeGreaterThan(0);
      for (const stage of ['turn', 'log', 'commit', 'apply', 'answer']) {
        expect(await rise(`roster_stage_duration_seconds_count{stage="${stage}"}`), stage).toBeGreaterThanOrEqual(1);
      }
      await expect
        .poll(() => rise('etcd_disk_backend_commit_duration_seconds_count'), { timeout: 20_000 })
        .toBeGreaterThan(0);
      await expect.poll(() => rise('roster_event_loop_lag_seconds_count'), { timeout: 20_000 }).toBeGreaterThan(0);
    } finally {
      client.close();
    }
  });

  it('counts operations of v2 by their actions', async () => {
    const before = await values();
    const rise = async (name: string) => ((await values()).get(name) ?? 0) - (before.get(name) ?? 0);
    for (const [method, query] of [
      ['PUT', 'value=1'],
      ['PUT', 'value=2&prevValue=1'],
      ['PUT', 'value=3&prevValue=1'],
      ['GET', ''],
      ['DELETE', ''],
      ['GET', ''],
    ]) {
      await (await fetch(`${url}/v2/keys/counted?${query}`, { method: method! })).arrayBuffer();
    }
    expect(await rise('etcd_debugging_store_writes_total{action="set"}')).toBe(1);
    expect(await rise('etcd_debugging_store_writes_total{action="compareAndSwap"}')).toBe(1);
    expect(await rise('etcd_debugging_store_writes_failed_total{action="compareAndSwap"}')).toBe(1);
    expect(await rise('etcd_debugging_store_writes_total{action="delete"}')).toBe(1);
    expect(await rise('etcd_debugging_store_reads_total{action="get"}')).toBe(1);
    expect(await rise('etcd_debugging_store_reads_failed_total{action="get"}')).toBe(1);
  });

  it('counts compactions, and what they removed', async () => {
    const name = 'etcd_debugging_mvcc_db_compaction_total_duration_milliseconds';
    const before = await values();
    let revision = '';
    for (let i = 0; i < 4; i++) {
      const put = await post('/v3/kv/put', { key: Buffer.from('compacted').toString('base64') });
      revision = ((await put.json()) as { header: { revision: string } }).header.revision;
    }
    await post('/v3/kv/compaction', { revision, physical: true });
    const after = await values();
    expect(after.get(`${name}_count`)! - before.get(`${name}_count`)!).toBe(1);
    const keys = 'etcd_debugging_mvcc_db_compaction_keys_total';
    expect(after.get(keys)! - before.get(keys)!).toBeGreaterThanOrEqual(3);
    expect(Math.abs(after.get('etcd_debugging_mvcc_db_compaction_last')! - Date.now() / 1000)).toBeLessThan(600);
  });

  it('has what dashboards ask for from the start', async () => {
    for (const name of [
      'etcd_debugging_store_expires_total',
      'etcd_debugging_server_lease_expired_total',
      'etcd_server_slow_read_indexes_total',
      'etcd_server_snapshot_apply_in_progress_total',
      'etcd_network_snapshot_send_success',
      'etcd_network_snapshot_receive_failures',
    ]) {
      expect((await values()).get(name), name).toBe(0);
    }
    expect((await values()).get('etcd_server_heartbeat_send_failures_total')).toBeGreaterThanOrEqual(0);
  });

  it('has histograms that add up', async () => {
    const all = await values();
    const name = 'etcd_disk_wal_fsync_duration_seconds';
    const buckets = [...all].filter(([key]) => key.startsWith(`${name}_bucket`)).map(([, value]) => value);
    expect(buckets.length).toBeGreaterThan(10);
    expect(buckets).toEqual([...buckets].sort((a, b) => a - b));
    expect(all.get(`${name}_bucket{le="+Inf"}`)).toBe(all.get(`${name}_count`));
  });

  it('counts what probes were told', async () => {
    await fetch(`${url}/readyz`);
    const all = await values();
    expect(all.get('etcd_server_healthcheck{type="readyz",name="non_learner"}')).toBe(1);
    expect(
      all.get('etcd_server_healthchecks_total{type="readyz",name="non_learner",status="success"}'),
    ).toBeGreaterThan(0);
    expect(all.get('etcd_server_health_success')).toBeGreaterThan(0);
  });

  it.each([
    'etcd_server_has_leader',
    'etcd_server_proposals_pending',
    'etcd_mvcc_range_total',
    'etcd_mvcc_txn_total',
    'etcd_server_feature_enabled{name="InitialCorruptCheck",stage="ALPHA"}',
    'process_resident_memory_bytes',
    'process_cpu_seconds_total',
    'process_open_fds',
    'process_max_fds',
    'os_fd_limit',
    'roster_store_live_bytes',
    'roster_store_history_bytes',
    'roster_event_loop_busy_seconds_total',
  ])('has %s', async (name) => {
    expect((await values()).get(name)).toEqual(expect.any(Number));
  });
});

describe('the log', () => {
  it('says once what was given and does nothing, and what is older', () => {
    const lines = server.log.split('\n').filter((line) => line.includes('accepted and ignored'));
    expect(lines.map((line) => (JSON.parse(line) as { flags: string[] }).flags)).toEqual([['--max-wals']]);
    expect(server.log).toContain('--debug (now --log-level debug)');
  });
});
