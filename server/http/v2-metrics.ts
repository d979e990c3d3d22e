/** What has become of v2 operations, under the names of etcd's v2 store. */
import { Counter, type Registry } from 'prom-client';
import type { V2Counts } from '../../core/v2/counts.ts';
import { plainMetrics } from './plain-metrics.ts';

/** By etcd's name of the action. */
const WRITES = {
  set: 'sets',
  delete: 'deletes',
  update: 'updates',
  create: 'creates',
  compareAndSwap: 'compareAndSwaps',
  compareAndDelete: 'compareAndDeletes',
} as const satisfies Record<string, keyof V2Counts>;

export function v2Metrics(registry: Registry, counts: V2Counts): void {
  const byAction = (name: string, help: string, read: () => readonly (readonly [string, number])[]) =>
    new Counter({
      name,
      help,
      labelNames: ['action'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [action, count] of read()) this.inc({ action }, count);
      },
    });
  const writes = (outcome: 'success' | 'fail') => () =>
    Object.entries(WRITES).map(([action, field]) => [action, counts[field][outcome]] as const);
  const reads = (outcome: 'success' | 'fail') => () => [['get', counts.gets[outcome]] as const];
  byAction('etcd_debugging_store_reads_total', 'Reads through the v2 API.', reads('success'));
  byAction('etcd_debugging_store_reads_failed_total', 'Reads through the v2 API that found nothing.', reads('fail'));
  byAction('etcd_debugging_store_writes_total', 'Writes through the v2 API.', writes('success'));
  byAction('etcd_debugging_store_writes_failed_total', 'Writes through the v2 API that were refused.', writes('fail'));
  plainMetrics(registry).counter(
    'etcd_debugging_store_expires_total',
    'Nodes of the v2 API whose time ran out.',
    () => counts.expired,
  );
}
