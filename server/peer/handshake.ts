/**
 * How a connection between members begins: the paths, the headers with which the dialing side says who it is and whom it
 * means, and the reasons to refuse it. Decides; touches no socket.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { Identity } from '../rpc/context.ts';

/** Raised when members could no longer understand each other otherwise. */
export const PEER_PROTOCOL = '1';

export type Lane = 'stream' | 'bulk';

export const LANE_PATHS: Readonly<Record<Lane, string>> = {
  stream: '/roster/peer/stream',
  bulk: '/roster/peer/bulk',
};

// etcd's names, where it has one.
export const CLUSTER_ID_HEADER = 'x-etcd-cluster-id';
const FROM_HEADER = 'x-server-from';
const TO_HEADER = 'x-raft-to';
const PROTOCOL_HEADER = 'x-roster-peer-protocol';
/** With a 410: the member that has been removed. A stranger's web server does not say that. */
const REMOVED_HEADER = 'x-roster-removed-member';

/** As etcd writes ids for people. */
export function hexId(id: bigint): string {
  return id.toString(16);
}

/** What the member `identity` says when it dials member `to`. */
export function greeting(identity: Identity, to: bigint): Record<string, string> {
  return {
    [CLUSTER_ID_HEADER]: hexId(identity.clusterId),
    [FROM_HEADER]: hexId(identity.memberId),
    [TO_HEADER]: hexId(to),
    [PROTOCOL_HEADER]: PEER_PROTOCOL,
  };
}

export interface Accepted {
  readonly from: bigint;
  readonly lane: Lane;
}

export interface Refused {
  readonly status: number;
  /** A sentence for the log of the dialing side. */
  readonly text: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Whether the member `identity` takes a connection to `path` with `headers`. `isRemoved` knows who has left the cluster. */
export function judge(
  path: string | undefined,
  headers: IncomingHttpHeaders,
  identity: Identity,
  isRemoved: (id: bigint) => boolean,
): Accepted | Refused {
  const lane = (Object.keys(LANE_PATHS) as Lane[]).find((name) => LANE_PATHS[name] === path);
  if (lane === undefined) return { status: 404, text: 'there is nothing to connect to at this path' };
  if (headers[PROTOCOL_HEADER] !== PEER_PROTOCOL) {
    return {
      status: 400,
      text: `this member speaks version ${PEER_PROTOCOL} of the peer protocol, the request does not: run releases that work together`,
    };
  }
  const cluster = idOf(headers[CLUSTER_ID_HEADER]);
  const from = idOf(headers[FROM_HEADER]);
  const to = idOf(headers[TO_HEADER]);
  if (cluster === undefined || from === undefined || to === undefined) {
    return { status: 400, text: `${CLUSTER_ID_HEADER}, ${FROM_HEADER} and ${TO_HEADER} must each hold one id in hex` };
  }
  if (cluster !== identity.clusterId) {
    return {
      status: 412,
      text: `cluster id mismatch: this member belongs to cluster ${hexId(identity.clusterId)}, member ${hexId(from)} to cluster ${hexId(cluster)}`,
    };
  }
  if (isRemoved(from)) {
    return {
      status: 410,
      text: removedText(from),
      headers: { [REMOVED_HEADER]: hexId(from) },
    };
  }
  if (to !== identity.memberId) {
    return { status: 421, text: `this is member ${hexId(identity.memberId)}, not member ${hexId(to)}` };
  }
  if (from === identity.memberId) return { status: 400, text: `this is member ${hexId(from)} itself` };
  return { from, lane };
}

export function removedText(id: bigint): string {
  return `member ${hexId(id)} has been removed from the cluster`;
}

/** Whether an answer with these headers and a 410 says that member `id` has been removed. */
export function saysRemoved(status: number | undefined, headers: IncomingHttpHeaders, id: bigint): boolean {
  return status === 410 && headers[REMOVED_HEADER] === hexId(id);
}

/** `undefined` when it is not one id in hex. */
export function idOf(value: string | string[] | undefined): bigint | undefined {
  return typeof value === 'string' && /^[0-9a-f]{1,16}$/.test(value) ? BigInt(`0x${value}`) : undefined;
}
