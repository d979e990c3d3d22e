import { afterAll, beforeAll, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import { Prng } from '../../core/util/prng.ts';
import { Ledger, WatchRecord } from '../support/ledger.ts';
import { type RunningRoster, startRoster } from '../support/roster.ts';

/**
 * A hundred clients put while the server is killed again and again. After every restart each acknowledged put must be
 * there and revisions must not have gone back; watchers that resume by revision must see every event exactly once.
 */
const KILLS = 50;
const CLIENTS = 100;
const WATCHERS = 3;
const SEED = 20_261_122;

let server: RunningRoster;
beforeAll(async () => {
  // A small log and frequent commits, so that kills meet segment changes and backend commits too.
  server = await startRoster([
    '--backend-batch-limit',
    '500',
    '--snapshot-catchup-entries',
    '200',
    '--log-level',
    'warn',
  ]);
});
afterAll(() => server.stop());

/** Puts one value after another until told to stop; an error leaves the outcome open and the next value is tried. */
async function write(client: Client, key: string, ledger: Ledger, stop: AbortSignal): Promise<void> {
  for (let n = 0; !stop.aborted; n++) {
    const value = `${key}#${n}`;
    ledger.attempt(key, value);
    try {
      const { header } = await client.put(key, value, { timeoutMs: 2000 });
      ledger.acknowledge(key, value, header!.revision);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

async function follow(client: Client, record: WatchRecord, stop: AbortSignal): Promise<void> {
  for await (const item of client.watch('/crash/', { prefix: true, start_revision: 1, signal: stop })) {
    if (item.kind === 'events') record.take(item.events);
    else if (item.kind === 'compacted') record.problems.push('compacted');
  }
}

it(`loses nothing over ${KILLS} kills`, { timeout: 900_000 }, async () => {
  const prng = new Prng(SEED);
  const ledger = new Ledger();
  const records = Array.from({ length: WATCHERS }, () => new WatchRecord());
  const clients = Array.from({ length: CLIENTS }, () => new Client({ endpoints: [server.endpoint] }));
  const stopWriting = new AbortController();
  const stopWatching = new AbortController();
  const watching = records.map((record, i) => follow(clients[i]!, record, stopWatching.signal));
  const writing = clients.map((client, i) =>
    write(client, `/crash/${String(i).padStart(3, '0')}`, ledger, stopWriting.signal),
  );
  const reader = new Client({ endpoints: [server.endpoint] });
  try {
    for (let kill = 0; kill < KILLS; kill++) {
      await new Promise((resolve) => setTimeout(resolve, 100 + prng.int(400)));
      await server.kill();
      await server.start();
      // What was acknowledged before this read began must be in it.
      const promised = new Ledger();
      for (const entry of ledger.acknowledged) promised.acknowledge(entry.key, entry.value, entry.revision);
      for (const [key, values] of ledger.attempted) promised.attempted.set(key, values);
      const { kvs, revision } = await reader.getPrefix('/crash/');
      expect(promised.problemsWith(kvs, revision), `after kill ${kill + 1}`).toEqual([]);
    }
    stopWriting.abort();
    await Promise.all(writing);
    // A put that timed out may still have been under way: the end is where store and watchers agree.
    let revision = 0;
    await expect
      .poll(
        async () => {
          revision = (await reader.getPrefix('/crash/')).revision;
          return records.map((record) => record.last - revision);
        },
        { timeout: 30_000 },
      )
      .toEqual(records.map(() => 0));
    for (const record of records) {
      expect(record.problems).toEqual([]);
      expect(record.missing(ledger)).toEqual([]);
      expect(record.seen).toEqual(records[0]!.seen);
    }
    expect(ledger.acknowledged.length).toBeGreaterThan(KILLS * 10);
    console.log(
      `${KILLS} kills: ${ledger.acknowledged.length} acknowledged puts, all there; ${revision} revisions seen by ${WATCHERS} watchers`,
    );
  } finally {
    stopWriting.abort();
    stopWatching.abort();
    await Promise.allSettled([...writing, ...watching]);
    for (const client of [...clients, reader]) client.close();
  }
});
