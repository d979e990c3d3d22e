/**
 * Tells the cluster who this member is: name and client URLs, as an entry of the log (etcd's publish). Until then it
 * counts as not started. Tries until it is so; owns nothing but the attempts.
 */
import { RosterError } from '../core/errors.ts';
import type { Membership } from '../core/membership/membership.ts';
import type { Node } from '../core/node/node.ts';
import type { MemberAttributes } from '../core/wire/stored.ts';
import { pause } from './pause.ts';

/** Between two attempts; an attempt that waits for a leader takes as long as any request. */
const RETRY_MS = 500;

export interface PublicationWorld {
  readonly node: Pick<Node, 'propose'>;
  membership(): Pick<Membership, 'member'>;
  /** Another attempt is necessary. */
  onRetry(error: RosterError): void;
}

/**
 * Resolves when the cluster has it: at once if nothing has changed. Also when there is no such member (any more), since
 * then somebody else has to act; and when `signal` fires.
 */
export async function publish(
  attributes: MemberAttributes,
  { node, membership, onRetry }: PublicationWorld,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const known = membership().member(attributes.ID);
    if (known?.name === attributes.name && sameUrls(known.clientURLs, attributes.clientURLs)) return;
    const result = await new Promise<object>((resolve) => node.propose({ member_attributes: attributes }, resolve));
    if (!(result instanceof RosterError) || result.code === 'MemberNotFound' || result.code === 'Stopped') return;
    onRetry(result);
    await pause(RETRY_MS, signal);
  }
}

function sameUrls(a: readonly string[], b: readonly string[]): boolean {
  return [...a].sort().join() === [...b].sort().join();
}
