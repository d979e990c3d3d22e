import { GrpcStatus, otherError, RosterError } from '../../core/errors.ts';
import { decode } from '../../core/wire/binary.ts';
import type { MessageType } from '../../core/wire/schema.ts';

/** The request that `bytes[start..end]` hold. Throws a RosterError with grpc-go's words when they hold none. */
export function decodeRequest<T extends object>(
  type: MessageType<T>,
  bytes: Uint8Array,
  start: number,
  end: number,
): T {
  try {
    return decode(type, bytes, start, end);
  } catch (cause) {
    if (!(cause instanceof RosterError)) throw cause;
    throw otherError(GrpcStatus.INTERNAL, `grpc: failed to unmarshal the received message: ${cause.message}`, {
      cause,
    });
  }
}
