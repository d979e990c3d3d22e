/** The HTTP face of a member: health, version and metrics for people and probes, the JSON gateway for programs. */
import { Hono } from 'hono';
import { getPath } from 'hono/utils/url';
import { kvApp } from '../kv/app.ts';
import { keyPath } from '../kv/target.ts';
import type { RpcContext } from '../rpc/context.ts';
import type { Method } from '../rpc/service.ts';
import { mountV2, type V2Options } from '../v2/mount.ts';
import { versions } from '../version.ts';
import { type AccessControl, accessControl, commonNameAt, type HttpEnvironment } from './access-control.ts';
import { mountDebug } from './debug.ts';
import { mountGateway } from './gateway.ts';
import { currentPath } from './gateway-paths.ts';
import type { HealthCounts } from './health-counts.ts';
import type { Metrics } from './metrics.ts';
import { mountProbes } from './probes.ts';

export interface AppOptions {
  context: RpcContext;
  methods: readonly Method[];
  metrics: Metrics;
  health: HealthCounts;
  access: AccessControl;
  /** See --enable-pprof. */
  pprof: boolean;
  gateway: boolean;
  /** See --enable-v2; absent: it is not served. */
  v2: V2Options['stats'] | undefined;
  maxRequestBytes: number;
  /** A request failed in a way nobody foresaw: a bug. */
  onBug: (error: Error) => void;
}

const COMMON_NAME_IGNORED =
  'CommonName of client sending a request against gateway will be ignored and not used as expected';

export function createApp(options: AppOptions): Hono {
  const { context } = options;
  const app = newApp(options);
  app.use(accessControl(options.access));
  mountMonitoring(app, options);
  app.get('/version', (c) => c.json(versions(context.machine.membership.clusterVersion)));
  mountDebug(app, context, options.pprof);
  app.use('/v3/*', async (c, next) => {
    // A certificate says nothing here, and whoever counts on it must hear so (CVE-2018-16886).
    if (context.machine.auth.enabled && commonNameAt(c.env as HttpEnvironment | undefined) !== undefined)
      return c.text(`${COMMON_NAME_IGNORED}\n`, 400);
    await next();
    return undefined;
  });
  app.route('/', kvApp(options));
  if (options.gateway) mountGateway(app, options.methods, options.maxRequestBytes, context.stopping);
  if (options.v2 !== undefined) mountV2(app, { context, methods: options.methods, stats: options.v2 });
  return app;
}

/** What --listen-metrics-urls serves: nothing but what monitoring asks for. */
export function createMonitoringApp(options: Pick<AppOptions, 'context' | 'metrics' | 'health' | 'onBug'>): Hono {
  const app = newApp(options);
  mountMonitoring(app, options);
  return app;
}

function newApp({ onBug }: Pick<AppOptions, 'onBug'>): Hono {
  const app = new Hono({
    getPath: (request, options) => keyPath(request, options?.env) ?? currentPath(getPath(request)),
  });
  app.onError((error, c) => {
    onBug(error);
    return c.text('internal error\n', 500);
  });
  return app;
}

function mountMonitoring(
  app: Hono,
  { context, metrics, health }: Pick<AppOptions, 'context' | 'metrics' | 'health'>,
): void {
  mountProbes(app, context, health);
  app.get('/metrics', async (c) => c.text(await metrics.text(), 200, { 'Content-Type': metrics.type }));
}
