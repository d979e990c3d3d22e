import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { UsageError } from '../../server/config/flag-table.ts';
import { clusterId, memberId } from '../../server/config/identity.ts';
import { runSnapshotCommand } from '../../server/snapshot/command.ts';
import { snapshotStatus } from '../../server/snapshot/file.ts';
import { type RestoreOptions, restoreSnapshot } from '../../server/snapshot/restore.ts';
import { BLOB_BYTES } from '../../server/snapshot/sender.ts';
import { openStorage, type Storage } from '../../server/storage.ts';
import { Rig, type Stream } from '../rpc/rig.ts';

const URLS = ['http://127.0.0.1:2390', 'http://127.0.0.1:2391', 'http://127.0.0.1:2392'];

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'roster-snapshots-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const KV = '/etcdserverpb.KV';

/** A member with history, leases, an alarm and a compaction. */
function source(pairs = 300): Rig {
  const r = new Rig();
  r.ok('/etcdserverpb.Lease/LeaseGrant', { ID: 5n, TTL: 100n });
  for (let i = 0; i < pairs; i++) {
    r.ok(`${KV}/Put`, { key: `k${i % 100}`, value: Buffer.alloc(500, i), lease: i % 10 === 0 ? 5n : 0n });
  }
  r.ok(`${KV}/DeleteRange`, { key: 'k7' });
  r.ok(`${KV}/Compact`, { revision: Math.min(50, pairs) });
  r.ok('/etcdserverpb.Maintenance/Alarm', { action: 1, memberID: 1n, alarm: m.AlarmType.values.NOSPACE });
  return r;
}

