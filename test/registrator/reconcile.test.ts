import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { EtcdClient } from '../../client/api.ts';
import { Client, GrpcStatus } from '../../client/index.ts';
import { otherError } from '../../core/errors.ts';
import { TXN_OPS_MAX } from '../../registrator/plan.ts';
import { Reconciler, type ReconcilerOptions } from '../../registrator/reconcile.ts';
import { type Service, type ServiceChange, serviceKey } from '../../registrator/service.ts';
import { contents, type RunningStore, recordEvents, recordingLog, startRelay, startStore } from './store.ts';
import { eventually, pause } from './wait.ts';

let store: RunningStore;
let client: Client;
let prefix: string;
let round = 0;
const cleanups: (() => unknown)[] = [];

const service = (name: string, port: number, id = `h1:${name}:80`): Service => ({
  id,
  name,
  ip: '10.0.0.1',
  port,
  tags: [],
  attrs: {},
  origin: 'test',
});

interface Running {
  reconciler: Reconciler;
  want(...services: Service[]): Promise<boolean>;
  changes: string[];
  log: ReturnType<typeof recordingLog>;
}

/** A reconciler on a client of its own, so that dropping the client is what SIGKILL would be. */
function run(options: Partial<ReconcilerOptions> = {}, through: EtcdClient = client): Running {
  let services: readonly Service[] = [];
  const changes: string[] = [];
  const log = recordingLog();
  const reconciler = new Reconciler(
    {
      prefix,
      hostname: 'h1',
      ttlSeconds: 15,
      coalesceMs: 5,
      verifyMs: 60_000,
      callTimeoutMs: 3_000,
      sweepUnleased: false,
      ...options,
    },
    {
      client: through,
      log,
      desired: () => new Map(services.map((one) => [serviceKey(prefix, one), one])),
      onChange: ({ kind, service: { name }, value, previous }: ServiceChange) =>
        void changes.push([kind, name, ...(previous === undefined ? [] : [previous]), value].join(' ')),
    },
  );
  reconciler.start();
  cleanups.push(() => reconciler.close());
  return {
    reconciler,
    changes,
    log,
    want(...wanted) {
      services = wanted;
      return reconciler.flush(10_000);
    },
  };
}

function ownClient(endpoint = store.endpoint): Client {
  const own = new Client({ endpoints: [endpoint] });
  cleanups.push(() => own.close());
  return own;
}

