/**
 * Whether the members still hold the same: the leader compares hashes of the keys at one revision now and then
 * (--corrupt-check-time), and a member may compare its own before it starts. Owns the comparison and who is to be alarmed;
 * the hash is core/mvcc/kv-hash.ts, the alarm core/apply/alarms.ts.
 */
import type { StateMachine } from '../core/apply/state-machine.ts';
import { GrpcStatus, otherError, RosterError } from '../core/errors.ts';
import type { KvHashResult } from '../core/mvcc/kv-hash.ts';
import type { Node } from '../core/node/node.ts';
import { AlarmAction, AlarmType, type Member } from '../core/wire/messages.ts';
import type { Logger } from './config/log.ts';
import { pause } from './pause.ts';

/** A member hashes in the background, all that is stored. */
const ASK_TIMEOUT_MS = 60_000;
/** What etcd gives as the member when nobody can be told to be right. */
const NOBODY = 0n;

/** What a member says of its keys. */
export interface MemberHash extends KvHashResult {
  /** Of its store at the time. */
  readonly currentRevision: number;
}

export interface CorruptionWorld {
  readonly selfId: bigint;
  readonly node: Pick<Node, 'propose' | 'status' | 'linearizableRead'>;
  readonly machine: Pick<StateMachine, 'hashKeys' | 'membership' | 'store' | 'alarms'>;
  /** Asks at a peer URL for the hash at a revision. Rejects when there is none to be had. */
  askHash(peerUrl: string, revision: number, timeoutMs: number): Promise<MemberHash>;
  readonly log: Pick<Logger, 'error' | 'info' | 'warn'>;
}

/** Runs until `signal` fires: the leader compares every `intervalMs`. */
export async function keepComparing(world: CorruptionWorld, intervalMs: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    await pause(intervalMs, signal);
    if (signal.aborted) return;
    if (!world.node.status().isLeader) continue;
    await compareMembers(world).catch((error: unknown) => {
      if (!(error instanceof RosterError)) throw error;
      world.log.warn({ error }, 'the members could not be compared');
    });
  }
}

/** One comparison, and the alarms it leads to. Returns who was found to differ. */
export async function compareMembers(world: CorruptionWorld): Promise<bigint[]> {
  await read(world);
  const own = await hashOf(world, 0);
  const others = await hashesOfOthers(world, own.revision);
  // By now this member has whatever the others can have had when they answered.
  await read(world);
  const { revision } = world.machine.store;
  const corrupt = judge(new Map([[world.selfId, { ...own, currentRevision: own.revision }], ...others]), revision);
  for (const memberID of corrupt) await raise(world, memberID);
  return corrupt;
}

/**
 * Before a start: throws a RosterError DATA_LOSS when this member's keys differ from those of most others that can be asked
 * (etcd: InitialCorruptCheck).
 */
export async function checkBeforeStart(world: CorruptionWorld): Promise<void> {
  const own = await hashOf(world, 0);
  const others = await hashesOfOthers(world, own.revision);
  const same = [...others.values()].filter((other) => comparable(own, other));
  const different = same.filter(({ hash }) => hash !== own.hash);
  world.log.info(
    { revision: own.revision, compared: same.length, different: different.length },
    'compared with the others',
  );
  if (different.length === 0 || different.length < same.length / 2) return;
  throw otherError(
    GrpcStatus.DATA_LOSS,
    `found data inconsistency with peers: at revision ${own.revision}, ${different.length} of ${same.length} members hold other keys than this one. Remove this member and add it again with an empty data directory`,
  );
}

/**
 * Who differs from most, among those whose hashes can be compared; {@link NOBODY} when no majority agrees. Who is ahead of
 * the leader's revision `current` differs in any case.
 */
export function judge(hashes: ReadonlyMap<bigint, MemberHash>, current: number): bigint[] {
  const ahead = [...hashes].filter(([, { currentRevision }]) => currentRevision > current).map(([id]) => id);
  // A compaction that one has seen and another has not leaves nothing to compare; the next time it will.
  const groups = new Map<string, Map<number, bigint[]>>();
  for (const [id, { hash, revision, compactRevision }] of hashes) {
    if (ahead.includes(id)) continue;
    const place = `${revision} ${compactRevision}`;
    const byHash = groups.get(place) ?? new Map<number, bigint[]>();
    byHash.set(hash, [...(byHash.get(hash) ?? []), id]);
    groups.set(place, byHash);
  }
  const corrupt = [...ahead];
  for (const byHash of groups.values()) {
    if (byHash.size < 2) continue;
    const sorted = [...byHash.values()].sort((a, b) => b.length - a.length);
    const [most, ...rest] = sorted as [bigint[], ...bigint[][]];
    const others = rest.flat();
    if (most.length > others.length) corrupt.push(...others);
    else corrupt.push(NOBODY);
  }
  return corrupt;
}

function comparable(a: KvHashResult, b: KvHashResult): boolean {
  return a.revision === b.revision && a.compactRevision === b.compactRevision;
}

function read(world: CorruptionWorld): Promise<void> {
  return new Promise((resolve, reject) => {
    world.node.linearizableRead((error) => (error === undefined ? resolve() : reject(error)));
  });
}

function hashOf(world: CorruptionWorld, revision: number): Promise<KvHashResult> {
  return new Promise((resolve, reject) => {
    world.machine.hashKeys(revision, (result) => (result instanceof RosterError ? reject(result) : resolve(result)));
  });
}

/** Of those that answer. */
async function hashesOfOthers(world: CorruptionWorld, revision: number): Promise<Map<bigint, MemberHash>> {
  const others = world.machine.membership.members.filter(({ ID }) => ID !== world.selfId);
  const answers = await Promise.all(others.map((member) => ask(world, member, revision)));
  return new Map(answers.flatMap((answer, i) => (answer === undefined ? [] : [[others[i]!.ID, answer] as const])));
}

async function ask(
  world: CorruptionWorld,
  { peerURLs, ID }: Member,
  revision: number,
): Promise<MemberHash | undefined> {
  try {
    return await Promise.any(peerURLs.map((url) => world.askHash(url, revision, ASK_TIMEOUT_MS)));
  } catch (error) {
    const { errors } = error as AggregateError;
    world.log.warn({ member: ID.toString(16), error: errors[0] }, 'a member could not be compared with');
    return undefined;
  }
}

function raise(world: CorruptionWorld, memberID: bigint): Promise<void> {
  const { CORRUPT } = AlarmType.values;
  if (world.machine.alarms.of(memberID, CORRUPT) !== undefined) return Promise.resolve();
  world.log.error(
    { member: memberID.toString(16) },
    memberID === NOBODY
      ? 'CORRUPT: the members hold different keys, and no majority agrees. Writes are refused until the alarm is disarmed'
      : 'CORRUPT: a member holds other keys than most. Remove it, add it again empty, then disarm the alarm',
  );
  const alarm = { action: AlarmAction.values.ACTIVATE, memberID, alarm: CORRUPT, automatic: false };
  return new Promise((resolve) => {
    world.node.propose({ alarm }, (result) => {
      if (result instanceof RosterError) world.log.error({ error: result }, 'the CORRUPT alarm could not be raised');
      resolve();
    });
  });
}
