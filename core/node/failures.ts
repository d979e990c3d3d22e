/** The sentences with which a node gives up. Owns words only. */
import { GrpcStatus, otherError, type RosterError } from '../errors.ts';

function isDiskFull(error: Error): boolean {
  const { code } = error as Error & { code?: unknown };
  return code === 'ENOSPC' || code === 'EDQUOT' || code === 'NoSpace';
}

/** The write-ahead log could not make a write durable: what the disk holds of it is unknown, so nothing more is promised. */
export function walFailure(error: Error): RosterError {
  if (isDiskFull(error))
    return otherError(
      GrpcStatus.RESOURCE_EXHAUSTED,
      `the disk of the write-ahead log is full (${error.message}): free some space and start again; nothing acknowledged is lost`,
      { cause: error },
    );
  return otherError(
    GrpcStatus.DATA_LOSS,
    `the write-ahead log could not be written (${error.message}): the member stops, because a failed write must not be tried again`,
    { cause: error },
  );
}

/** The same for the backend, whose content the log can rebuild. */
export function backendFailure(error: Error): RosterError {
  return otherError(
    isDiskFull(error) ? GrpcStatus.RESOURCE_EXHAUSTED : GrpcStatus.DATA_LOSS,
    `the database could not be written (${error.message}): the member stops; at the next start the write-ahead log makes up for it`,
    { cause: error },
  );
}
