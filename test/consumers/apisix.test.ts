import { expect, it } from 'vitest';
import { base64, type Json, rangeEnd, type Stream, text } from './http.ts';
import { onEverySide, plain } from './sides.ts';

/** What APISIX sends through lua-resty-etcd (lib/resty/etcd/v3.lua): camel-case transactions, prefix reads, one long watch. */
onEverySide('APISIX', (side, record) => {
  const post = (path: string, body?: Json) => side.client.post(`/v3${path}`, body);
  const dirs = ['routes', 'upstreams', 'services', 'ssls', 'consumers'];
  const json = (value: unknown) => base64(JSON.stringify(value));

  it('checks the version and the health', async () => {
    const { body } = await side.client.get('/version');
    expect(body.etcdcluster).toMatch(/^\d+\.\d+\.\d+$/);
    expect((await side.client.get('/health')).body.health).toBe('true');
  });

  it('makes its directories; no answer looks like an error', async () => {
    for (const dir of dirs) {
      const answer = await post('/kv/put', { key: base64(`/apisix/${dir}/`), value: base64('init_dir') });
      expect(answer.status).toBe(200);
      expect(answer.text).not.toMatch(/error|404 page not found/);
    }
  });

  it('reads a directory', async () => {
    await post('/kv/put', { key: base64('/apisix/routes/1'), value: json({ uri: '/a' }), prev_kv: true });
    const answer = await post('/kv/range', {
      key: base64('/apisix/routes'),
      range_end: rangeEnd('/apisix/routes'),
      limit: 0,
      revision: -1,
      sort_order: 'ASCEND',
      sort_target: 'KEY',
      serializable: false,
      keys_only: false,
      count_only: false,
      min_mod_revision: 0,
      max_mod_revision: 0,
      min_create_revision: 0,
      max_create_revision: 0,
    });
    const kvs = answer.body.kvs as Json[];
    expect(kvs.map(({ key }) => text(key))).toEqual(['/apisix/routes/', '/apisix/routes/1']);
    record('readdir', plain(answer.body));
  });

  let stream: Stream;
  it('watches everything with previous values from the revision it has read', async () => {
    const { body } = await post('/kv/range', { key: base64('/apisix/routes/1') });
    const start_revision = Number((body.header as { revision: string }).revision) + 1;
    stream = await side.client.stream('/v3/watch', {
      create_request: {
        key: base64('/apisix/'),
        range_end: rangeEnd('/apisix/'),
        prev_kv: true,
        start_revision,
        watch_id: 0,
        progress_notify: true,
        fragment: false,
        filters: ['NOPUT', 'NODELETE'].slice(2),
      },
    });
    await expect.poll(() => stream.lines[0]).toMatchObject({ result: { created: true, header: {} } });
    await post('/kv/put', { key: base64('/apisix/routes/1'), value: json({ uri: '/b' }) });
    await post('/kv/deleterange', { key: base64('/apisix/routes/1'), prev_kv: true });
    const events = () =>
      stream.lines.flatMap(
        ({ result }) => ((result as Json).events as { type?: string; kv: Json; prev_kv: Json }[]) ?? [],
      );
    await expect.poll(() => events().length).toBe(2);
    const [changed, gone] = events();
    expect([text(changed!.kv.value), text(changed!.prev_kv.value)]).toEqual(['{"uri":"/b"}', '{"uri":"/a"}']);
    expect([gone!.type, gone!.kv.value, text(gone!.prev_kv.value)]).toEqual(['DELETE', undefined, '{"uri":"/b"}']);
    record('watchdir', plain(events()));
    stream.close();
  });

  it('creates and updates in camel case', async () => {
    const compare = [{ target: 'CREATE', key: base64('/apisix/x'), createRevision: 0 }];
    const requestPut = { key: base64('/apisix/x'), value: json(1) };
    const setnx = { compare, success: [{ requestPut }] };
    const answers = [
      await post('/kv/txn', setnx),
      await post('/kv/txn', setnx),
      await post('/kv/txn', { compare, failure: [{ requestPut: { ...requestPut, value: json(2) } }] }),
      await post('/kv/range', { key: base64('/apisix/x') }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect([answers[0]!.body.succeeded, answers[1]!.body.succeeded]).toEqual([true, undefined]);
    expect(text((answers[3]!.body.kvs as Json[])[0]!.value)).toBe('2');
    record('setnx and setx', plain(answers.map(({ body }) => body)));
  });

  it('leases, by the older paths', async () => {
    const granted = await post('/lease/grant', { TTL: 60, ID: 0 });
    const { ID } = granted.body as { ID: string };
    await post('/kv/put', { key: base64('/apisix/live'), value: json(1), lease: ID });
    const alive = await post('/lease/keepalive', { ID });
    const left = await post('/kv/lease/timetolive', { ID, keys: true });
    expect((left.body.keys as string[]).map(text)).toEqual(['/apisix/live']);
    expect((await post('/lease/leases')).body.leases).toEqual([{ ID }]);
    const revoked = await post('/kv/lease/revoke', { ID });
    const twice = await post('/kv/lease/revoke', { ID });
    expect([revoked.status, twice.status, twice.body.code]).toEqual([200, 404, 5]);
    const { TTL, ...rest } = left.body;
    expect(Number(TTL)).toBeGreaterThan(0);
    record('lease', plain([granted.body, alive.body, rest, revoked.body]));
  });

  it('hears that what it wants to watch from is gone', async () => {
    const { header } = (await post('/kv/put', { key: base64('/apisix/y'), value: json(1) })).body as {
      header: { revision: string };
    };
    await post('/kv/compaction', { revision: header.revision });
    const old = await side.client.stream('/v3/watch', {
      create_request: { key: base64('/apisix/'), range_end: rangeEnd('/apisix/'), start_revision: 1 },
    });
    await expect.poll(() => old.lines.length).toBe(2);
    expect(old.lines[1]).toMatchObject({ result: { canceled: true, compact_revision: header.revision } });
    record('compacted', plain(old.lines));
    old.close();
  });
});
