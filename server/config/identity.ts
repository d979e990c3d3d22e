/** Who a member is: ids computed from URLs and token as etcd computes them, so that the same flags give the same ids. */
import { createHash } from 'node:crypto';
import type { Identity } from '../rpc/context.ts';

/**
 * First 8 bytes, big endian, of SHA-1 over the sorted peer URLs, the cluster token, and for a member that is added later
 * the time in decimal (etcd membership.NewMember).
 */
export function memberId(peerUrls: readonly string[], clusterToken: string, unixSeconds?: number): bigint {
  const hash = createHash('sha1');
  hash.update([...peerUrls].sort().join(''));
  hash.update(clusterToken);
  if (unixSeconds !== undefined) hash.update(String(unixSeconds));
  return hash.digest().readBigUInt64BE();
}

/** First 8 bytes, big endian, of SHA-1 over the sorted member ids (etcd membership.RaftCluster.genID). */
export function clusterId(memberIds: readonly bigint[]): bigint {
  const hash = createHash('sha1');
  for (const id of [...memberIds].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(id);
    hash.update(bytes);
  }
  return hash.digest().readBigUInt64BE();
}

export function singleMemberIdentity(peerUrls: readonly string[], clusterToken: string): Identity {
  const id = memberId(peerUrls, clusterToken);
  return { memberId: id, clusterId: clusterId([id]) };
}
