/** The HTTP face of the proxy: its own metrics, and whether it reaches the store. No JSON gateway: members have that. */
import { Hono } from 'hono';
import type { Registry } from 'prom-client';
import type { ClientApps } from '../client-listeners.ts';
import { ETCD_VERSION } from '../version.ts';

/** `health` resolves with why the store cannot be used, or ''. */
export function proxyApps(metrics: Registry, health: () => Promise<string>, onBug: (error: Error) => void): ClientApps {
  const app = new Hono();
  app.onError((error, c) => {
    onBug(error);
    return c.text('internal error\n', 500);
  });
  for (const path of ['/metrics', '/proxy/metrics']) {
    app.get(path, async (c) => c.text(await metrics.metrics(), 200, { 'Content-Type': metrics.contentType }));
  }
  for (const path of ['/health', '/proxy/health']) {
    app.get(path, async (c) => {
      const reason = await health();
      if (reason === '') return c.json({ health: 'true', reason });
      return c.json({ health: 'false', reason }, 503);
    });
  }
  app.get('/version', (c) => c.json({ etcdserver: ETCD_VERSION, etcdcluster: 'not_decided' }));
  return { client: app, monitoring: app };
}
