/**
 * How an error looks at this door: a status, and a small JSON object that says what is wrong and what to do. Owns the table
 * of both for the store's errors; what is refused here alone is made here, too.
 */
import { errorFromText, GrpcStatus, otherError, RosterError } from '../../core/errors.ts';
import { httpStatusOf } from '../http/grpc-status.ts';
import { GO_STATUS_NAMES } from '../rpc/go-status.ts';

export interface HttpErrorParts {
  readonly status: number;
  readonly code: string;
  readonly hint: string;
  /** More that a program can use. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An operational error that only this door knows. */
export class HttpError extends RosterError {
  readonly parts: HttpErrorParts;

  constructor(text: string, parts: HttpErrorParts, options?: ErrorOptions) {
    super('Other', GrpcStatus.UNKNOWN, text, options);
    this.parts = parts;
  }
}

export function badRequest(code: string, text: string, hint: string): HttpError {
  return new HttpError(text, { status: 400, code, hint });
}

const LOG_IN = 'Log in: curl -u USER:PASSWORD, or the header Authorization: Bearer TOKEN.';
const TRY_AGAIN = 'Try again, perhaps at another member.';

/** The store's errors where status or advice are this door's own; the rest is as grpc-gateway has it. */
const TABLE: Readonly<Record<string, readonly [status: number, hint: string]>> = {
  EmptyKey: [400, 'Name a key after /kv/, or add ?prefix to mean all keys.'],
  Compacted: [410, 'Read without ?rev, or at a later revision.'],
  FutureRev: [400, 'There is no such revision yet: leave out ?rev to read what there is.'],
  LeaseNotFound: [404, 'Grant the lease first, or give ?ttl=SECONDS instead.'],
  LeaseTTLTooLarge: [400, 'A ttl is at most 9000000000 seconds.'],
  NoSpace: [507, 'Delete keys, compact, or raise --quota-backend-bytes.'],
  RequestTooLarge: [413, 'Store less in one key, or raise --max-request-bytes.'],
  RequestTooManyRequests: [429, 'Wait a moment and try again.'],
  UserEmpty: [401, LOG_IN],
  AuthFailed: [401, LOG_IN],
  InvalidAuthToken: [401, LOG_IN],
  AuthOldRevision: [401, LOG_IN],
  PermissionDenied: [403, 'Ask for a role with a permission on these keys: rosterctl role grant-permission.'],
  NotSupportedForLearner: [503, 'This member does not vote yet: ask another one.'],
  NoLeader: [503, `The cluster has no leader at the moment. ${TRY_AGAIN} ?serializable reads what this one has.`],
  LeaderChanged: [503, TRY_AGAIN],
  Stopped: [503, 'This member is being stopped. Try again at another one, or later.'],
  Timeout: [503, TRY_AGAIN],
  TimeoutDueToLeaderFail: [503, TRY_AGAIN],
  TimeoutDueToConnectionLost: [503, TRY_AGAIN],
  TimeoutWaitAppliedIndex: [503, TRY_AGAIN],
  Corrupt: [503, 'The members do not agree about their data: see the alarms (rosterctl alarm list).'],
};

export interface ErrorAnswer {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly headers: Record<string, string>;
}

/** `compactRevision`: of this member, for who asked for what is gone. */
export function errorAnswer(error: RosterError, compactRevision: number): ErrorAnswer {
  const { message } = error;
  if (error instanceof HttpError) {
    const { status, code, hint, details, headers } = error.parts;
    return { status, body: { error: message, code, hint, ...details }, headers: { ...headers } };
  }
  const [status, hint] = TABLE[error.code] ?? [httpStatusOf(error), 'See the message.'];
  const headers: Record<string, string> = {};
  // A browser may ask for a password; a program sees that a token will do.
  if (status === 401) headers['WWW-Authenticate'] = 'Basic realm="roster", charset="UTF-8", Bearer';
  if (status === 503) headers['Retry-After'] = '1';
  const details = error.code === 'Compacted' ? { compactRevision } : {};
  return { status, body: { error: message, code: error.code, hint, ...details }, headers };
}

export function errorResponse(error: RosterError, compactRevision: number): Response {
  const { status, body, headers } = errorAnswer(error, compactRevision);
  return new Response(`${JSON.stringify(body)}\n`, {
    status,
    headers: { ...headers, 'Content-Type': 'application/json' },
  });
}

/** The error that a watch was refused with: it comes as text, as Go prints it. */
export function refusalOf(reason: string): RosterError {
  const match = /^rpc error: code = (\w+) desc = (.*)$/s.exec(reason);
  if (match === null) return otherError(GrpcStatus.INVALID_ARGUMENT, reason);
  const status = (GO_STATUS_NAMES as readonly string[]).indexOf(match[1]!);
  return errorFromText((status < 0 ? GrpcStatus.UNKNOWN : status) as GrpcStatus, match[2]!);
}
