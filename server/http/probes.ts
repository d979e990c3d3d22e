/**
 * What probes ask: /health, /livez, /readyz, with etcd's checks, words and status codes. Owns no state: each question is
 * answered from the member as it is.
 */
import type { Context, Hono } from 'hono';
import { RosterError } from '../../core/errors.ts';
import { AlarmType } from '../../core/wire/messages.ts';
import type { RpcContext } from '../rpc/context.ts';
import type { HealthCounts } from './health-counts.ts';

export type HealthContext = Pick<RpcContext, 'node' | 'machine' | 'isLearner'>;

/** '' when it is well. */
type Check = (context: HealthContext) => string | Promise<string>;

const LIVEZ_CHECKS: Readonly<Record<string, Check>> = {
  serializable_read: (context) => rangeError(context, true),
};
const READYZ_CHECKS: Readonly<Record<string, Check>> = {
  data_corruption: ({ machine }) =>
    machine.alarms.list(AlarmType.values.CORRUPT).length > 0 ? 'alarm activated: CORRUPT' : '',
  linearizable_read: (context) => rangeError(context, false),
  non_learner: ({ isLearner }) => (isLearner() ? 'not supported for learner' : ''),
  serializable_read: (context) => rangeError(context, true),
};

const ALARM_REASONS: ReadonlyMap<number, string> = new Map([
  [AlarmType.values.NOSPACE, 'NOSPACE'],
  [AlarmType.values.CORRUPT, 'CORRUPT'],
]);

/** Adds the probes to `app`. */
export function mountProbes(app: Hono, context: HealthContext, counts: HealthCounts): void {
  app.get('/health', async (c) => {
    const excluded = new Set(c.req.queries('exclude'));
    const reason = await unhealthyReason(context, c.req.query('serializable') === 'true', excluded);
    counts.health(reason === '');
    if (reason === '') return c.json({ health: 'true', reason });
    return c.text(`${JSON.stringify({ health: 'false', reason })}\n`, 503);
  });
  app.all('/health', methodNotAllowed);
  mountChecks(app, 'livez', LIVEZ_CHECKS, context, counts);
  mountChecks(app, 'readyz', READYZ_CHECKS, context, counts);
}

/**
 * '' when healthy: no alarm, a leader, and a read goes through (etcd's /health; docs: "Monitoring etcd"). Alarms named in
 * `excluded` are left out. A serializable read needs no leader.
 */
export async function unhealthyReason(
  context: Pick<RpcContext, 'node' | 'machine'>,
  serializable: boolean,
  excluded: ReadonlySet<string> = new Set(),
): Promise<string> {
  for (const { alarm } of context.machine.alarms.list()) {
    const name = ALARM_REASONS.get(alarm) ?? 'UNKNOWN';
    if (!excluded.has(name)) return `ALARM ${name}`;
  }
  if (!serializable && context.node.status().leader === 0n) return 'RAFT NO LEADER';
  const error = await readError(context, serializable);
  return error === '' ? '' : `RANGE ERROR:${error}`;
}

function mountChecks(
  app: Hono,
  type: 'livez' | 'readyz',
  checks: Readonly<Record<string, Check>>,
  context: HealthContext,
  counts: HealthCounts,
): void {
  const answer = async (c: Context, names: readonly string[]) => {
    const results = await Promise.all(names.map(async (name) => ({ name, error: await checks[name]!(context) })));
    for (const { name, error } of results) counts.check(type, name, error === '');
    const lines = results.map(({ name, error }) =>
      error === '' ? `[+]${name} ok\n` : `[-]${name} failed: ${error}\n`,
    );
    const headers = { 'X-Content-Type-Options': 'nosniff' };
    // Go's http.Error ends the line once more.
    if (results.some(({ error }) => error !== '')) return c.text(`${lines.join('')}\n`, 503, headers);
    return c.text(`${c.req.query('verbose') === undefined ? '' : lines.join('')}ok\n`, 200, headers);
  };
  const names = Object.keys(checks);
  app.get(`/${type}`, (c) => {
    const excluded = new Set(c.req.queries('exclude'));
    return answer(
      c,
      names.filter((name) => !excluded.has(name)),
    );
  });
  app.all(`/${type}`, methodNotAllowed);
  for (const name of names) {
    app.get(`/${type}/${name}`, (c) => answer(c, [name]));
    app.all(`/${type}/${name}`, methodNotAllowed);
  }
}

function methodNotAllowed(c: Context): Response {
  return c.text('Method Not Allowed\n', 405, { Allow: 'GET' });
}

async function rangeError(context: HealthContext, serializable: boolean): Promise<string> {
  const error = await readError(context, serializable);
  return error === '' ? '' : `range error: ${error}`;
}

/** A read that costs nothing but the way to it. */
function readError({ node, machine }: Pick<RpcContext, 'node' | 'machine'>, serializable: boolean): Promise<string> {
  return new Promise((resolve) => {
    const read = (error?: RosterError) => {
      const result = error ?? machine.store.range('health', '', { countOnly: true });
      if (result instanceof RosterError) resolve(result.message);
      else resolve(typeof result === 'string' ? result : '');
    };
    if (serializable) read();
    else node.linearizableRead(read);
  });
}
