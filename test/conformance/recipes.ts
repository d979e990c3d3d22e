import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  acquireLock,
  atomically,
  byteStringToUtf8,
  Client,
  campaign,
  Gate,
  type KeyValue,
  leaderOf,
  meet,
  observe,
  publish,
  Queue,
  subscribe,
  type TopicItem,
  tryLock,
  withLock,
} from '../../client/index.ts';
import { type Store, textOf } from './client.ts';

/** The recipes, on every server that the client works with. */
export function recipesSuite(startStore: () => Promise<Store>): void {
  let store: Store;
  const clients: Client[] = [];
  const connect = (): Client => {
    const client = new Client({ endpoints: [store.endpoint], timeoutMs: 30_000 });
    clients.push(client);
    return client;
  };
  beforeAll(async () => {
    store = await startStore();
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
  });
  afterAll(() => store?.stop());
  const countUnder = async (client: Client, prefix: string) => (await client.getPrefix(prefix)).kvs.length;

  describe('a lock', () => {
    it('is held by one at a time, in the order of asking, with growing revisions', async () => {
      const revisions: number[] = [];
      let inside = 0;
      await Promise.all(
        Array.from({ length: 12 }, () =>
          withLock(connect(), 'lock/one', async ({ revision }) => {
            expect(++inside).toBe(1);
            revisions.push(revision);
            await new Promise((resolve) => setTimeout(resolve, 3));
            inside--;
          }),
        ),
      );
      expect(revisions).toEqual([...revisions].sort((a, b) => a - b));
      expect(new Set(revisions).size).toBe(12);
      expect(await countUnder(connect(), 'lock/one/')).toBe(0);
    });

    it('goes to the next when its holder is gone, and tells a holder whose lease is revoked', async () => {
      const client = connect();
      const dying = connect();
      const held = await acquireLock(dying, 'lock/dies', { ttlSeconds: 1 });
      const next = acquireLock(client, 'lock/dies');
      // No keep-alive from here on: as if its process had been killed.
      dying.close();
      const after = await next;
      expect(after.revision).toBeGreaterThan(held.revision);
      const lost = new Promise((resolve) => after.lost.addEventListener('abort', resolve));
      await client.leaseRevoke((await client.get(after.key))!.lease);
      await lost;
    });

    it('is not waited for by who tries, and leaves no place behind when the wait is given up', async () => {
      const client = connect();
      const held = (await tryLock(client, 'lock/try'))!;
      expect(await tryLock(client, 'lock/try')).toBeUndefined();
      const wait = acquireLock(client, 'lock/try', { signal: AbortSignal.timeout(300) });
      await expect(wait).rejects.toMatchObject({ name: 'TimeoutError' });
      expect(await countUnder(client, 'lock/try/')).toBe(1);
      await held.release();
      expect(await tryLock(client, 'lock/try')).toBeDefined();
    });
  });

  describe('an election', () => {
    it('has one leader at a time; observers see each, and what it proclaims', async () => {
      const watcher = connect();
      const ended = new AbortController();
      const seen: (string | undefined)[] = [];
      const watching = (async () => {
        for await (const leader of observe(watcher, 'elect/a', ended.signal)) {
          seen.push(leader && textOf(leader.value));
        }
      })();
      await expect.poll(() => seen).toEqual([undefined]);
      const first = await campaign(connect(), 'elect/a', 'one');
      const second = campaign(connect(), 'elect/a', 'two');
      await expect.poll(() => seen).toEqual([undefined, 'one']);
      await first.proclaim('one again');
      expect(textOf((await leaderOf(watcher, 'elect/a'))!.value)).toBe('one again');
      await expect.poll(() => seen.at(-1)).toBe('one again');
      // Or nobody would lead for a moment.
      await expect.poll(() => countUnder(watcher, 'elect/a/')).toBe(2);
      await first.resign();
      const led = await second;
      expect(led.revision).toBeGreaterThan(first.revision);
      await expect(first.proclaim('too late')).rejects.toMatchObject({ code: 'LeaseNotFound' });
      await expect.poll(() => seen.at(-1)).toBe('two');
      await led.resign();
      await expect.poll(() => seen.at(-1)).toBeUndefined();
      ended.abort();
      await watching;
      expect(seen).toEqual([undefined, 'one', 'one again', 'two', undefined]);
    });
  });

  describe('a queue', () => {
    it('gives each item to one consumer, those of one producer in order', async () => {
      const PRODUCERS = 4;
      const ITEMS = 25;
      const taken: KeyValue[][] = [];
      const consumers = Array.from({ length: 4 }, async () => {
        const queue = new Queue(connect(), 'queue/a');
        const own: KeyValue[] = [];
        taken.push(own);
        for (;;) {
          const item = await queue.take();
          if (textOf(item.value) === 'end') return;
          own.push(item);
        }
      });
      const producing = Array.from({ length: PRODUCERS }, async (_, producer) => {
        const queue = new Queue(connect(), 'queue/a');
        for (let item = 0; item < ITEMS; item++) await queue.put(`${producer}:${item}`);
      });
      await Promise.all(producing);
      const queue = new Queue(connect(), 'queue/a');
      for (let i = 0; i < consumers.length; i++) await queue.put('end');
      await Promise.all(consumers);
      const all = taken.flat().map(({ value }) => textOf(value));
      expect(all).toHaveLength(PRODUCERS * ITEMS);
      expect(new Set(all).size).toBe(PRODUCERS * ITEMS);
      // Whoever takes several from one producer takes them in order.
      for (const own of taken) {
        for (let producer = 0; producer < PRODUCERS; producer++) {
          const numbers = own
            .map(({ value }) => textOf(value).split(':').map(Number))
            .filter(([from]) => from === producer)
            .map(([, number]) => number!);
          expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
        }
      }
      expect(await queue.size()).toBe(0);
    });

    it('waits for an item, and gives the wait up', async () => {
      const queue = new Queue(connect(), 'queue/b');
      const waiting = queue.take();
      await queue.put('late');
      expect(textOf((await waiting).value)).toBe('late');
      await expect(queue.take({ signal: AbortSignal.timeout(200) })).rejects.toMatchObject({ name: 'TimeoutError' });
    });
  });

  describe('barriers', () => {
    it('a gate lets nobody pass while it is shut', async () => {
      const gate = new Gate(connect(), 'gate/a');
      await gate.pass();
      await gate.shut();
      await gate.shut();
      const passed: number[] = [];
      const passing = [1, 2, 3].map(async (i) => {
        await new Gate(connect(), 'gate/a').pass();
        passed.push(i);
      });
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(passed).toEqual([]);
      await gate.open();
      await Promise.all(passing);
      await gate.pass();
    });

    it('a meeting begins when all are there and ends when all have left', async () => {
      const events: string[] = [];
      const one = async (name: string, workMs: number) => {
        const participant = await meet(connect(), 'meet/a', 3);
        events.push('in');
        await new Promise((resolve) => setTimeout(resolve, workMs));
        events.push(`done ${name}`);
        await participant.leave();
        events.push('out');
      };
      const two = [one('a', 1), one('b', 150)];
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(events).toEqual([]);
      await Promise.all([...two, one('c', 30)]);
      expect(events.slice(0, 1)).toEqual(['in']);
      expect(events.filter((event) => event === 'in')).toHaveLength(3);
      expect(events.slice(-3)).toEqual(['out', 'out', 'out']);
      expect(await countUnder(connect(), 'meet/a/')).toBe(0);
    });
  });

  describe('a topic', () => {
    it('brings every message once, in order, and goes on where a subscriber has stopped', async () => {
      const client = connect();
      const first = await publish(client, 'topic/a', '0');
      for (let i = 1; i < 10; i++) await publish(client, 'topic/a', String(i));
      const read = async (count: number, afterRevision: number) => {
        const ended = new AbortController();
        const items: TopicItem[] = [];
        for await (const item of subscribe(client, 'topic/a', ended.signal, afterRevision)) {
          items.push(item);
          if (items.length === count) break;
        }
        return items;
      };
      const texts = (items: TopicItem[]) => items.map((item) => (item.kind === 'gap' ? 'gap' : textOf(item.value)));
      const some = await read(4, first);
      expect(texts(some)).toEqual(['1', '2', '3', '4']);
      expect(texts(await read(5, some.at(-1)!.revision))).toEqual(['5', '6', '7', '8', '9']);
      await client.compact(first + 6);
      expect(texts(await read(4, first))).toEqual(['gap', '7', '8', '9']);
    });
  });

  describe('atomically', () => {
    it('moves what many move at once, and loses nothing', async () => {
      const accounts = ['stm/a', 'stm/b', 'stm/c'];
      const client = connect();
      for (const account of accounts) await client.put(account, '100');
      const move = (from: string, to: string) =>
        atomically(connect(), async (memory) => {
          const left = Number(textOf(await memory.get(from))) - 1;
          memory.put(from, String(left));
          memory.put(to, String(Number(textOf(await memory.get(to))) + 1));
        });
      const moves = Array.from({ length: 30 }, (_, i) => move(accounts[i % 3]!, accounts[(i + 1) % 3]!));
      await Promise.all(moves);
      const { kvs } = await client.getPrefix('stm/');
      expect(kvs.map(({ key, value }) => [byteStringToUtf8(key), textOf(value)])).toEqual([
        ['stm/a', '100'],
        ['stm/b', '100'],
        ['stm/c', '100'],
      ]);
      expect(kvs.reduce((sum, { version }) => sum + version, 0)).toBe(3 + 60);
    });

    it('reads its own writes, and deletes', async () => {
      const client = connect();
      const seen = await atomically(client, async (memory) => {
        memory.put('stm2/x', '1');
        const own = textOf(await memory.get('stm2/x'));
        memory.delete('stm2/x');
        return [own, await memory.get('stm2/x'), await memory.get('stm2/none')];
      });
      expect(seen).toEqual(['1', undefined, undefined]);
      const never = atomically(
        client,
        async (memory) => {
          await memory.get('stm2/y');
          await client.put('stm2/y', 'moved');
          memory.put('stm2/y', 'mine');
        },
        { attemptsMax: 2 },
      );
      await expect(never).rejects.toThrow('in each of 2 attempts');
    });
  });
}