/** What the stream sends, until it ends. */
async function received(r: Rig, stream: Stream): Promise<m.SnapshotResponse[]> {
  stream.handler.message({});
  while (stream.ended === undefined) {
    r.settle();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(stream.ended).toBe('ok');
  return stream.sent as m.SnapshotResponse[];
}

async function saved(r: Rig, name = 'snapshot.db'): Promise<string> {
  const parts = await received(r, r.open('/etcdserverpb.Maintenance/Snapshot'));
  const path = join(folder, name);
  writeFileSync(path, Buffer.concat(parts.map(({ blob }) => blob)));
  return path;
}

function options(file: string, more: Partial<RestoreOptions> = {}): RestoreOptions {
  return {
    file,
    dataDir: join(folder, 'data'),
    name: 'a',
    'initial-cluster': `a=${URLS[0]}`,
    'initial-cluster-token': 'again',
    'initial-advertise-peer-urls': [URLS[0]!],
    skipHashCheck: false,
    bumpRevision: 0,
    ...more,
  };
}

/** The server's storage on a restored directory. */
function open(dataDir = join(folder, 'data')): Promise<Storage> {
  const never = () => {
    throw new Error('the directory says who this is');
  };
  return openStorage({
    dataDir,
    bootstrap: never,
    soleMember: never,
    forceNewCluster: false,
    limits: {},
    clock: { nowMs: () => 0 },
    log: pino({ level: 'silent' }),
  });
}

/** A digest of every pair at every revision from `from` on. */
function contents({ store }: Storage['machine'], from: number): string[] {
  const digests: string[] = [];
  for (let revision = from; revision <= store.revision; revision++) {
    const read = store.range('\0', '\0', { revision });
    if (typeof read === 'string') throw new Error(read);
    const hash = createHash('sha256');
    for (const { key, create_revision, mod_revision, version, value, lease } of read.kvs) {
      hash.update(`${key} ${create_revision} ${mod_revision} ${version} ${lease} ${value.length}`).update(value);
    }
    digests.push(`${revision} ${read.count} ${hash.digest('hex')}`);
  }
  return digests;
}

async function hashOf(machine: Storage['machine']): Promise<number | RosterError> {
  let hash: number | RosterError | undefined;
  machine.hashBackend((result) => {
    hash = result;
  });
  while (hash === undefined) {
    machine.work();
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return hash;
}

describe('the stream', () => {
  it('counts down to 0 in blobs of 32 KiB, then sends the SHA-256 of them', async () => {
    const r = source();
    const parts = await received(r, r.open('/etcdserverpb.Maintenance/Snapshot'));
    const blobs = parts.slice(0, -1);
    const total = blobs.reduce((sum, { blob }) => sum + blob.length, 0);
    expect(total % 512).toBe(0);
    expect(total).toBeGreaterThan(4 * BLOB_BYTES);
    let left = total;
    for (const [i, { blob, remaining_bytes, version, header }] of blobs.entries()) {
      if (i < blobs.length - 1) expect(blob.length).toBe(BLOB_BYTES);
      left -= blob.length;
      expect([remaining_bytes, version, header]).toEqual([left, '3.7.0', undefined]);
    }
    const hash = createHash('sha256');
    for (const { blob } of blobs) hash.update(blob);
    expect(parts.at(-1)).toMatchObject({ remaining_bytes: 0, version: '3.7.0' });
    expect(Buffer.from(parts.at(-1)!.blob)).toEqual(hash.digest());
  });

  it('is of one moment, whatever is written while it goes out', async () => {
    const r = source();
    r.ok('/etcdserverpb.Maintenance/Alarm', { action: 2, memberID: 1n, alarm: m.AlarmType.values.NOSPACE });
    const stream = r.open('/etcdserverpb.Maintenance/Snapshot');
    stream.handler.message({});
    for (let i = 0; stream.ended === undefined; i++) {
      r.ok(`${KV}/Put`, { key: `later${i}`, value: Buffer.alloc(2000) });
      r.settle();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const path = join(folder, 'moment');
    writeFileSync(path, Buffer.concat((stream.sent as m.SnapshotResponse[]).map(({ blob }) => blob)));
    expect(await snapshotStatus(path)).toMatchObject({ revision: 302 });
  });

  it('waits for a client that is slow, and lets go of everything when it leaves', async () => {
    const r = source(600);
    const stream = r.open('/etcdserverpb.Maintenance/Snapshot');
    stream.send = (response) => {
      stream.sent.push(response);
      return stream.sent.length !== 3;
    };
    stream.handler.message({});
    const settle = async () => {
      for (let i = 0; i < 50; i++) {
        r.settle();
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    await settle();
    expect(stream.sent).toHaveLength(3);
    stream.onDrain?.();
    await settle();
    expect(stream.ended).toBe('ok');
    const gone = r.open('/etcdserverpb.Maintenance/Snapshot');
    gone.handler.message({});
    await new Promise((resolve) => setImmediate(resolve));
    gone.handler.cancel();
    await settle();
    expect(gone.ended).toBeUndefined();
    expect(gone.sent.length).toBeLessThan(8);
  });

  it('is given to so many at once and no more', async () => {
    const r = source(10);
    const streams = Array.from({ length: 17 }, () => r.open('/etcdserverpb.Maintenance/Snapshot'));
    for (const stream of streams) stream.handler.message({});
    expect(streams.map(({ ended }) => ended)).toEqual([...Array(16).fill(undefined), 'RequestTooManyRequests']);
    for (const stream of streams.slice(0, 16)) stream.handler.cancel();
    expect((await received(r, r.open('/etcdserverpb.Maintenance/Snapshot'))).length).toBeGreaterThan(1);
  });
});

describe('status', { timeout: 60_000 }, () => {
  it('tells what is in the file, and the hash that the member gives', async () => {
    const r = source();
    const { hash } = r.ok<m.HashResponse>('/etcdserverpb.Maintenance/Hash');
    const path = await saved(r);
    const status = await snapshotStatus(path);
    expect(status).toMatchObject({ hash, revision: 302, version: '3.7.0' });
    expect(status.facts).toMatchObject({ cluster_id: 77n, member_id: 1n, index: r.context.machine.appliedIndex });
    expect(await runSnapshotCommand(['status', path, '-write-out=json'])).toBe(
      `{"hash":${hash},"revision":302,"totalKey":${status.totalKeys},"totalSize":${status.totalBytes},"version":"3.7.0"}\n`,
    );
    expect(await runSnapshotCommand(['status', path])).toMatch(/^[0-9a-f]+, 302, \d+, \d+ kB, 3\.7\.0\n$/);
  });

  it('of a store that nothing was ever written to', async () => {
    const path = await saved(new Rig());
    expect(await snapshotStatus(path)).toMatchObject({ revision: 1 });
    await restoreSnapshot(options(path));
    const storage = await open();
    expect([storage.machine.store.revision, storage.machine.store.keyCount]).toEqual([1, 0]);
    await storage.close();
  });
});

describe('a restore', { timeout: 120_000 }, () => {
  it('has keys, history and leases of the old cluster, and members, ids and no alarms of its own', async () => {
    const r = source();
    const path = await saved(r);
    const initial = ['a', 'b', 'c'].map((name, i) => `${name}=${URLS[i]}`).join(',');
    const ids = URLS.map((url) => memberId([url], 'again'));
    const hashes = [];
    for (const [i, name] of ['a', 'b', 'c'].entries()) {
      const dataDir = join(folder, name);
      const urls = [URLS[i]!];
      const flags = { dataDir, name, 'initial-cluster': initial, 'initial-advertise-peer-urls': urls };
      const restored = await restoreSnapshot(options(path, flags));
      const identity = { memberId: ids[i]!, clusterId: clusterId(ids) };
      expect(restored).toMatchObject({ identity, revision: 302, facts: { cluster_id: 77n } });
      const { machine, recovered, identity: found, isNew, close } = await open(dataDir);
      expect([found, isNew]).toMatchObject([identity, false]);
      expect(machine.membership.members.map((member) => [member.ID, member.name, member.peerURLs])).toEqual(
        ids.map((id, k) => [id, 'abc'[k], [URLS[k]]]).sort((x, y) => (x[0]! < y[0]! ? -1 : 1)),
      );
      expect(machine.membership.removed.size).toBe(0);
      expect(machine.membership.clusterVersion).toBe('');
      expect(machine.alarms.list()).toEqual([]);
      expect(machine.confState.voters).toEqual([...ids].sort((x, y) => (x < y ? -1 : 1)));
      expect([machine.appliedIndex, recovered.prevIndex, recovered.prevTerm, recovered.entries]).toEqual([1, 1, 1, []]);
      expect(contents(machine, 50)).toEqual(contents(r.context.machine, 50));
      expect(machine.store.range('k', 'l', { revision: 49 })).toBe('Compacted');
      expect([...machine.lessor.timeToLive(5n)!.keys()].sort()).toEqual(
        [...r.context.machine.lessor.timeToLive(5n)!.keys()].sort(),
      );
      hashes.push(await hashOf(machine));
      await close();
    }
    expect(new Set(hashes).size).toBe(1);
    expect(readdirSync(join(folder, 'a')).sort()).toEqual(['member', 'roster.json']);
  });

  it('can raise the revision beyond all that clients may have seen', async () => {
    const path = await saved(source());
    const output = await runSnapshotCommand(
      ['restore', path, '--data-dir', join(folder, 'data'), '--bump-revision', '1000', '--mark-compacted'].concat(
        '--initial-cluster-token=again',
      ),
    );
    expect(output).toContain('revision 1302');
    const { machine, close } = await open();
    expect([machine.store.revision, machine.store.compactRevision]).toEqual([1302, 1302]);
    expect(machine.store.range('k', 'l', { revision: 1301 })).toBe('Compacted');
    expect(machine.store.range('k', 'l', { revision: 1302, countOnly: true })).toMatchObject({ count: 99 });
    await close();
  });

  it('can put the log elsewhere, and cleans up there too', async () => {
    const path = await saved(source(10));
    const [dataDir, walDir] = [join(folder, 'data'), join(folder, 'disk', 'wal')];
    const damaged = join(folder, 'damaged.db');
    const bytes = readFileSync(path);
    bytes[5000]! ^= 1;
    writeFileSync(damaged, bytes);
    mkdirSync(join(walDir, 'lost+found'), { recursive: true });
    await expect(restoreSnapshot(options(damaged, { walDir, skipHashCheck: true }))).rejects.toThrow(RosterError);
    expect([existsSync(dataDir), readdirSync(walDir)]).toEqual([false, ['lost+found']]);
    await runSnapshotCommand(['restore', path, '--data-dir', dataDir, '--wal-dir', walDir]);
    expect(readdirSync(walDir)).toContain('lost+found');
    expect(readdirSync(walDir).length).toBeGreaterThan(1);
    const { machine, recovered, close } = await open();
    expect([machine.store.revision, recovered.prevIndex]).toEqual([12, 1]);
    await close();
    const used = options(path, { walDir, dataDir: join(folder, 'other') });
    await expect(restoreSnapshot(used)).rejects.toThrow(`wal-dir "${walDir}" not empty`);
    expect(existsSync(used.dataDir)).toBe(false);
  });

  it('refuses flags that contradict each other, and a directory in use', async () => {
    const path = await saved(source(10));
    const restore = (...more: string[]) =>
      runSnapshotCommand(['restore', path, '--data-dir', join(folder, 'x'), ...more]);
    await expect(restore('--bump-revision', '5')).rejects.toThrow(UsageError);
    await expect(restore('--mark-compacted')).rejects.toThrow(UsageError);
    await expect(restore('--initial-cluster', 'b=http://b:1')).rejects.toThrow(/couldn't find local name/);
    await expect(restore('another')).rejects.toThrow('requires one argument');
    await expect(runSnapshotCommand(['save'])).rejects.toThrow('status and restore');
    expect(await runSnapshotCommand([])).toContain('--skip-hash-check');
    const dataDir = join(folder, 'used');
    mkdirSync(dataDir);
    writeFileSync(join(dataDir, 'f'), '');
    await expect(restoreSnapshot(options(path, { dataDir }))).rejects.toThrow(`data-dir "${dataDir}" not empty`);
    expect(readdirSync(dataDir)).toEqual(['f']);
    mkdirSync(join(folder, 'empty'));
    await restoreSnapshot(options(path, { dataDir: join(folder, 'empty') }));
    expect(existsSync(join(folder, 'empty', 'roster.json'))).toBe(true);
  });
});

describe('a damaged file', { timeout: 60_000 }, () => {
  const sealed = (bytes: Buffer) => Buffer.concat([bytes, createHash('sha256').update(bytes).digest()]);

  it('is refused with the reason, and leaves nothing behind', async () => {
    const whole = readFileSync(await saved(source(100)));
    const file = whole.subarray(0, -32);
    const flipped = (at: number) => {
      const copy = Buffer.from(file);
      copy[at]! ^= 1;
      return copy;
    };
    const cases: [string, Buffer, RegExp][] = [
      ['flipped', Buffer.concat([flipped(5000), whole.subarray(-32)]), /its SHA-256 is/],
      ['cut', whole.subarray(0, 10_000), /no hash at its end/],
      ['empty', Buffer.alloc(0), /no hash at its end/],
      ['cut, hashed anew', sealed(file.subarray(0, 10_240)), /it ends within the piece|another checksum/],
      ['flipped, hashed anew', sealed(flipped(5000)), /has another checksum/],
      ['header', sealed(flipped(20)), /header/],
      ['beginning', sealed(flipped(0)), /does not begin as a snapshot of Roster/],
      ['newer', sealed(Buffer.concat([file.subarray(0, 8), Buffer.from([0, 0, 0, 2]), file.subarray(12)])), /format 2/],
      ['longer', sealed(Buffer.concat([file, Buffer.alloc(512)])), /bytes follow its end/],
      ['of etcd', sealed(Buffer.alloc(4096)), /snapshot of etcd/],
    ];
    const path = join(folder, 'damaged');
    for (const [what, bytes, reason] of cases) {
      writeFileSync(path, bytes);
      await expect(restoreSnapshot(options(path)), what).rejects.toThrow(reason);
      await expect(snapshotStatus(path), what).rejects.toThrow(reason);
      expect(existsSync(join(folder, 'data')), what).toBe(false);
    }
    await expect(snapshotStatus(join(folder, 'none'))).rejects.toThrow(/ENOENT/);
  });

  it('without its hash is restored only when asked, and checked all the same', async () => {
    const whole = readFileSync(await saved(source(100)));
    const path = join(folder, 'bare');
    writeFileSync(path, whole.subarray(0, -32));
    await expect(restoreSnapshot(options(path))).rejects.toThrow('--skip-hash-check');
    await restoreSnapshot(options(path, { skipHashCheck: true }));
    const damaged = Buffer.from(whole.subarray(0, -32));
    damaged[5000]! ^= 1;
    writeFileSync(path, damaged);
    const dataDir = join(folder, 'other');
    await expect(restoreSnapshot(options(path, { skipHashCheck: true, dataDir }))).rejects.toThrow('another checksum');
  });

  it('is never taken for whole, wherever a bit is flipped', async () => {
    const whole = readFileSync(await saved(source(4)));
    const end = whole.length - 32;
    const path = join(folder, 'flipped');
    for (let at = 0; at < end; at += 7) {
      const file = Buffer.from(whole.subarray(0, end));
      file[at]! ^= 1 << (at % 8);
      writeFileSync(path, sealed(file));
      const error = await snapshotStatus(path).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error, `offset ${at}`).toBeInstanceOf(RosterError);
    }
  });
});
