/** Response headers as the state machine begins them; the serving member fills in who it is (server/rpc). */
import type { ResponseHeader } from '../wire/messages.ts';

/** A header that holds a revision and nothing else. A new object each time: the outermost one is completed in place. */
export function headerAt(revision: number): ResponseHeader {
  return { cluster_id: 0n, member_id: 0n, revision, raft_term: 0 };
}