describe('the reconciler on a real store', () => {
  beforeAll(async () => {
    store = await startStore();
    client = new Client({ endpoints: [store.endpoint] });
  });
  afterAll(async () => {
    client?.close();
    await store?.stop();
  });
  beforeEach(() => {
    prefix = `/test-${round++}`;
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  it('writes what is desired together, under one lease; then only differences', async () => {
    const { want, changes } = run();
    const before = (await contents(client, prefix)).revision;
    await want(service('a', 1), service('b', 2), { ...service('c', 3), ip: 'fd00::1' });
    const first = await contents(client, prefix);
    expect(first.pairs).toEqual({
      [`${prefix}/a/h1:a:80`]: '10.0.0.1:1',
      [`${prefix}/b/h1:b:80`]: '10.0.0.1:2',
      [`${prefix}/c/h1:c:80`]: '[fd00::1]:3',
    });
    expect(first.revision).toBe(before + 1);
    expect(first.leases.size).toBe(1);
    expect(first.leases.has(0n)).toBe(false);
    await want(service('a', 9), service('b', 2));
    const second = await contents(client, prefix);
    expect(second.pairs).toEqual({ [`${prefix}/a/h1:a:80`]: '10.0.0.1:9', [`${prefix}/b/h1:b:80`]: '10.0.0.1:2' });
    expect(second.revision).toBe(before + 2);
    expect(changes).toEqual([
      'up a 10.0.0.1:1',
      'up b 10.0.0.1:2',
      'up c [fd00::1]:3',
      'down c [fd00::1]:3',
      'moved a 10.0.0.1:1 10.0.0.1:9',
    ]);
  });

  it('T6: writes nothing while nothing changes', async () => {
    const { want, reconciler } = run({ verifyMs: 5 });
    await want(service('a', 1), service('b', 2));
    const { revision } = await contents(client, prefix);
    for (let i = 0; i < 10; i++) {
      reconciler.trigger();
      await pause(20);
    }
    expect((await contents(client, prefix)).revision).toBe(revision);
  });

  it('gathers changes that come together', async () => {
    const { want, reconciler } = run({ coalesceMs: 40 });
    await want();
    const { revision } = await contents(client, prefix);
    const wants = Array.from({ length: 20 }, (_, i) => {
      reconciler.trigger();
      return want(...Array.from({ length: i + 1 }, (_unused, n) => service(`s${n}`, n + 1)));
    });
    await Promise.all(wants);
    const after = await contents(client, prefix);
    expect(Object.keys(after.pairs)).toHaveLength(20);
    expect(after.revision).toBe(revision + 1);
  });

  it('cuts large changes into transactions the store accepts', async () => {
    const { want, changes } = run();
    const many = Array.from({ length: TXN_OPS_MAX * 2 + 1 }, (_, i) => service(`s${i}`, i + 1));
    await want();
    const { revision } = await contents(client, prefix);
    await want(...many);
    expect((await contents(client, prefix)).revision).toBe(revision + 3);
    await want();
    expect(await contents(client, prefix)).toMatchObject({ pairs: {}, revision: revision + 6 });
    expect(changes).toHaveLength(many.length * 2);
  });

  it('puts everything again when the lease is lost, without a change for people', async () => {
    const { want, changes } = run({ verifyMs: 20 });
    await want(service('a', 1), service('b', 2));
    const first = await contents(client, prefix);
    const [lease] = first.leases;
    await client.leaseRevoke(lease!);
    await eventually('registered again', async () => {
      const now = await contents(client, prefix);
      return Object.keys(now.pairs).length === 2 && !now.leases.has(lease!);
    });
    expect((await contents(client, prefix)).pairs).toEqual(first.pairs);
    expect(changes).toEqual(['up a 10.0.0.1:1', 'up b 10.0.0.1:2']);
  });

  it('repairs what somebody removed or wrote over', async () => {
    const { want } = run({ verifyMs: 20 });
    await want(service('a', 1), service('b', 2));
    const first = await contents(client, prefix);
    await client.delete(`${prefix}/a/h1:a:80`);
    await client.put(`${prefix}/b/h1:b:80`, 'nonsense');
    await eventually('repaired', async () => {
      const now = await contents(client, prefix);
      return JSON.stringify(now.pairs) === JSON.stringify(first.pairs) && !now.leases.has(0n);
    });
  });

  it('close takes everything off in one revision', async () => {
    const { want, reconciler, changes } = run();
    await want(service('a', 1), service('b', 2));
    const { revision } = await contents(client, prefix);
    await reconciler.close();
    expect(await contents(client, prefix)).toMatchObject({ pairs: {}, revision: revision + 1 });
    expect(changes.slice(2)).toEqual(['down a 10.0.0.1:1', 'down b 10.0.0.1:2']);
  });

  describe('beside other agents', () => {
    it('leaves keys of others alone, and a contested key to whoever claimed it last', async () => {
      const first = run({ verifyMs: 20 });
      const second = run({ hostname: 'h2', verifyMs: 20 });
      await first.want(service('a', 1, 'same'), service('b', 1));
      await second.want(service('a', 2, 'same'), service('b', 2, 'h2:b:80'));
      await eventually('the first yields', () => first.log.lines.some((line) => line.includes('another agent')));
      const { pairs, revision } = await contents(client, prefix);
      expect(pairs).toEqual({
        [`${prefix}/a/same`]: '10.0.0.1:2',
        [`${prefix}/b/h1:b:80`]: '10.0.0.1:1',
        [`${prefix}/b/h2:b:80`]: '10.0.0.1:2',
      });
      await pause(100);
      expect((await contents(client, prefix)).revision).toBe(revision);
      await second.reconciler.close();
      await eventually('the first has it back', async () => {
        return (await contents(client, prefix)).pairs[`${prefix}/a/same`] === '10.0.0.1:1';
      });
    });

    it('does not delete a key that somebody else has claimed', async () => {
      const first = run();
      const second = run({ hostname: 'h2' });
      await first.want(service('a', 1, 'same'));
      await second.want(service('a', 2, 'same'));
      await first.want();
      expect((await contents(client, prefix)).pairs).toEqual({ [`${prefix}/a/same`]: '10.0.0.1:2' });
    });
  });

  describe('T4: a restart after SIGKILL', () => {
    it('within the TTL shows watchers no deletion; leftovers go once every source has reported', async () => {
      const dead = ownClient();
      const before = run({}, dead);
      await before.want(service('a', 1), service('b', 2), service('old', 3), service('custom', 4, 'custom'));
      const other = run();
      await other.want(service('exec', 5));
      dead.close();
      const stop = new AbortController();
      cleanups.push(() => stop.abort());
      const events = await recordEvents(client, prefix, stop.signal);

      const after = run();
      await after.want(service('a', 1));
      expect((await contents(client, prefix)).pairs).toHaveProperty([`${prefix}/old/h1:old:80`]);
      await after.want(service('a', 1), service('b', 9));
      after.reconciler.sourcesReady();
      await after.want(service('a', 1), service('b', 9));
      await eventually('the last event', () => events.length === 3);
      expect(events).toEqual([
        `put ${prefix}/a/h1:a:80 10.0.0.1:1`,
        `put ${prefix}/b/h1:b:80 10.0.0.1:9`,
        `delete ${prefix}/old/h1:old:80`,
      ]);
      expect((await contents(client, prefix)).pairs).toHaveProperty([`${prefix}/exec/h1:exec:80`]);
    });

    it('keys nobody keeps alive vanish with their lease', async () => {
      const dead = ownClient();
      const before = run({ ttlSeconds: 1 }, dead);
      await before.want(service('a', 1));
      dead.close();
      await eventually('gone', async () => Object.keys((await contents(client, prefix)).pairs).length === 0);
    });
  });

  it.each([true, false])('keys of stock registrator without a TTL: removed %s', async (sweepUnleased) => {
    const mine = `${prefix}/web/h1:web-1:80`;
    const taken = `${prefix}/a/h1:a:80`;
    const others = [`${prefix}/web/h2:web-1:80`, `${prefix}/web/static`];
    for (const key of [mine, taken, ...others]) await client.put(key, '10.0.0.1:1');
    const { want, reconciler } = run({ sweepUnleased });
    await want(service('a', 1));
    reconciler.sourcesReady();
    await want(service('a', 1));
    const left = sweepUnleased ? [taken, ...others] : [taken, mine, ...others];
    expect(Object.keys((await contents(client, prefix)).pairs).sort()).toEqual(left.sort());
  });

  describe('T3: a store that cannot be reached', () => {
    it('at the start: tried until it can', async () => {
      const relay = await startRelay(store.endpoint, false);
      cleanups.push(() => relay.close());
      const { want, log } = run({}, ownClient(relay.endpoint));
      void want(service('a', 1));
      await eventually('a warning', () => log.lines.some((line) => line.startsWith('warn')));
      relay.mend();
      await eventually('registered', async () => Object.keys((await contents(client, prefix)).pairs).length === 1);
    });

    it('mid-life: changes of the meantime are written when it is back', async () => {
      const relay = await startRelay(store.endpoint);
      cleanups.push(() => relay.close());
      const { want, log } = run({}, ownClient(relay.endpoint));
      await want(service('a', 1), service('b', 2));
      relay.cut();
      void want(service('b', 3), service('c', 4));
      await eventually('a warning', () => log.lines.some((line) => line.startsWith('warn')));
      relay.mend();
      const wanted = { [`${prefix}/b/h1:b:80`]: '10.0.0.1:3', [`${prefix}/c/h1:c:80`]: '10.0.0.1:4' };
      await eventually('caught up', async () => {
        return JSON.stringify((await contents(client, prefix)).pairs) === JSON.stringify(wanted);
      });
    });

    it('longer than the TTL: everything is registered again', async () => {
      const relay = await startRelay(store.endpoint);
      cleanups.push(() => relay.close());
      const { want } = run({ ttlSeconds: 1 }, ownClient(relay.endpoint));
      await want(service('a', 1));
      relay.cut();
      await eventually('expired', async () => Object.keys((await contents(client, prefix)).pairs).length === 0);
      relay.mend();
      await eventually('back', async () => Object.keys((await contents(client, prefix)).pairs).length === 1);
    });

    it('close does not wait for it for ever', async () => {
      const relay = await startRelay(store.endpoint);
      cleanups.push(() => relay.close());
      const { want, reconciler, log } = run({ callTimeoutMs: 100 }, ownClient(relay.endpoint));
      await want(service('a', 1));
      relay.cut();
      await reconciler.close();
      expect(log.lines).toContain('warn could not deregister; the keys vanish when their lease runs out');
    });
  });

  it('a write whose answer was lost is neither forgotten nor left behind', async () => {
    let lose = 0;
    const lossy = new Proxy<EtcdClient>(client, {
      get(target, name: keyof EtcdClient) {
        if (name !== 'txn') return target[name].bind(target);
        return async (...args: Parameters<EtcdClient['txn']>) => {
          const response = await target.txn(...args);
          if (lose > 0 && lose--) throw otherError(GrpcStatus.UNAVAILABLE, 'the answer was lost');
          return response;
        };
      },
    });
    const { want, changes } = run({}, lossy);
    await want();
    lose = 1;
    await want(service('a', 1));
    expect((await contents(client, prefix)).pairs).toEqual({ [`${prefix}/a/h1:a:80`]: '10.0.0.1:1' });
    lose = 1;
    const pending = want(service('a', 1), service('b', 2));
    await eventually('the loss', () => lose === 0);
    await want(service('a', 1));
    await pending;
    expect((await contents(client, prefix)).pairs).toEqual({ [`${prefix}/a/h1:a:80`]: '10.0.0.1:1' });
    expect(changes[0]).toBe('up a 10.0.0.1:1');
  });
});
