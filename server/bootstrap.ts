/**
 * Who this member becomes when its data directory is empty: one of the founders of a new cluster, or the member that an
 * existing cluster has added and waits for. Owns etcd's checks that it is safe to become that; writes nothing.
 */
import { GrpcStatus, otherError, type RosterError } from '../core/errors.ts';
import type { Member } from '../core/wire/messages.ts';
import { clusterId } from './config/identity.ts';
import { type InitialFlags, type InitialMember, initialMembers } from './config/initial-cluster.ts';
import type { Logger } from './config/log.ts';
import type { Identity } from './rpc/context.ts';

/** What a running member tells of its cluster at /members of its peer URL. */
export interface RemoteCluster {
  readonly clusterId: bigint;
  readonly members: readonly Member[];
}

/** Asks the member at a peer URL. Rejects when it does not answer within `timeoutMs`. */
export type AskCluster = (peerUrl: string, timeoutMs: number) => Promise<RemoteCluster>;

/** A founder of a new cluster asks the others whether it was there before: they are rarely up by then. */
const FOUNDER_TIMEOUT_MS = 1000;
/** Who joins needs an answer. */
const JOIN_TIMEOUT_MS = 5000;

export interface Bootstrap {
  readonly identity: Identity;
  /** Sorted by id. Of a new cluster the same on every founder; else what the cluster said. */
  readonly members: Member[];
  /** All founders vote. Who joins knows no configuration: the leader's snapshot brings it. */
  readonly voters: bigint[];
}

export interface BootstrapFlags extends InitialFlags {
  readonly 'initial-cluster-state': 'new' | 'existing';
}

/** Throws UsageError (the flags contradict each other) or a RosterError (the cluster has it otherwise, or is out of reach). */
export async function bootstrap(flags: BootstrapFlags, ask: AskCluster, log: Logger): Promise<Bootstrap> {
  const { members, own } = initialMembers(flags);
  return flags['initial-cluster-state'] === 'new' ? found(flags, members, own, ask) : join(members, own, ask, log);
}

/** A sole voter that is `id` already: a directory from before members were kept in it. */
export function soleMember(identity: Identity, flags: InitialFlags): Bootstrap {
  const member = {
    ID: identity.memberId,
    name: flags.name,
    peerURLs: [...flags['initial-advertise-peer-urls']],
    clientURLs: [],
    isLearner: false,
  };
  return { identity, members: [member], voters: [identity.memberId] };
}

async function found(
  flags: BootstrapFlags,
  initial: readonly InitialMember[],
  own: InitialMember,
  ask: AskCluster,
): Promise<Bootstrap> {
  const cluster = clusterId(initial.map(({ id }) => id));
  const others = initial.filter((member) => member !== own).flatMap(({ peerUrls }) => peerUrls);
  const answers = await Promise.allSettled(others.map((url) => ask(url, FOUNDER_TIMEOUT_MS)));
  for (const answer of answers) {
    if (answer.status === 'rejected' || answer.value.clusterId !== cluster) continue;
    // It has voted and promised before, and its memory is lost: with the same id it could vote against itself.
    const before = answer.value.members.find(({ ID }) => ID === own.id);
    if (before !== undefined && before.clientURLs.length > 0) {
      throw refusal(
        `member ${hex(own.id)} has already been bootstrapped: the cluster knows it, but ${flags.name}'s data directory is empty. Remove the member, add it again, and start with --initial-cluster-state existing`,
      );
    }
  }
  const members = initial.map(({ id, name, peerUrls }) => ({
    ID: id,
    name,
    peerURLs: [...peerUrls],
    clientURLs: [],
    isLearner: false,
  }));
  members.sort(byId);
  return {
    identity: { memberId: own.id, clusterId: cluster },
    members,
    voters: members.map(({ ID }) => ID),
  };
}

async function join(
  initial: readonly InitialMember[],
  own: InitialMember,
  ask: AskCluster,
  log: Logger,
): Promise<Bootstrap> {
  const urls = initial.filter((member) => member !== own).flatMap(({ peerUrls }) => peerUrls);
  if (urls.length === 0) {
    throw refusal('--initial-cluster-state existing needs the members of that cluster in --initial-cluster');
  }
  log.info({ 'peer-urls': urls }, 'asking the members who belongs to the cluster');
  const refusals: RosterError[] = [];
  // Any member may be a little behind and not know of this one yet; one that does is enough.
  const answers = urls.map(async (url) => {
    const remote = await ask(url, JOIN_TIMEOUT_MS);
    const member = matchingMember(initial, own, remote.members);
    if (!('ID' in member)) {
      refusals.push(member);
      throw member;
    }
    return { remote, member };
  });
  const { remote, member } = await Promise.any(answers).catch((error: AggregateError) => {
    throw refusals[0] ?? unreachable(urls, error.errors as Error[]);
  });
  return {
    identity: { memberId: member.ID, clusterId: remote.clusterId },
    members: [...remote.members].sort(byId),
    voters: [],
  };
}

/** The member that this one is, or why it is none (etcd membership.ValidateClusterAndAssignIDs). */
function matchingMember(
  initial: readonly InitialMember[],
  own: InitialMember,
  existing: readonly Member[],
): Member | RosterError {
  const ofUrls = (peerUrls: readonly string[]) =>
    existing.find((member) => [...member.peerURLs].sort().join() === peerUrls.join());
  const member = ofUrls(own.peerUrls);
  if (member === undefined) {
    return refusal(
      `${own.name} is not a member of the cluster: run member add ${own.name} --peer-urls=${own.peerUrls.join(',')} there first`,
    );
  }
  if (existing.length !== initial.length) {
    return refusal(
      `member count is unequal: the cluster has ${existing.length} members (${existing.map(describe).join(', ')}), --initial-cluster names ${initial.length}`,
    );
  }
  const strange = initial.find(({ peerUrls }) => ofUrls(peerUrls) === undefined);
  if (strange !== undefined) {
    return refusal(
      `unmatched member while checking PeerURLs: the cluster has no member with ${strange.peerUrls.join(',')}, as --initial-cluster says of ${strange.name}`,
    );
  }
  if (member.name !== '') {
    return refusal(
      `member ${hex(member.ID)} (${member.name}) has been started before, but its data directory is empty: with the same id it could break its promises. Remove the member and add it again`,
    );
  }
  return member;
}

function describe({ ID, name, peerURLs }: Member): string {
  return `${name === '' ? hex(ID) : name}=${peerURLs.join('+')}`;
}

function unreachable(urls: readonly string[], errors: readonly Error[]): RosterError {
  const reasons = urls.map((url, i) => `${url}: ${errors[i]!.message}`).join('; ');
  return otherError(
    GrpcStatus.UNAVAILABLE,
    `cannot fetch cluster info from peer urls: none of the members in --initial-cluster has answered (${reasons})`,
  );
}

function refusal(message: string): RosterError {
  return otherError(GrpcStatus.FAILED_PRECONDITION, message);
}

function hex(id: bigint): string {
  return id.toString(16);
}

function byId(a: Member, b: Member): number {
  return a.ID < b.ID ? -1 : a.ID > b.ID ? 1 : 0;
}
