/** grpc.health.v1.Health: the server as a whole ("") serves for as long as it answers. */
import { GrpcStatus, otherError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { type Method, type StreamMethod, unary } from './service.ts';

const { SERVING, SERVICE_UNKNOWN } = m.ServingStatus.values;

export function healthMethods(): Method[] {
  const check = unary(
    '/grpc.health.v1.Health/Check',
    m.HealthCheckRequest,
    m.HealthCheckResponse,
    (_call, request, done) =>
      done(request.service === '' ? { status: SERVING } : otherError(GrpcStatus.NOT_FOUND, 'unknown service')),
  );
  const watch: StreamMethod<m.HealthCheckRequest, m.HealthCheckResponse> = {
    kind: 'stream',
    single: true,
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
  const list = unary(
    '/grpc.health.v1.Health/List',
    m.HealthListRequest,
    m.HealthListResponse,
    (_call, _request, done) => done({ statuses: [{ key: '', value: { status: SERVING } }] }),
  );
  return [check, list, watch];
}
