import { describe } from 'vitest';
import { clientSuite, type Store } from '../conformance/client.ts';
import { startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { startRoster } from '../support/roster.ts';
import { proxyOf } from './start.ts';

/** What every store must give our client, a store behind the proxy gives, too. What is killed is the store. */
async function behindProxy(start: () => Promise<Store>, ...args: string[]): Promise<Store> {
  const store = await start();
  const proxy = await proxyOf(store.endpoint, '--advertise-client-url', '', ...args);
  return {
    endpoint: proxy.endpoint,
    kill: () => store.kill(),
    start: () => store.start(),
    async stop() {
      await proxy.close();
      await store.stop();
    },
  };
}

const etcd = findPeer('etcd');

describe('the client in a namespace of Roster behind the proxy', () => {
  clientSuite(() => behindProxy(startRoster, '--namespace', 'tenants/a/'));
});

describe.skipIf(etcd === undefined)('the client against etcd behind the proxy', () => {
  clientSuite(() => behindProxy(() => startEtcd(etcd)));
});
