/** gRPC's statuses under the names that Go gives them: grpc-go's metrics and error texts have them. */
import type { GrpcStatus, RosterError } from '../../core/errors.ts';

/** By number. */
export const GO_STATUS_NAMES = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
] as const satisfies Record<GrpcStatus, string>;

/** What Go prints for such an error, and clients of watches look for in a reason. */
export function goStatusText({ status, message }: RosterError): string {
  return `rpc error: code = ${GO_STATUS_NAMES[status]} desc = ${message}`;
}
