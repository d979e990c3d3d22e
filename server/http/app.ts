/** The HTTP face of a member: health, version and metrics for people and probes, the JSON gateway for programs. */
import type { Duplex } from 'node:stream';
import { Hono } from 'hono';
import { RosterError } from '../../core/errors.ts';
import { commonNameOf } from '../http2/common-name.ts';
import type { RpcContext } from '../rpc/context.ts';
import type { Method } from '../rpc/service.ts';
import { versions } from '../version.ts';
import { mountGateway } from './gateway.ts';
import type { Metrics } from './metrics.ts';

export interface AppOptions {
  context: RpcContext;
  methods: readonly Method[];
  metrics: Metrics;
  gateway: boolean;
  maxRequestBytes: number;
  /** A request failed in a way nobody foresaw: a bug. */
  onBug: (error: Error) => void;
}

const COMMON_NAME_IGNORED =
  'CommonName of client sending a request against gateway will be ignored and not used as expected';

/** What a request comes with: an HTTP/1.1 message, or what the listener knows of an HTTP/2 connection. */
export interface HttpEnvironment {
  readonly incoming?: { readonly socket: Duplex };
  readonly commonName?: string | undefined;
}

function commonNameAt(environment: HttpEnvironment | undefined): string | undefined {
  const socket = environment?.incoming?.socket;
  return socket === undefined ? environment?.commonName : commonNameOf(socket);
}

/** etcd's CORS answer with its default `--cors=*`. */
const corsHeaders = {
  'Access-Control-Allow-Methods': 'POST, GET, OPTIONS, PUT, DELETE',
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Headers': 'accept, content-type, authorization',
};

export function createApp(options: AppOptions): Hono {
  const { context } = options;
  const app = new Hono();
  app.onError((error, c) => {
    options.onBug(error);
    return c.text('internal error\n', 500);
  });
  app.use(async (c, next) => {
    if (c.req.method === 'OPTIONS') return c.body(null, 200, corsHeaders);
    await next();
    for (const [name, value] of Object.entries(corsHeaders)) c.res.headers.set(name, value);
    return undefined;
  });
  app.get('/health', async (c) => {
    const reason = await unhealthyReason(context, c.req.query('serializable') === 'true');
    if (reason === '') return c.json({ health: 'true', reason });
    return c.text(`${JSON.stringify({ health: 'false', reason })}\n`, 503);
  });
  app.all('/health', (c) => c.text('Method Not Allowed\n', 405, { Allow: 'GET' }));
  app.get('/version', (c) => c.json(versions(context.machine.membership.clusterVersion)));
  app.get('/metrics', async (c) => c.text(await options.metrics.text(), 200, { 'Content-Type': options.metrics.type }));
  app.use('/v3/*', async (c, next) => {
    // A certificate says nothing here, and whoever counts on it must hear so (CVE-2018-16886).
    if (context.machine.auth.enabled && commonNameAt(c.env as HttpEnvironment | undefined) !== undefined)
      return c.text(`${COMMON_NAME_IGNORED}\n`, 400);
    await next();
    return undefined;
  });
  if (options.gateway) mountGateway(app, options.methods, options.maxRequestBytes);
  return app;
}

/** '' when healthy: there is a leader and a read goes through (etcd's /health; docs: "Monitoring etcd"). */
export function unhealthyReason(context: Pick<RpcContext, 'node' | 'machine'>, serializable: boolean): Promise<string> {
  if (context.node.status().leader === 0n) return Promise.resolve('RAFT NO LEADER');
  return new Promise((resolve) => {
    const read = (error?: RosterError) => {
      const result = error ?? context.machine.store.range('health', '', { countOnly: true });
      if (result instanceof RosterError) resolve(`RANGE ERROR:${result.message}`);
      else resolve(typeof result === 'string' ? `RANGE ERROR:${result}` : '');
    };
    if (serializable) read();
    else context.node.linearizableRead(read);
  });
}
