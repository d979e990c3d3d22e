/**
 * How a gRPC status travels over HTTP: status code and body, as grpc-gateway v2 has them (etcd since 3.6), and as v1 had
 * them, for who asks at a path of its time.
 */
import { STATUS_CODES } from 'node:http';
import { GrpcStatus, type RosterError } from '../../core/errors.ts';

const httpStatus = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401] as const;

/** `old`: of v1 (runtime.HTTPStatusFromCode of either). */
export function httpStatusOf(error: RosterError, old = false): number {
  if (old && error.status === GrpcStatus.CANCELLED) return 408;
  if (old && error.status === GrpcStatus.FAILED_PRECONDITION) return 412;
  return httpStatus[error.status] ?? 500;
}

/** Instead of the answer of a unary call. */
export function errorBody(error: RosterError, old = false): object {
  const { status: code, message } = error;
  return old ? { error: message, message, code } : { code, message };
}

/** A line of a stream. In both dialects at once: Patroni reads v1's names only, whatever the version. */
export function streamErrorBody(error: RosterError): object {
  const { status: code, message } = error;
  const http_code = httpStatusOf(error);
  return { error: { code, message, grpc_code: code, http_code, http_status: STATUS_CODES[http_code] ?? '' } };
}
