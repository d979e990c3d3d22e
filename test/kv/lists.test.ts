import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CHILDREN_PIECE_MAX } from '../../server/kv/children-call.ts';
import { TestMember } from '../auth/member.ts';
import { Lines, send } from './door.ts';

let member: TestMember;
beforeAll(async () => {
  member = await TestMember.start();
});
afterAll(() => member.stop());

interface Body {
  kvs: { key: string; value?: string }[];
  children: { name: string; key?: string; prefix?: string; path: string; keys?: number }[];
  count: number;
  more: boolean;
  next?: string;
  revision: number;
  code?: string;
}

async function get(path: string, headers: Record<string, string> = {}): Promise<Body> {
  return (await send(member.url, path, { headers })).json as unknown as Body;
}

async function putAll(keys: Iterable<string>, value = ''): Promise<void> {
  const puts = [...keys].map((key) => ({ request_put: { key, value: Buffer.from(value) } }));
  for (let i = 0; i < puts.length; i += 100) {
    await member.ok('/etcdserverpb.KV/Txn', { compare: [], success: puts.slice(i, i + 100), failure: [] });
  }
}

describe('a list', () => {
  it('comes in pages of one revision, whatever is written meanwhile', async () => {
    const keys = Array.from({ length: 25 }, (_, i) => `page/${String(i).padStart(2, '0')}`);
    await putAll(keys, 'v');
    const seen: string[] = [];
    let page = await get('/kv/page/?prefix&limit=10');
    const { revision } = page;
    for (;;) {
      seen.push(...page.kvs.map(({ key }) => key));
      expect(page).toMatchObject({ revision, count: 25 - seen.length + page.kvs.length });
      if (!page.more) break;
      await putAll([`page/05x${seen.length}`, 'page/20']);
      page = await get(`/kv/page/?prefix&limit=10&cursor=${page.next}`);
    }
    expect(seen).toEqual(keys);
    expect(page.next).toBeUndefined();
    expect((await get('/kv/page/?prefix&limit=25')).more).toBe(true);
    const whole = await get(`/kv/page/?prefix&limit=25&rev=${revision}`);
    expect([whole.kvs.length, whole.more]).toEqual([25, false]);
  });

  it('refuses cursors that are none of it, and says when its revision is gone', async () => {
    const { next, revision } = await get('/kv/page/?prefix&limit=1');
    for (const wrong of [`other/?prefix&cursor=${next}`, 'page/?prefix&cursor=x', 'page/?prefix&cursor=0.YQ']) {
      expect((await get(`/kv/${wrong}`)).code, wrong).toBe('BadParameter');
    }
    expect((await get(`/kv/page/?prefix&rev=5&cursor=${next}`)).code).toBe('BadParameter');
    expect((await get(`/kv/page/?prefix&sort=mod&cursor=${next}`)).code).toBe('BadParameter');
    await putAll(['page/00']);
    await member.ok('/etcdserverpb.KV/Compact', { revision: revision + 1 });
    expect((await get(`/kv/page/?prefix&cursor=${next}`)).code).toBe('Compacted');
  });

  it('is sorted, counted, without values, or in lines', async () => {
    await putAll(['s/a'], '3');
    await putAll(['s/b'], '1');
    await putAll(['s/c'], '2');
    await putAll(['s/a'], '3');
    const order = async (query: string) =>
      (await get(`/kv/s/?prefix&${query}`)).kvs.map(({ key }) => key.slice(2)).join('');
    expect(await order('sort=value')).toBe('bca');
    expect(await order('sort=value&order=desc&limit=2')).toBe('ac');
    expect(await order('sort=mod')).toBe('bca');
    expect(await order('sort=create')).toBe('abc');
    expect(await order('sort=version&order=desc')).toBe('abc');
    expect(await order('order=desc')).toBe('cba');
    expect(await order('sort=key&order=asc&limit=2')).toBe('ab');
    expect(await get('/kv/s/?prefix&count')).toMatchObject({ count: 3 });
    expect((await get('/kv/s/?prefix&keys-only')).kvs.map((kv) => 'value' in kv)).toEqual([false, false, false]);
    const lines = await send(member.url, '/kv/s/?prefix', { headers: { Accept: 'application/x-ndjson' } });
    expect(lines.headers['content-type']).toBe('application/x-ndjson');
    const parsed = lines.text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Body);
    expect(parsed).toMatchObject([{ key: 's/a' }, { key: 's/b' }, { key: 's/c' }, { count: 3, more: false }]);
    expect(await get('/kv/none/?prefix')).toMatchObject({ kvs: [], count: 0, more: false });
  });

  it('that is large waits for its reader, and goes on', async () => {
    const keys = Array.from({ length: 2000 }, (_, i) => `large/${i}`);
    await putAll(keys, 'x'.repeat(10_000));
    const reader = new Lines(member.url, '/kv/large/?prefix', { Accept: 'application/x-ndjson' });
    const response = await reader.response;
    response.pause();
    await new Promise((resolve) => setTimeout(resolve, 300));
    // The rest is not in anybody's memory: it is not yet read.
    expect(reader.lines.length).toBeLessThan(1500);
    // Nobody else waits for it.
    expect((await get('/kv/large/1?prefix&count')).count).toBe(1111);
    response.resume();
    await expect.poll(() => reader.over).toBe(true);
    const kvs = reader.messages.slice(0, -1).map(({ key }) => key);
    expect(kvs).toEqual([...keys].sort());
  });
});

