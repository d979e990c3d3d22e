/** Everything under /v2, which goes to one handler each. Decides nothing. */
import type { Context, Hono } from 'hono';
import type { RpcContext } from '../rpc/context.ts';
import type { Method } from '../rpc/service.ts';
import { Admin, notFound } from './admin.ts';
import { AuthHandler } from './auth.ts';
import { CredentialCheck } from './credentials.ts';
import { endAll, KeysHandler } from './keys.ts';
import { MembersHandler } from './members.ts';
import { v2Methods } from './methods.ts';
import { StatsHandler, type StatsOptions } from './stats.ts';
import type { V2WatchResponder } from './watch-responder.ts';

export interface V2Options {
  readonly context: RpcContext;
  /** All RPCs. */
  readonly methods: readonly Method[];
  readonly stats: Omit<StatsOptions, 'watchers'>;
}

export function mountV2(app: Hono, { context, methods, stats }: V2Options): void {
  const watches = new Set<V2WatchResponder>();
  context.stopping?.addEventListener('abort', () => endAll(watches));
  const v2 = v2Methods(context);
  const credentials = new CredentialCheck(context);
  const keys = new KeysHandler({ context, methods: v2, credentials, watches });
  const admin = new Admin({ context, methods, v2, credentials });
  const members = new MembersHandler(admin);
  const counted = new StatsHandler(admin, { ...stats, watchers: () => watches.size });
  const auth = new AuthHandler(admin);
  const mount = (path: string, handle: (c: Context) => Response | Promise<Response>) => app.all(path, handle);
  // A star stands for nothing, too.
  mount('/v2/keys/*', (c) => keys.handle(c));
  mount('/v2/members/*', (c) => members.handle(c));
  mount('/v2/machines', (c) => members.machines(c));
  mount('/v2/stats/*', (c) => counted.handle(c));
  mount('/v2/auth/*', (c) => auth.handle(c));
  mount('/v2/*', notFound);
}
