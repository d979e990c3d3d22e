import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../client/index.ts';
import { type RunningCluster, type RunningMember, startCluster } from '../support/roster.ts';
import { type Json, Side } from './side.ts';

/** v2 on three members: through followers, and across a change of leaders. */

let cluster: RunningCluster;
let client: Client;
let sides: Side[];

beforeAll(async () => {
  cluster = await startCluster(3);
  client = new Client({ endpoints: cluster.endpoints });
  sides = cluster.endpoints.map((endpoint, i) => new Side(`m${i + 1}`, endpoint));
}, 120_000);
afterAll(async () => {
  client?.close();
  for (const side of sides ?? []) side.close();
  await cluster?.stop();
});

const LIMIT_MS = 60_000;

async function form(side: Side, method: string, path: string, body?: string): Promise<Json> {
  return JSON.parse((await side.keys({ method, path, ...(body === undefined ? {} : { body }) })).text) as Json;
}

/** Repeats what fails while the cluster has no leader. */
async function eventually<T>(what: () => Promise<T>, good: (result: T) => boolean): Promise<T> {
  const deadline = Date.now() + LIMIT_MS;
  for (;;) {
    const result = await what().catch((error: unknown) => error as T);
    if (!(result instanceof Error) && good(result)) return result;
    if (Date.now() > deadline) throw new Error(`it did not come to it: ${JSON.stringify(result)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function leaderAt(): Promise<number> {
  for (const [i, endpoint] of cluster.endpoints.entries()) {
    const status = await client.status(endpoint).catch(() => undefined);
    if (status !== undefined && status.leader === status.header!.member_id) return i;
  }
  return -1;
}

const known = () => eventually(leaderAt, (leader) => leader >= 0);

/** The leader goes for good; two sides that stay. */
async function withoutLeader(run: (member: RunningMember, left: Side[]) => Promise<void>): Promise<void> {
  const at = await known();
  const member = cluster.members[at]!;
  await run(
    member,
    sides.filter((_, i) => i !== at),
  );
  await member.start();
}

describe('v2 on three members', () => {
  it('writes through every member, and reads with quorum what another has acknowledged', async () => {
    for (const [i, side] of sides.entries()) {
      const written = await form(side, 'PUT', `/through/${i}`, `value=${i}`);
      expect(written).toMatchObject({ action: 'set', node: { value: `${i}` } });
      for (const other of sides)
        expect(await form(other, 'GET', `/through/${i}?quorum=true`)).toMatchObject({ node: written.node as Json });
    }
    const conflict = await Promise.all(
      sides.map((side, i) => form(side, 'PUT', '/through/one?prevExist=false', `value=${i}`)),
    );
    expect(conflict.filter(({ action }) => action === 'create')).toHaveLength(1);
    expect(conflict.filter(({ errorCode }) => errorCode === 105)).toHaveLength(2);
  });

  it('tells a wait at one member of what is written at another', async () => {
    const waits = await Promise.all(sides.map((side) => side.wait('/told?wait=true&recursive=true')));
    await form(sides[0]!, 'POST', '/told', 'value=1');
    for (const wait of waits) expect(await wait.until(() => wait.ended)).toBe(true);
    expect(waits.map(({ lines }) => lines)).toEqual(sides.map(() => waits[0]!.lines));
    expect(waits[0]!.lines).toMatchObject([{ action: 'create', node: { value: '1' } }]);
  });

  it('knows who leads', async () => {
    const at = await known();
    const answers = await Promise.all(sides.map((side) => side.ask('GET', '/v2/stats/leader')));
    expect(answers.map(({ status }) => status)).toEqual(sides.map((_, i) => (i === at ? 200 : 403)));
    const { leader, followers } = JSON.parse(answers[at]!.text) as { leader: string; followers: object };
    expect(Object.keys(followers)).toHaveLength(2);
    for (const side of sides) {
      expect(JSON.parse((await side.ask('GET', '/v2/members/leader')).text)).toMatchObject({ id: leader });
    }
    expect((await sides[0]!.ask('GET', '/v2/machines')).text.split(', ').sort()).toEqual(
      cluster.endpoints.map((endpoint) => `http://${endpoint}`).sort(),
    );
  });

  it('goes on across a change of leaders: events, TTLs, comparisons', { timeout: 4 * LIMIT_MS }, async () => {
    await withoutLeader(async (leader, left) => {
      const [one, two] = left as [Side, Side];
      const wait = await one.wait('/over?wait=true&recursive=true&stream=true');
      const ofV3 = await one.wait('/over-v3?wait=true');
      await form(one, 'PUT', '/over/dir?dir=true&ttl=3');
      await form(one, 'PUT', '/over/dir/a', 'value=1');
      await form(one, 'PUT', '/over/dir/b/c', 'value=1');
      await form(one, 'PUT', '/over/gone', 'value=1&ttl=3');
      const { node } = (await form(one, 'PUT', '/over/swap', 'value=1')) as { node: { modifiedIndex: number } };
      await leader.kill();
      const swapped = () => form(two, 'PUT', `/over/swap?prevIndex=${node.modifiedIndex}`, 'value=2');
      // Whatever became of the first try: it was made at most once.
      const settled = await eventually(swapped, ({ action, errorCode }) => action !== undefined || errorCode === 101);
      expect(settled).toMatchObject(
        settled.action === undefined ? { errorCode: 101 } : { action: 'compareAndSwap', node: { value: '2' } },
      );
      const endpoint = two.base.slice('http://'.length);
      await eventually(
        () => client.put('/over-v3', 'by v3', { endpoint }),
        () => true,
      );
      expect(await ofV3.until(() => ofV3.ended, LIMIT_MS)).toBe(true);
      expect(ofV3.lines).toMatchObject([{ action: 'set', node: { value: 'by v3' } }]);

      const ends = () => wait.lines.filter(({ action }) => action === 'expire');
      expect(await wait.until(() => ends().length >= 2, LIMIT_MS)).toBe(true);
      expect(
        ends()
          .map((line) => (line.node as Json).key)
          .sort(),
      ).toEqual(['/over/dir', '/over/gone']);
      expect(wait.lines.map(({ action }) => action).filter((action) => action === 'compareAndSwap')).toHaveLength(1);
      for (const side of left) {
        expect(await form(side, 'GET', '/over?quorum=true')).toMatchObject({
          node: { nodes: [{ key: '/over/swap' }] },
        });
      }
      wait.close();
    });
  });

  it('took a directory with all that was in it, in one revision', async () => {
    const events = client.watch('/over/dir', { prefix: true, start_revision: 1 });
    const deletes = new Map<string, number>();
    for await (const item of events) {
      if (!('events' in item)) continue;
      for (const { type, kv } of item.events) if (type === 1) deletes.set(kv!.key, item.revision);
      if (deletes.size >= 2) break;
    }
    expect([...deletes.keys()].sort()).toEqual(['/over/dir/a', '/over/dir/b/c']);
    expect(new Set(deletes.values()).size).toBe(1);
  });

  it('posts in order across a change of leaders: nothing acknowledged is lost', { timeout: 4 * LIMIT_MS }, async () => {
    const acknowledged = new Map<string, string>();
    await withoutLeader(async (leader, left) => {
      let over = false;
      const post = async (side: Side, who: number) => {
        for (let i = 0; !over; i++) {
          const value = `${who}.${i}`;
          const { node } = (await form(side, 'POST', '/queue', `value=${value}`).catch(() => ({}))) as {
            node?: { key: string; value: string };
          };
          if (node !== undefined) acknowledged.set(node.key, node.value);
        }
      };
      const posting = Promise.all(Array.from({ length: 10 }, (_, who) => post(left[who % 2]!, who)));
      await eventually(
        async () => acknowledged.size,
        (size) => size > 50,
      );
      await leader.kill();
      const before = acknowledged.size;
      await eventually(
        async () => acknowledged.size,
        (size) => size > before + 50,
      );
      over = true;
      await posting;
    });
    for (const side of sides) {
      const { node } = (await form(side, 'GET', '/queue?quorum=true&sorted=true')) as {
        node: { nodes: { key: string; value: string }[] };
      };
      const found = new Map(node.nodes.map(({ key, value }) => [key, value]));
      for (const [key, value] of acknowledged) expect(found.get(key)).toBe(value);
      expect(new Set(found.values()).size).toBe(found.size);
    }
  });
});
