/**
 * What every RPC has done so far: calls, messages, statuses, and how long unary calls took. Wraps the methods; whoever
 * scrapes reads plain numbers.
 */
import { RosterError } from '../../core/errors.ts';
import { DurationHistogram } from '../duration-histogram.ts';
import { Copies } from '../rpc/copies.ts';
import { GO_STATUS_NAMES } from '../rpc/go-status.ts';
import type { CallContext, Method, StreamMethod, UnaryMethod } from '../rpc/service.ts';
import { ClientRequests } from './client-requests.ts';

/** What one RPC has done so far, by gRPC status. */
export interface CallCounts {
  readonly kind: Method['kind'];
  started: number;
  readonly handled: number[];
  received: number;
  sent: number;
  /** Of unary calls, from decoded request to answer. */
  readonly succeeded: DurationHistogram;
  readonly failed: DurationHistogram;
}

/** By path. */
export type RpcCounts = ReadonlyMap<string, CallCounts>;

/** A unary call that took longer than it may. */
export interface SlowCall {
  readonly method: string;
  readonly tookMs: number;
  readonly remote: string;
  readonly code: string;
  /** The key, or the beginning of the range, that was asked for; never a value. */
  readonly key?: string;
}

export interface CountOptions {
  /** Unary calls that take longer are reported; 0: none is. */
  readonly slowMs: number;
  readonly onSlow: (call: SlowCall) => void;
}

const CANCELLED = 1;
/** Keys are cut after so many characters in reports. */
const KEY_LENGTH_MAX = 128;
/** These wait for others by their nature. */
const WAITING_SERVICES = /^\/v3(?:lock|election)pb\./;

/** The same methods, counted. */
export function counted(
  methods: readonly Method[],
  options: CountOptions,
): { methods: Method[]; counts: RpcCounts; clients: ClientRequests } {
  const clients = new ClientRequests();
  const counts = new Map<string, CallCounts>();
  const wrapped = methods.map((method) => {
    const count: CallCounts = {
      kind: method.kind,
      started: 0,
      handled: [],
      received: 0,
      sent: 0,
      succeeded: DurationHistogram.doubling(0.1, 18),
      failed: DurationHistogram.doubling(0.1, 18),
    };
    counts.set(method.path, count);
    return method.kind === 'unary' ? countUnary(method, count, clients, options) : countStream(method, count, clients);
  });
  return { methods: wrapped, counts, clients };
}

function add(count: CallCounts, status: number): void {
  count.handled[status] = (count.handled[status] ?? 0) + 1;
}

function countUnary(
  method: UnaryMethod,
  count: CallCounts,
  clients: ClientRequests,
  { slowMs, onSlow }: CountOptions,
): UnaryMethod {
  const limitMs = slowMs > 0 && !WAITING_SERVICES.test(method.path) ? slowMs : Number.POSITIVE_INFINITY;
  return {
    ...method,
    handle(call, request, done) {
      count.started++;
      count.received++;
      clients.add(method.kind, call);
      const beganMs = performance.now();
      method.handle(call, request, (result) => {
        const tookMs = performance.now() - beganMs;
        const status = result instanceof RosterError ? result.status : 0;
        add(count, status);
        if (status === 0) {
          count.sent++;
          count.succeeded.observe(tookMs);
        } else count.failed.observe(tookMs);
        if (tookMs > limitMs) onSlow(slowCall(method.path, tookMs, status, call, request));
        done(result);
      });
    },
  };
}

function slowCall(method: string, tookMs: number, status: number, call: CallContext, request: object): SlowCall {
  const key: unknown = 'key' in request ? request.key : undefined;
  return {
    method,
    tookMs: Math.round(tookMs),
    remote: call.remote,
    code: GO_STATUS_NAMES[status] ?? 'Unknown',
    ...(typeof key === 'string' ? { key: key.slice(0, KEY_LENGTH_MAX) } : {}),
  };
}

function countStream(method: StreamMethod, count: CallCounts, clients: ClientRequests): StreamMethod {
  return {
    ...method,
    open(call, responder) {
      count.started++;
      clients.add(method.kind, call);
      const { end, send } = responder;
      responder.send = (response) => {
        count.sent += response instanceof Copies ? response.values.length : 1;
        return send.call(responder, response);
      };
      responder.end = (error) => {
        add(count, error?.status ?? 0);
        end.call(responder, error);
      };
      call.onCancel(() => add(count, CANCELLED));
      const handler = method.open(call, responder);
      const { message } = handler;
      handler.message = (request) => {
        count.received++;
        message.call(handler, request);
      };
      return handler;
    },
  };
}
