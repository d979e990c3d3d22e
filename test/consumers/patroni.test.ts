import { expect, it } from 'vitest';
import { base64, type Json, rangeEnd, type Stream, text } from './http.ts';
import { onEverySide, plain } from './sides.ts';

/**
 * What Patroni's etcd3 client sends (patroni/dcs/etcd3.py), in the order of its HA loop, and what it reads of the answers:
 * leader race, nested transaction of `update_leader`, the watch that feeds its cache, the loss of a lease, and auth.
 */
onEverySide('Patroni', (side, record) => {
  const key = (name: string) => base64(`/service/demo/${name}`);
  const post = async (path: string, body: Json) => {
    const answer = await side.client.post(`/v3${path}`, body);
    // _check_cluster_raft_term
    if (answer.status === 200 && path !== '/lease/keepalive') {
      expect(answer.body.header).toMatchObject({
        cluster_id: expect.stringMatching(/^\d+$/),
        raft_term: expect.stringMatching(/^\d+$/),
      });
    }
    return answer;
  };
  /** `_raise_for_data` knows errors by these. */
  const refusal = ({ status, body }: { status: number; body: Json }) => [status, body.code, body.message];

  it('finds out the version, and the members', async () => {
    const { body } = await side.client.get('/version');
    for (const name of ['etcdserver', 'etcdcluster']) {
      const parts = (body[name] as string).split('.').map(Number);
      expect(parts.every(Number.isInteger), name).toBe(true);
      expect(parts[0]! * 100 + parts[1]!).toBeGreaterThanOrEqual(304);
    }
    const { members } = (await post('/cluster/member/list', {})).body as { members: { clientURLs: string[] }[] };
    expect(members.flatMap(({ clientURLs }) => clientURLs)).toEqual([side.client.base]);
  });

  it('asks to log in, and hears that nobody need', async () => {
    const answer = await post('/auth/authenticate', { name: 'patroni', password: 'secret' });
    // 400, in grpc-gateway v1 412.
    expect(refusal(answer).slice(1)).toEqual([9, 'etcdserver: authentication is not enabled']);
  });

  let lease: string;
  let stream: Stream;

  it('races for the leader key, and watches', async () => {
    lease = (await post('/lease/grant', { TTL: 30 })).body.ID as string;
    expect(lease).toMatch(/^\d+$/);
    const all = await post('/kv/range', {
      key: key(''),
      range_end: rangeEnd('/service/demo/'),
      serializable: true,
    });
    expect(all.body).not.toHaveProperty('kvs');
    stream = await side.client.stream('/v3/watch', {
      create_request: {
        key: key(''),
        range_end: rangeEnd('/service/demo/'),
        start_revision: (all.body.header as Json).revision,
        filters: [],
      },
    });
    const compare = { target: 'CREATE', create_revision: '0', key: key('leader') };
    const put = { request_put: { key: key('leader'), value: base64('node1'), lease } };
    const won = await post('/kv/txn', { compare: [compare], success: [put] });
    expect(won.body).toMatchObject({ succeeded: true, responses: [{ response_put: {} }] });
    const lost = await post('/kv/txn', { compare: [compare], success: [put] });
    expect(lost.body).not.toHaveProperty('succeeded');
    record('race', plain([won.body, lost.body]));
  });

  it('updates the leader in a nested transaction', async () => {
    const range = await post('/kv/range', { key: key('leader'), serializable: true });
    const [{ mod_revision, create_revision }] = range.body.kvs as [Json];
    const put = (value: string) => ({ request_put: { key: key('leader'), value: base64(value), lease } });
    const update = (revision: unknown) => ({
      compare: [{ target: 'MOD', mod_revision: revision, key: key('leader') }],
      success: [put('node1')],
      failure: [
        {
          request_txn: {
            compare: [{ target: 'CREATE', create_revision: '0', key: key('leader') }],
            success: [put('node1')],
          },
        },
      ],
    });
    const kept = await post('/kv/txn', update(mod_revision));
    expect(kept.body).toMatchObject({ succeeded: true });
    const stale = await post('/kv/txn', update(mod_revision));
    expect(stale.body).toMatchObject({ responses: [{ response_txn: {} }] });
    expect(stale.body).not.toHaveProperty('succeeded');
    expect((stale.body.responses as { response_txn: Json }[])[0]!.response_txn).not.toHaveProperty('succeeded');
    await post('/kv/deleterange', { key: key('leader') });
    const again = await post('/kv/txn', update(mod_revision));
    expect(again.body).toMatchObject({ responses: [{ response_txn: { succeeded: true } }] });
    expect(create_revision).toMatch(/^\d+$/);
    record('update_leader', plain([kept.body, stale.body, again.body]));
  });

  it('keeps its lease, and learns that it has none', async () => {
    const kept = await post('/lease/keepalive', { ID: lease });
    expect((kept.body.result as Json).TTL).toBe('30');
    const lost = await post('/lease/keepalive', { ID: '77' });
    expect((lost.body.result as Json).TTL).toBeUndefined();
    const refused = await post('/kv/put', { key: key('members/node1'), value: base64('{}'), lease: '77' });
    expect(refusal(refused)).toEqual([404, 5, 'etcdserver: requested lease not found']);
    record('lease', plain([kept.body, lost.body, refusal(refused)]));
  });

  it('has seen all of it', async () => {
    await post('/kv/put', { key: key('status'), value: base64('{"optime":1}') });
    await post('/kv/txn', {
      compare: [{ target: 'MOD', mod_revision: '1', key: key('status') }],
      success: [{ request_delete_range: { key: key('status') } }],
    });
    await post('/kv/deleterange', { key: key('status') });
    const events = () =>
      stream.lines.flatMap(
        ({ result }) => ((result as Json).events as { type?: string; kv: Json }[] | undefined) ?? [],
      );
    const seen = () => events().map(({ type, kv }) => [type ?? 'PUT', text(kv.key), text(kv.value ?? '')]);
    await expect.poll(() => seen().at(-1), { timeout: 20_000 }).toEqual(['DELETE', '/service/demo/status', '']);
    expect(
      seen()
        .filter(([, name]) => name!.endsWith('leader'))
        .map(([type]) => type),
    ).toEqual(['PUT', 'PUT', 'DELETE', 'PUT']);
    expect(stream.lines[0]).toMatchObject({ result: { created: true } });
    record('watch', plain(events()));
    stream.close();
  });

  it('logs in, goes on with a token, and is told when that is not good', async () => {
    const user = { name: 'root', password: 'secret' };
    await post('/auth/user/add', user);
    await post('/auth/role/add', { name: 'root' });
    await post('/auth/user/grant', { user: 'root', role: 'root' });
    await post('/auth/enable', {});
    const range = { key: key(''), serializable: true };
    const without = refusal(await post('/kv/range', range));
    expect(without).toEqual([400, 3, 'etcdserver: user name is empty']);
    const wrong = refusal(await post('/auth/authenticate', { ...user, password: 'no' }));
    expect(wrong).toEqual([400, 3, 'etcdserver: authentication failed, invalid user ID or password']);
    side.client.headers = { authorization: 'nonsense.1' };
    const bad = refusal(await post('/kv/range', range));
    expect(bad).toEqual([401, 16, 'etcdserver: invalid auth token']);
    side.client.headers = {};
    const { token } = (await post('/auth/authenticate', user)).body;
    side.client.headers = { authorization: token as string };
    expect((await post('/kv/range', range)).status).toBe(200);
    const watch = await side.client.stream('/v3/watch', { create_request: { key: key(''), filters: [] } });
    await expect.poll(() => watch.lines[0]).toMatchObject({ result: { created: true } });
    watch.close();
    record('auth', [without, wrong, bad]);
    side.client.headers = {};
  });

  it('reads the error of a stream', async () => {
    side.client.headers = { authorization: 'nonsense.1' };
    const keepalive = await side.client.stream('/v3/lease/keepalive', { ID: lease });
    await expect.poll(() => keepalive.lines.length).toBeGreaterThan(0);
    if (side.name === 'roster') {
      expect(keepalive.lines[0]).toMatchObject({
        error: { grpc_code: 16, http_code: 401, message: 'etcdserver: invalid auth token' },
      });
    }
    side.client.headers = {};
  });
});
