/** grpc.health.v1.Health: the server as a whole ("") serves for as long as it answers. */
import { GrpcStatus, otherError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import type { Method, StreamMethod, UnaryMethod } from './service.ts';

const { SERVING, SERVICE_UNKNOWN } = m.ServingStatus.values;

export function healthMethods(): Method[] {
  const check: UnaryMethod<m.HealthCheckRequest, m.HealthCheckResponse> = {
    kind: 'unary',
    path: '/grpc.health.v1.Health/Check',
    request: m.HealthCheckRequest,
    response: m.HealthCheckResponse,
    handle(_call, request, done) {
      if (request.service !== '') return done(otherError(GrpcStatus.NOT_FOUND, 'unknown service'));
      done({ status: SERVING });
    },
  };
  const watch: StreamMethod<m.HealthCheckRequest, m.HealthCheckResponse> = {
    kind: 'stream',
    path: '/grpc.health.v1.Health/Watch',
    request: m.HealthCheckRequest,
    response: m.HealthCheckResponse,
    open: (_call, responder) => ({
      // The status never changes, so one message is all; the stream stays open until the client leaves.
      message: (request) => void responder.send({ status: request.service === '' ? SERVING : SERVICE_UNKNOWN }),
      halfClose: () => {},
      cancel: () => {},
    }),
  };
  return [check, watch];
}
