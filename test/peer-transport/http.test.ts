import { afterEach, describe, expect, it } from 'vitest';
import { RosterError, rosterError } from '../../core/errors.ts';
import { LANE_PATHS } from '../../server/peer/handshake.ts';
import { PEER_DEFAULTS } from '../../server/peer/limits.ts';
import { fetchHash, fetchMembers, fetchVersion } from '../../server/peer/peer-client.ts';
import { CLUSTER, closeAll, startMember, startTcp } from './rig.ts';

afterEach(closeAll);

const BIG = 0xfedc_ba98_7654_3211n;
const members = [
  { ID: 5n, name: '', peerURLs: ['http://a:2380'], clientURLs: [], isLearner: true },
  {
    ID: BIG,
    name: 'the "id":77, {one}',
    peerURLs: ['http://b:2380', 'http://c:2380'],
    clientURLs: ['http://b:2379'],
    isLearner: false,
  },
];

/** Answers every connection with these bytes, whatever it asks. */
async function answering(body: string, head = 'HTTP/1.1 200 OK\r\nX-Etcd-Cluster-ID: 1f\r\n'): Promise<string> {
  const text = `${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  const { url } = await startTcp((socket) => socket.once('data', () => socket.end(text)));
  return url;
}

const fails = (urls: string[], timeoutMs = 10_000) => fetchMembers(urls, { timeoutMs }).catch((error: Error) => error);

describe('the plain HTTP of a member', () => {
  it('tells versions, members and health as etcd does', async () => {
    const one = await startMember(1n, { members: () => members });
    const version = await fetch(`${one.url}/version`);
    expect(await version.json()).toEqual({ etcdserver: '3.7.1', etcdcluster: '3.7.0', storage: '3.7.0' });
    const answer = await fetch(`${one.url}/members`);
    expect(answer.headers.get('X-Etcd-Cluster-ID')).toBe('c1a5');
    expect(answer.headers.get('Content-Type')).toBe('application/json');
    expect(await answer.text()).toBe(
      '[{"id":5,"peerURLs":["http://a:2380"],"isLearner":true},{"id":18364758544493064721,"peerURLs":["http://b:2380","http://c:2380"],"name":"the \\"id\\":77, {one}","clientURLs":["http://b:2379"]}]\n',
    );
    const health = await fetch(`${one.url}/health`);
    expect([health.status, await health.json()]).toEqual([200, { health: 'true', reason: '' }]);
  });

  it('tells the hash of its keys at a revision, or why there is none', async () => {
    const answer = { hash: 0xffff_ffff, revision: 7, compactRevision: -1, currentRevision: 9 };
    const one = await startMember(1n, {
      hashKv: (revision) => (revision === 7 ? Promise.resolve(answer) : Promise.reject(rosterError('Compacted'))),
    });
    const other = await startMember(2n);
    expect(await fetchHash([other.url, one.url], 7, { timeoutMs: 10_000 })).toEqual(answer);
    await expect(fetchHash([one.url], 3, { timeoutMs: 10_000 })).rejects.toThrow('has been compacted');
    await expect(fetchHash([other.url], 7, { timeoutMs: 10_000 })).rejects.toThrow('status 404');
    expect((await fetch(`${one.url}/members/hashkv?revision=x`)).status).toBe(404);
    const strange = await answering('{"hash":"1"}');
    await expect(fetchHash([strange], 7, { timeoutMs: 10_000 })).rejects.toThrow('not the answer of a member');
  });

  it('says when it is not well, and what is not there', async () => {
    const one = await startMember(1n, {
      health: () => Promise.resolve('RAFT NO LEADER'),
      members: () => {
        throw new Error('a bug');
      },
    });
    const health = await fetch(`${one.url}/health`);
    expect([health.status, await health.json()]).toEqual([503, { health: 'false', reason: 'RAFT NO LEADER' }]);
    const statusOf = async (path: string, method = 'GET') => (await fetch(`${one.url}${path}`, { method })).status;
    expect(await statusOf('/members')).toBe(500);
    expect(one.log).toContainEqual(expect.objectContaining({ msg: 'a request of a member failed' }));
    expect(await statusOf('/members', 'POST')).toBe(405);
    expect(await statusOf('/raft')).toBe(404);
    expect(await statusOf('/v3/kv/range', 'POST')).toBe(404);
    expect(await statusOf(LANE_PATHS.stream)).toBe(426);
  });
});

describe('asking a cluster', () => {
  it('gives its id and its members, with all 64 bits', async () => {
    const one = await startMember(1n, { members: () => members });
    expect(await fetchMembers([one.url], { timeoutMs: 10_000 })).toEqual({ clusterId: CLUSTER, members });
    expect(await fetchVersion([one.url], { timeoutMs: 10_000 })).toEqual({
      etcdserver: '3.7.1',
      etcdcluster: '3.7.0',
      storage: '3.7.0',
    });
  });

  it('asks one after the other until one answers', async () => {
    const { url: silent } = await startTcp(() => {});
    const refusing = await answering('not now\n', 'HTTP/1.1 503 Service Unavailable\r\n');
    const one = await startMember(1n, { members: () => members });
    const dead = 'http://127.0.0.1:1';
    expect((await fetchMembers([dead, refusing, one.url], { timeoutMs: 10_000 })).members).toEqual(members);
    expect((await fetchMembers([silent, one.url], { timeoutMs: 2000 })).members).toEqual(members);
    const error = (await fails([dead, refusing])) as RosterError;
    expect(error).toBeInstanceOf(RosterError);
    expect(error.message).toBe(
      `no member answers: ${dead}: connect ECONNREFUSED 127.0.0.1:1; ${refusing}: status 503: not now`,
    );
    expect(((await fails([silent], 50)) as Error).message).toBe(`no member answers: ${silent}: no answer within 50 ms`);
    expect(((await fails([])) as Error).message).toBe('no member answers: there is no URL to ask');
  });

  it('takes no answer that is none', async () => {
    const wrong = [
      'hello',
      '{}',
      '[{"peerURLs":[]}]',
      '[{"id":"x","peerURLs":[]}]',
      '[{"id":0,"peerURLs":[]}]',
      '[{"id":18446744073709551616,"peerURLs":[]}]',
      '[{"id":123456789012345678901,"peerURLs":[]}]',
      '[{"id":1,"peerURLs":"http://a"}]',
      '[{"id":1,"peerURLs":[],"isLearner":"yes"}]',
    ];
    for (const body of wrong) {
      const url = await answering(body);
      expect([body, ((await fails([url])) as Error).message]).toEqual([
        body,
        `no member answers: ${url}: not the answer of a member`,
      ]);
    }
    const anonymous = await answering('[]', 'HTTP/1.1 200 OK\r\n');
    expect(((await fails([anonymous])) as Error).message).toMatch(/an answer without x-etcd-cluster-id$/);
    expect(await fails([await answering('[{"id":3,"peerURLs":[],"more":{}}]')])).toMatchObject({ clusterId: 0x1fn });
  });

  it('takes no more than the limit', async () => {
    const padded = (bytes: number) => `[${' '.repeat(bytes - 2)}]`;
    expect(await fails([await answering(padded(PEER_DEFAULTS.answerBytesMax))])).toEqual({
      clusterId: 0x1fn,
      members: [],
    });
    const error = (await fails([await answering(padded(PEER_DEFAULTS.answerBytesMax + 1))])) as Error;
    expect(error.message).toMatch(/an answer of more than 1048576 bytes$/);
  });

  it('ends with its signal, and is not kept by an answer that never ends', async () => {
    const { url } = await startTcp((socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n['));
    expect(((await fails([url], 50)) as Error).message).toBe(`no member answers: ${url}: no answer within 50 ms`);
    const stop = new AbortController();
    const asking = fetchMembers([url, url], { timeoutMs: 10_000, signal: stop.signal }).catch((error: Error) => error);
    stop.abort(new Error('stopped'));
    expect(await asking).toEqual(new Error('stopped'));
  });
});
