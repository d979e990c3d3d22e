/** What to do about an error: one sentence, for those that have a remedy. Says nothing where the error says it all. */
import { type ErrorCode, GrpcStatus, type RosterError } from '../core/errors.ts';

const HINTS: Partial<Record<ErrorCode, string>> = {
  NoSpace:
    'the store is full: compact (rosterctl compaction REV), on etcd also defrag, then rosterctl alarm disarm; or raise --quota-backend-bytes',
  Corrupt: 'members differ: rosterctl doctor names them; replace the one that is wrong, then rosterctl alarm disarm',
  UserEmpty: 'auth is on: give --user NAME[:PASSWORD], or ETCDCTL_USER',
  AuthFailed: 'the user or the password is wrong',
  PermissionDenied: 'rosterctl user get NAME --detail shows what a user may do; root may do everything',
  NoLeader: 'the cluster has no leader: is a majority of its members running? rosterctl doctor tells which are',
  LeaderChanged: 'a new leader was elected meanwhile: try again',
  Timeout: 'the cluster did not agree in time: rosterctl doctor tells why',
  RequestTooLarge: 'split the request, or raise --max-request-bytes of the servers',
  TooManyOps: 'split the transaction, or raise --max-txn-ops of the servers',
  NotLeader: 'give the endpoint of the leader: rosterctl endpoint status --cluster shows which it is',
  MemberNotEnoughStarted: 'start the members that were added before, or remove them',
  Unhealthy: 'wait until every member is healthy (rosterctl endpoint health --cluster), then try again',
  RootRoleNotExist: 'rosterctl user grant-role root root',
  RootUserNotExist: 'rosterctl user add root, then rosterctl user grant-role root root',
};

const TLS = /certificate|self.signed|SSL|TLS|issuer|alert|wrong version number|unknown ca/i;

/** What to do about `error`; undefined when there is nothing to add. */
export function remedy(error: RosterError): string | undefined {
  const known = error.code === 'Other' ? undefined : HINTS[error.code];
  if (known !== undefined) return known;
  const { message, status } = error;
  if (/no SRV|ENOTFOUND|EAI_AGAIN|Name resolution/i.test(message)) return 'check the host name in --endpoints';
  if (TLS.test(message)) {
    return 'check --cacert, --cert and --key, and that the endpoint begins with https:// if, and only if, the server has TLS';
  }
  if (status === GrpcStatus.UNIMPLEMENTED) return 'the server is older than this command';
  if (/ECONNREFUSED/.test(message))
    return 'nothing listens there: is the server running, and is this --endpoints right?';
  if (status === GrpcStatus.UNAVAILABLE) return 'is the server running, and can it be reached from here (--endpoints)?';
  if (status === GrpcStatus.DEADLINE_EXCEEDED) {
    return 'the server took too long: rosterctl doctor tells why, --command-timeout gives it more time';
  }
  return undefined;
}
