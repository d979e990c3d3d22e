import { expect, it } from 'vitest';
import { base64, type Json, rangeEnd, text } from './http.ts';
import { onEverySide, plain } from './sides.ts';

/** What OpenStack's etcd3gw sends (etcd3gw/client.py, lease.py, lock.py, watch.py), as tooz uses it. */
onEverySide('etcd3gw', (side, record) => {
  const post = (path: string, body: Json) => side.client.post(`/v3${path}`, body);

  it('finds the path of the API', async () => {
    const { body } = await side.client.get('/version');
    const version = (body.etcdserver as string).split('.').map(Number);
    expect(version).toHaveLength(3);
    expect(version.every(Number.isInteger)).toBe(true);
    const status = await post('/maintenance/status', {});
    expect(status.body).toMatchObject({ version: body.etcdserver, dbSize: expect.stringMatching(/^\d+$/) });
    expect((await post('/cluster/member/list', {})).body.members).toHaveLength(1);
  });

  it('creates, replaces, sorts and deletes', async () => {
    const create = (key: string, value: string) => ({
      compare: [{ key: base64(key), result: 'EQUAL', target: 'CREATE', create_revision: 0 }],
      success: [{ request_put: { key: base64(key), value: base64(value) } }],
      failure: [],
    });
    const replace = (key: string, from: string, to: string) => ({
      compare: [{ key: base64(key), result: 'EQUAL', target: 'VALUE', value: base64(from) }],
      success: [{ request_put: { key: base64(key), value: base64(to) } }],
      failure: [],
    });
    const answers = [
      await post('/kv/txn', create('/g/a', '1')),
      await post('/kv/txn', create('/g/a', '2')),
      await post('/kv/txn', replace('/g/a', '1', '3')),
      await post('/kv/txn', replace('/g/a', '1', '4')),
      await post('/kv/put', { key: base64('/g/b'), value: base64('') }),
      await post('/kv/put', { key: base64('/g/c'), value: base64('2') }),
    ];
    expect(answers.map(({ body }) => body.succeeded)).toEqual([true, undefined, true, undefined, undefined, undefined]);
    for (let order = 0; order < 3; order++) {
      for (let target = 0; target < 5; target++) {
        const range = { key: base64('/g/'), range_end: rangeEnd('/g/'), sort_order: order, sort_target: target };
        answers.push(await post('/kv/range', range));
      }
    }
    const [, second] = answers.at(-1)!.body.kvs as Json[];
    expect([text(second!.key), text(second!.value)]).toEqual(['/g/c', '2']);
    answers.push(await post('/kv/range', { key: base64('\0'), range_end: base64('\0'), sort_target: 0 }));
    answers.push(await post('/kv/deleterange', { key: base64('/g/c') }));
    answers.push(await post('/kv/deleterange', { key: base64('/g/c') }));
    expect(answers.slice(-2).map(({ body }) => body.deleted)).toEqual(['1', undefined]);
    answers.push(await post('/kv/deleterange', { key: base64('/g/'), range_end: rangeEnd('/g/') }));
    record('kv', plain(answers.map(({ body }) => body)));
  });

  it('locks with a lease, refreshes and releases', async () => {
    const granted = await post('/lease/grant', { TTL: 30, ID: 0 });
    // As Python reads and writes it: a number.
    const id = BigInt(granted.body.ID as string);
    const acquire = async (uuid: string) => {
      const body = `{"compare": [{"key": "${base64('/locks/x')}", "result": "EQUAL", "target": "CREATE", "create_revision": 0}], "success": [{"request_put": {"key": "${base64('/locks/x')}", "value": "${base64(uuid)}", "lease": ${id}}}], "failure": [{"request_range": {"key": "${base64('/locks/x')}"}}]}`;
      const response = await fetch(`${side.client.base}/v3/kv/txn`, { method: 'POST', body });
      return (await response.json()) as Json;
    };
    const answers = [await acquire('one'), await acquire('two')];
    expect(answers.map(({ succeeded }) => succeeded)).toEqual([true, undefined]);
    const held = (answers[1]!.responses as { response_range: { kvs: Json[] } }[])[0]!.response_range.kvs[0]!;
    expect([text(held.value), held.lease]).toEqual(['one', String(id)]);
    const refreshed = await side.client.post('/v3/lease/keepalive', { ID: String(id) });
    expect((refreshed.body.result as Json).TTL).toBe('30');
    const ttl = await post('/lease/timetolive', { ID: String(id), keys: true });
    expect((ttl.body.keys as string[]).map(text)).toEqual(['/locks/x']);
    const release = await post('/kv/txn', {
      compare: [{ key: base64('/locks/x'), result: 'EQUAL', target: 'VALUE', value: base64('one') }],
      success: [{ request_delete_range: { key: base64('/locks/x') } }],
    });
    expect(release.body.succeeded).toBe(true);
    expect((await post('/lease/revoke', { ID: String(id) })).status).toBe(200);
    record('lock', plain([answers, refreshed.body, release.body]));
  });

  it('watches in lines that are JSON each, with the value left out of a delete', async () => {
    const stream = await side.client.stream('/v3/watch', {
      create_request: { key: base64('/w/'), range_end: rangeEnd('/w/'), progress_notify: false, prev_kv: false },
    });
    await expect.poll(() => stream.lines.length).toBe(1);
    expect(stream.lines[0]).toMatchObject({ result: { created: true } });
    await post('/kv/put', { key: base64('/w/1'), value: base64('x') });
    await post('/kv/deleterange', { key: base64('/w/1') });
    await expect.poll(() => stream.lines.length).toBe(3);
    const events = stream.lines.slice(1).flatMap(({ result }) => (result as Json).events as Json[]);
    expect(events).toMatchObject([{ kv: { key: base64('/w/1') } }, { type: 'DELETE' }]);
    expect(events[1]!.kv).not.toHaveProperty('value');
    record('watch', plain(stream.lines));
    stream.close();
  });

  it('knows what went wrong by the status', async () => {
    const future = await post('/kv/range', { key: base64('a'), revision: 99_999 });
    const lease = await post('/kv/put', { key: base64('a'), value: '', lease: 77 });
    const seen = [future, lease].map(({ status, body }) => [status, body.code, body.message]);
    expect(seen).toEqual([
      [400, 11, 'etcdserver: mvcc: required revision is a future revision'],
      [404, 5, 'etcdserver: requested lease not found'],
    ]);
    record('errors', seen);
  });
});
