import type { EtcdClient, WatchItem } from '../../client/api.ts';

/** A client whose watches can be held back, and whose lists can fail: the network between a real store and the mirror. */
export interface StallingClient extends EtcdClient {
  /** Watches whose range starts with this text deliver nothing until `release`. */
  hold(start: string): void;
  release(): void;
  /** The next `count` range calls reject. */
  failRanges(count: number): void;
  readonly ranges: number;
}

export function stalling(client: EtcdClient): StallingClient {
  let held: string | undefined;
  let failures = 0;
  let ranges = 0;
  let waiting: (() => void)[] = [];
  const passage = async (start: string): Promise<void> => {
    while (held !== undefined && start.startsWith(held)) await new Promise<void>((resolve) => waiting.push(resolve));
  };
  async function* slowly(start: string, items: AsyncIterableIterator<WatchItem>, signal: AbortSignal | undefined) {
    for await (const item of items) {
      await passage(start);
      if (signal?.aborted) return;
      yield item;
    }
  }
  return {
    hold(start) {
      held = start;
    },
    release() {
      held = undefined;
      const resume = waiting;
      waiting = [];
      for (const go of resume) go();
    },
    failRanges(count) {
      failures = count;
    },
    get ranges() {
      return ranges;
    },
    range(request, options) {
      ranges++;
      if (failures === 0) return client.range(request, options);
      failures--;
      return Promise.reject(new Error('the network is gone'));
    },
    watch(key, options) {
      const start = typeof key === 'string' ? key : Buffer.from(key).toString();
      return slowly(start, client.watch(key, options), options?.signal);
    },
    get: (...args) => client.get(...args),
    getPrefix: (...args) => client.getPrefix(...args),
    put: (...args) => client.put(...args),
    delete: (...args) => client.delete(...args),
    txn: (...args) => client.txn(...args),
    compact: (...args) => client.compact(...args),
    keepLease: (...args) => client.keepLease(...args),
    status: (...args) => client.status(...args),
    memberList: (...args) => client.memberList(...args),
    close: () => client.close(),
  };
}
