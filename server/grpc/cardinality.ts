/** What grpc-go says when a call that takes one message gets another number of them. */
import { GrpcStatus, otherError, type RosterError } from '../../core/errors.ts';

export function tooMany(): RosterError {
  return otherError(
    GrpcStatus.INTERNAL,
    'cardinality violation: received multiple request messages for non-client-streaming RPC',
  );
}

export function none(): RosterError {
  return otherError(
    GrpcStatus.INTERNAL,
    'cardinality violation: received no request message from non-client-streaming RPC',
  );
}
