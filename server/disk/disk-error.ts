/** Errors of the file system in words an operator can act on. */
import { GrpcStatus, RosterError } from '../../core/errors.ts';

const FULL = new Set(['ENOSPC', 'EDQUOT']);

/** The `code` of a system error, '' for any other value. */
export function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/**
 * `error` as what stopped Roster from doing `action` ("write", "create") with `path`: a RosterError, of code NoSpace when
 * the disk, or the quota on it, is full.
 */
export function diskError(action: string, path: string, error: unknown): RosterError {
  const code = systemCode(error);
  if (FULL.has(code)) {
    const what = code === 'EDQUOT' ? 'the disk quota is used up' : 'there is no space left on the disk';
    return new RosterError('NoSpace', GrpcStatus.RESOURCE_EXHAUSTED, `cannot ${action} ${path}: ${what}`, {
      cause: error,
    });
  }
  const why = error instanceof Error ? error.message : String(error);
  return new RosterError('Other', GrpcStatus.INTERNAL, `cannot ${action} ${path}: ${why}`, { cause: error });
}
