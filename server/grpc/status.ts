/**
 * How gRPC says how a call ended (gRPC over HTTP/2: Responses): header blocks, made once where they never change. Knows
 * no call.
 */
import { GrpcStatus } from '../../core/errors.ts';
import type { HeaderField } from '../http2/header-list.ts';
import { encodeHeaderBlock } from '../http2/hpack.ts';

const CONTENT_TYPE: HeaderField = ['content-type', 'application/grpc'];

/** The header section of every response that has messages. */
export const RESPONSE_HEADERS: Uint8Array = encodeHeaderBlock([[':status', '200'], CONTENT_TYPE]);
/** The trailer section of every response that ended well. */
export const OK_TRAILERS: Uint8Array = encodeHeaderBlock([['grpc-status', '0']]);

/** The trailer section after messages. */
export function trailers(status: GrpcStatus, message: string): Uint8Array {
  return status === GrpcStatus.OK ? OK_TRAILERS : encodeHeaderBlock(statusFields(status, message));
}

/** A response without messages: header section and trailer section in one (Trailers-Only). */
export function trailersOnly(
  status: GrpcStatus,
  message: string,
  httpStatus = 200,
  more: readonly HeaderField[] = [],
): Uint8Array {
  return encodeHeaderBlock([[':status', `${httpStatus}`], CONTENT_TYPE, ...more, ...statusFields(status, message)]);
}

function statusFields(status: GrpcStatus, message: string): HeaderField[] {
  const fields: HeaderField[] = [['grpc-status', `${status}`]];
  if (message !== '') fields.push(['grpc-message', percentEncode(message)]);
  return fields;
}

/** Status-Message of the specification: UTF-8, with everything but printable ASCII, and `%`, as %XX. */
export function percentEncode(message: string): string {
  if (/^[ -$&-~]*$/.test(message)) return message;
  let encoded = '';
  for (const byte of Buffer.from(message, 'utf8')) {
    encoded +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
