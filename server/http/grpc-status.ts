/** How a gRPC status travels over HTTP (grpc-gateway's runtime.HTTPStatusFromCode) and how the gateway words an error. */
import type { RosterError } from '../../core/errors.ts';

const httpStatus = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401] as const;

export function httpStatusOf(error: RosterError): number {
  return httpStatus[error.status] ?? 500;
}

/** grpc-gateway v2's body. */
export function errorBody(error: RosterError): { code: number; message: string } {
  return { code: error.status, message: error.message };
}
