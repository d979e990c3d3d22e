/**
 * Snapshot files that are whole, of states that are nearly right: whoever restores one gets a member or the reason why not.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { decodeRows, encodeRows, placeOf, type StateRow } from '../../core/apply/state-rows.ts';
import { RosterError } from '../../core/errors.ts';
import { AlarmType, type SnapshotResponse } from '../../core/wire/messages.ts';
import { SnapshotDecoder, SnapshotEncoder, type SnapshotFacts } from '../../server/snapshot/format.ts';
import { restoreSnapshot } from '../../server/snapshot/restore.ts';
import { openStorage } from '../../server/storage.ts';
import { Rig } from '../rpc/rig.ts';
import type { Chance } from './chance.ts';
import type { Target } from './runner.ts';
import { mustBe } from './wire-targets.ts';

const HASH_BYTES = 32;
const PEER_URL = 'http://127.0.0.1:2390';

interface State {
  facts: SnapshotFacts;
  rows: StateRow[];
}

/** What a member with history, leases, users and an alarm sends. */
async function someState(): Promise<State> {
  const rig = new Rig();
  const KV = '/etcdserverpb.KV';
  rig.ok('/etcdserverpb.Lease/LeaseGrant', { ID: 5n, TTL: 100n });
  for (let i = 0; i < 30; i++) {
    rig.ok(`${KV}/Put`, { key: `k${i % 10}`, value: Buffer.alloc(20, i), lease: i % 5 === 0 ? 5n : 0n });
  }
  rig.ok(`${KV}/DeleteRange`, { key: 'k7' });
  rig.ok(`${KV}/Compact`, { revision: 10 });
  rig.ok('/etcdserverpb.Auth/RoleAdd', { name: 'r' });
  rig.ok('/etcdserverpb.Auth/RoleGrantPermission', { name: 'r', perm: { permType: 2, key: 'a', range_end: 'b' } });
  rig.ok('/etcdserverpb.Maintenance/Alarm', { action: 1, memberID: 1n, alarm: AlarmType.values.NOSPACE });
  const stream = rig.open('/etcdserverpb.Maintenance/Snapshot');
  stream.handler.message({});
  while (stream.ended === undefined) {
    rig.settle();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const file = Buffer.concat((stream.sent as SnapshotResponse[]).map(({ blob }) => blob)).subarray(0, -HASH_BYTES);
  let at = 0;
  const read = async (length: number) => {
    at += length;
    return file.subarray(at - length, at);
  };
  const decoder = new SnapshotDecoder(read, file.length);
  const facts = await decoder.head();
  const rows: StateRow[] = [];
  for (let piece = await decoder.piece(); piece !== undefined; piece = await decoder.piece()) {
    const more = decodeRows(piece);
    if (more instanceof RosterError) throw more;
    rows.push(...more);
  }
  return { facts, rows };
}

/** With a few of its rows changed, lost or made up, mostly in their order. */
function nearly(chance: Chance, rows: readonly StateRow[]): StateRow[] {
  const oneIn = chance.pick([8, 40, 150]);
  const changed = rows.flatMap((row): StateRow[] => {
    if (!chance.one(oneIn)) return [row];
    const { bucket, key, value } = row;
    const other = chance.pick(rows);
    switch (chance.int(6)) {
      case 0:
        return [];
      case 1:
        return [row, { ...row, key: chance.mutated(Buffer.from(key, 'latin1')).toString('latin1') }];
      case 2:
        return [{ ...row, key: chance.mutated(Buffer.from(key, 'latin1')).toString('latin1') }];
      case 3:
        return [{ ...row, bucket: chance.one(4) ? chance.int(30) : other.bucket }];
      case 4:
        return [{ ...row, value: other.value }];
      default:
        return [{ bucket, key, value: chance.mutated(value) }];
    }
  });
  if (chance.one(10)) return changed;
  const place = (row: StateRow) => placeOf(row.bucket, row.key);
  const sorted = changed.sort((a, b) => (place(a) < place(b) ? -1 : 1));
  return sorted.filter((row, i) => i === 0 || place(row) !== place(sorted[i - 1]!));
}

/** What has been restored is there to be read, by revision, and its leases. */
async function use(dataDir: string): Promise<void> {
  const never = () => {
    throw new Error('the directory says who this is');
  };
  const storage = await openStorage({
    dataDir,
    bootstrap: never,
    soleMember: never,
    forceNewCluster: false,
    limits: {},
    clock: { nowMs: () => 0 },
    log: pino({ level: 'silent' }),
  });
  try {
    const { store, lessor } = storage.machine;
    for (let revision = 1; revision <= store.revision; revision++) {
      const read = store.range('\0', '\0', { revision });
      mustBe(typeof read === 'object' || read.length > 0, 'a range says neither');
    }
    for (const id of lessor.list()) mustBe(lessor.has(id), 'a lease is told that is none');
  } finally {
    await storage.close();
  }
}

let state: State | undefined;

export const restore: Target = {
  name: 'restore',
  executions: 4,
  share: 0.0005,
  async run(chance) {
    state ??= await someState();
    const encoder = new SnapshotEncoder();
    const piece = encodeRows(nearly(chance, state.rows));
    const body = Buffer.concat([encoder.head(state.facts), encoder.prefix(piece), piece, encoder.tail()]);
    const folder = mkdtempSync(join(tmpdir(), 'roster-fuzz-'));
    const file = join(folder, 'file');
    try {
      writeFileSync(file, Buffer.concat([body, createHash('sha256').update(body).digest()]));
      await restoreSnapshot({
        file,
        dataDir: join(folder, 'data'),
        name: 'a',
        'initial-cluster': `a=${PEER_URL}`,
        'initial-cluster-token': 'again',
        'initial-advertise-peer-urls': [PEER_URL],
        skipHashCheck: false,
        bumpRevision: chance.one(4) ? 1000 : 0,
      });
      await use(join(folder, 'data'));
    } catch (error) {
      if (!(error instanceof RosterError)) throw error;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
