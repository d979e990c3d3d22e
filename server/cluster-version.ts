/**
 * The version all members go by: the lowest among them, agreed on by an entry of the log (etcd's version monitor). The
 * leader looks after its election and every 4 seconds. Owns the decision and its rhythm; clients read the result at
 * /version and in etcd_cluster_version.
 */
import type { RosterError } from '../core/errors.ts';
import type { Membership } from '../core/membership/membership.ts';
import type { Node } from '../core/node/node.ts';
import type { Member } from '../core/wire/messages.ts';
import { pause } from './pause.ts';

/** etcd: monitorVersionInterval. */
const LOOK_INTERVAL_MS = 4000;
/** A leader that has just been elected does not wait for the next look. */
const LEADER_CHECK_MS = 100;
const ASK_TIMEOUT_MS = 1000;
/** A founding leader gives the others this long to come up, so that the first agreement is not on the lowest of all. */
const FOUNDING_PATIENCE_MS = 2000;
/** What is agreed on while a member cannot be asked and nothing has been agreed on before (etcd: MinClusterVersion). */
export const MIN_CLUSTER_VERSION = '3.0.0';

export interface ClusterVersionWorld {
  readonly node: Pick<Node, 'propose' | 'status'>;
  readonly selfId: bigint;
  /** Of this server. */
  readonly version: string;
  membership(): Pick<Membership, 'members' | 'clusterVersion'>;
  /** The version of a member, asked at its peer URL. Rejects when it does not answer in time. */
  askVersion(peerUrl: string, timeoutMs: number): Promise<string>;
}

/** Runs until `signal` fires. */
export async function keepClusterVersion(world: ClusterVersionWorld, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    if (world.node.status().isLeader) {
      await look(world, signal);
      await pause(LOOK_INTERVAL_MS, signal);
    } else await pause(LEADER_CHECK_MS, signal);
  }
}

async function look(world: ClusterVersionWorld, signal: AbortSignal): Promise<void> {
  const { members, clusterVersion } = world.membership();
  const deadlineMs = performance.now() + (clusterVersion === '' ? FOUNDING_PATIENCE_MS : 0);
  const ask = () => Promise.all(members.map((member) => versionOf(member, world)));
  let versions = await ask();
  while (versions.includes(undefined) && performance.now() < deadlineMs && !signal.aborted) {
    await pause(LEADER_CHECK_MS, signal);
    versions = await ask();
  }
  if (signal.aborted) return;
  const version = decideClusterVersion(clusterVersion, versions);
  if (version === undefined) return;
  // A refusal is no matter: the next look tries again, or that of the next leader.
  await new Promise<object | RosterError>((resolve) => world.node.propose({ cluster_version: { version } }, resolve));
}

/** `undefined` when it cannot be asked. */
async function versionOf(member: Member, world: ClusterVersionWorld): Promise<string | undefined> {
  if (member.ID === world.selfId) return world.version;
  const answers = member.peerURLs.map((url) => world.askVersion(url, ASK_TIMEOUT_MS));
  return Promise.any(answers).catch(() => undefined);
}

/**
 * What to propose, given what holds ('' if nothing does) and what the members are; `undefined`: leave it. It only ever
 * rises. Patch levels do not count: members of one minor version understand each other.
 */
export function decideClusterVersion(current: string, versions: readonly (string | undefined)[]): string | undefined {
  const parsed = versions.map((version) => (version === undefined ? undefined : parse(version)));
  if (parsed.includes(undefined)) return current === '' ? MIN_CLUSTER_VERSION : undefined;
  const [lowest] = (parsed as Minor[]).sort(compare);
  const now = parse(current);
  if (lowest === undefined || (now !== undefined && compare(lowest, now) <= 0)) return undefined;
  return `${lowest.major}.${lowest.minor}.0`;
}

interface Minor {
  readonly major: number;
  readonly minor: number;
}

function parse(version: string): Minor | undefined {
  const match = /^(\d+)\.(\d+)\.\d+/.exec(version);
  return match === null ? undefined : { major: Number(match[1]), minor: Number(match[2]) };
}

function compare(a: Minor, b: Minor): number {
  return a.major - b.major || a.minor - b.minor;
}
