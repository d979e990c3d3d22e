import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encode } from '../../core/wire/binary.ts';
import { KeyValue } from '../../core/wire/messages.ts';
import type { Entry, HardState } from '../../core/wire/stored.ts';
import type { Bootstrap } from '../../server/bootstrap.ts';
import { openStorage, type Storage } from '../../server/storage.ts';
import { Harness } from '../apply/harness.ts';

/** The server's storage between two starts, when a snapshot is installed in the first. */

const identity = { clusterId: 7n, memberId: 2n };
const joining: Bootstrap = { identity, members: [], voters: [] };

let folder: string;
let lines: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'roster-snapshot-'));
  lines = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

function open(): Promise<Storage> {
  return openStorage({
    dataDir: folder,
    bootstrap: () => Promise.resolve(joining),
    soleMember: () => joining,
    forceNewCluster: false,
    limits: { stagedCommitBytes: 20_000 },
    clock: { nowMs: () => 0 },
    log: pino({}, { write: (line: string) => void lines.push(line) }),
  });
}

function called(begin: (done: (error?: Error) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    begin((error) => (error === undefined ? resolve() : reject(error)));
  });
}

/** What another member has. */
function leader(): Harness {
  const h = new Harness();
  const member = { ID: 2n, name: 'two', peerURLs: ['http://two:2380'], clientURLs: [], isLearner: false };
  const conf = { voters: [2n], learners: [], voters_outgoing: [], learners_next: [], auto_leave: false };
  h.machine.bootstrap([member], conf);
  h.grant(1n);
  for (let i = 0; i < 500; i++) h.put(`k${i}`, 'v'.repeat(100), { lease: i % 10 === 0 ? 1n : 0n });
  h.compact(100);
  h.commit();
  return h;
}

async function install(storage: Storage, from: Harness): Promise<void> {
  const { machine } = storage;
  const reader = from.machine.read();
  const writer = machine.receive();
  for (let at: string | undefined = ''; at !== undefined; ) {
    while (writer.congested) await new Promise((resolve) => setImmediate(resolve));
    const piece = reader.read(at, 10_000);
    expect(writer.write(piece.rows)).toBeUndefined();
    at = piece.next;
  }
  let inForce = false;
  const done = called((finished) => machine.install(writer, reader.point, finished)).then(() => {
    inForce = true;
  });
  while (!inForce) {
    machine.work();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await done;
  reader.close();
}

/** Every pair, as text: bytes may lie in memory of any kind. */
function pairs({ store }: Storage['machine']): string[] {
  const all = store.range('\0', '\0');
  if (typeof all === 'string') throw new Error(all);
  return all.kvs.map((kv) => Buffer.from(encode(KeyValue, kv)).toString('hex'));
}

function same(storage: Storage, other: Harness): void {
  const { machine } = storage;
  expect([machine.appliedIndex, machine.appliedTerm]).toEqual([other.machine.appliedIndex, other.machine.appliedTerm]);
  expect(machine.confState).toEqual(other.machine.confState);
  expect(machine.membership.members).toEqual(other.machine.membership.members);
  expect(pairs(machine)).toEqual(pairs(other.machine));
  expect([machine.store.revision, machine.store.compactRevision]).toEqual([
    other.machine.store.revision,
    other.machine.store.compactRevision,
  ]);
  expect(machine.lessor.timeToLive(1n)!.keys().sort()).toEqual(other.machine.lessor.timeToLive(1n)!.keys().sort());
}

const entry = (index: number, term: number): Entry => ({ index, term, type: 0, data: Buffer.from('x') });
const hard: HardState = { term: 1, vote: 9n, commit: 1 };

describe('a member that has installed a snapshot', () => {
  it('goes on from it when it stopped before the log had followed', { timeout: 60_000 }, async () => {
    const from = leader();
    const first = await open();
    await called((done) => first.wal.append([entry(1, 1), entry(2, 1)], hard, done));
    await install(first, from);
    same(first, from);
    await called((done) => first.wal.close(done));
    await first.close();
    expect(readdirSync(join(folder, 'member')).sort()).toEqual(['db.1', 'db.current', 'wal']);

    const second = await open();
    same(second, from);
    const { appliedIndex: index } = from.machine;
    expect(lines.join('')).toContain('the log goes on after the snapshot installed last');
    const recovered = { hardState: { term: 1, vote: 9n, commit: index }, prevIndex: index, prevTerm: 1, entries: [] };
    expect(second.recovered).toEqual(recovered);
    expect(second.machine.snapshotMark).toBeUndefined();
    await called((done) => second.wal.append([entry(index + 1, 1)], undefined, done));
    await called((done) => second.wal.close(done));
    await second.close();

    // The mark was not committed away: the log has followed already, and is left alone.
    lines = [];
    const third = await open();
    expect(third.recovered.entries.map((item) => item.index)).toEqual([index + 1]);
    expect(lines.join('')).not.toContain('the log goes on after');
    await called((done) => third.machine.commit(done));
    await called((done) => third.wal.close(done));
    await third.close();
    const fourth = await open();
    expect(fourth.machine.snapshotMark).toBeUndefined();
    same(fourth, from);
    await called((done) => fourth.wal.close(done));
    await fourth.close();
  });

  it('goes on from it when the log has followed, and installs the next one', async () => {
    const from = leader();
    const first = await open();
    for (let round = 0; round < 2; round++) {
      await install(first, from);
      const { index, term } = first.machine.snapshotMark!;
      await called((done) => first.wal.reset(index, term, { term: 1, vote: 0n, commit: index }, done));
      first.machine.installed();
      await called((done) => first.machine.commit(done));
      from.put('again', String(round));
      from.commit();
    }
    await called((done) => first.wal.close(done));
    await first.close();
    expect(readdirSync(join(folder, 'member')).sort()).toEqual(['db.2', 'db.current', 'wal']);
    const second = await open();
    expect(second.recovered.prevIndex).toBe(from.machine.appliedIndex - 1);
    expect(second.machine.appliedIndex).toBe(from.machine.appliedIndex - 1);
    await called((done) => second.wal.close(done));
    await second.close();
  });

  it('has what it had when it stopped before the snapshot was in force', async () => {
    const first = await open();
    await called((done) => first.wal.append([entry(1, 1)], hard, done));
    const writer = first.machine.receive();
    const reader = leader().machine.read();
    expect(writer.write(reader.read('', 30_000).rows)).toBeUndefined();
    await called((done) => first.wal.close(done));
    await first.close();
    const second = await open();
    expect([second.machine.appliedIndex, second.recovered.entries.length]).toEqual([0, 1]);
    expect(readdirSync(join(folder, 'member')).sort()).toEqual(['db', 'wal']);
    await called((done) => second.wal.close(done));
    await second.close();
  });
});