describe('?children', () => {
  it('gives one level, in pages of one revision', async () => {
    await putAll(['c/1/a', 'c/1/b', 'c/2', 'c/3/x/y', 'c/4', 'c/%', 'cx']);
    const all = await get('/kv/c?children');
    expect(all.children.map(({ name, keys }) => [name, keys])).toEqual([
      ...[
        ['%', undefined],
        ['1/', 2],
        ['2', undefined],
        ['3/', 1],
        ['4', undefined],
      ],
    ]);
    expect(await get('/kv/c/?children')).toEqual(all);
    for (const child of all.children) {
      if (child.key !== undefined) expect((await send(member.url, child.path)).status, child.path).toBe(200);
      else expect((await get(`${child.path}?prefix&count`)).count).toBe(child.keys);
    }
    const names: string[] = [];
    let page = await get('/kv/c?children&limit=2');
    for (;;) {
      names.push(...page.children.map(({ name }) => name));
      expect(page).toMatchObject({ revision: all.revision, more: page.next !== undefined });
      if (page.next === undefined) break;
      await putAll(['c/0', 'c/31', 'c/9/9']);
      page = await get(`/kv/c?children&limit=2&cursor=${page.next}`);
    }
    expect(names).toEqual(['%', '1/', '2', '3/', '4']);
    expect((await get(`/kv/c?children&rev=${all.revision}`)).children.map(({ name }) => name)).toEqual(names);
    expect((await get('/kv/c?children&limit=100')).children.length).toBe(8);
  });

  it('takes any delimiter, and the whole key space', async () => {
    await putAll(['d.a.b', 'd.c', 'd.a.d']);
    expect((await get('/kv/d?children&delimiter=.')).children).toMatchObject([
      { name: 'a.', prefix: 'd.a.', keys: 2 },
      { name: 'c', key: 'd.c' },
    ]);
    expect((await get('/kv/?children')).children.map(({ name }) => name)).toContain('c/');
    expect((await get('/kv/nothing/here?children')).children).toEqual([]);
    expect((await get('/kv/d?children&prefix')).code).toBe('BadParameter');
  });

  it('gives more than one piece', async () => {
    const keys = Array.from({ length: 2 * CHILDREN_PIECE_MAX + 1 }, (_, i) => `many/${String(i).padStart(5, '0')}`);
    await putAll(keys);
    const lines = await send(member.url, '/kv/many?children', { headers: { Accept: 'application/x-ndjson' } });
    const parsed = lines.text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { key?: string });
    expect(parsed.map(({ key }) => key)).toEqual([...keys, undefined]);
    const exact = await get(`/kv/many?children&limit=${keys.length}`);
    expect([exact.children.length, exact.more]).toEqual([keys.length, false]);
  });
});
