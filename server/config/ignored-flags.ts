/**
 * Flags of etcd that have no meaning in Roster: there is nothing they could change, or what they would change needs no
 * setting. Accepted with etcd's values so that unit files and charts go on working; the log names those that were given.
 */
import { type Flag, type FlagTable, UsageError } from './flag-table.ts';
import { choice, duration, flag, text, whole } from './values.ts';

const COUNT_MAX = Number.MAX_SAFE_INTEGER;
const MINUTE_MS = 60_000;

/** What etcd itself has ignored since 2.0; a bare name is enough. */
function forgotten(): Flag<string> {
  return { ...text('', 'ignored by etcd too'), boolean: true };
}

/** `off` means what Roster does anyway. */
function off(help: string, initial: string, advice: string): Flag<string> {
  return {
    initial,
    help,
    parse(value) {
      if (value !== initial) throw new UsageError(`must be ${initial}: ${advice}`);
      return value;
    },
  };
}

export const ignoredFlags = {
  'max-snapshots': whole(5, 0, COUNT_MAX, 'files of snapshots to keep: there are none'),
  'max-wals': whole(5, 0, COUNT_MAX, 'files of the log to keep: the log is cut as soon as it may be'),
  'memory-mlock': flag(false, 'lock memory'),
  'backend-bbolt-freelist-type': choice('map', ['map', 'array', ''], 'a setting of bbolt'),
  'bootstrap-defrag-threshold-megabytes': whole(0, 0, COUNT_MAX, 'there is nothing to defragment'),
  'unsafe-no-fsync': flag(false, 'every write is durable before it is answered'),
  'socket-reuse-port': flag(false, 'SO_REUSEPORT'),
  'socket-reuse-address': flag(false, 'SO_REUSEADDR, which is always on'),
  'raft-read-timeout': duration(5000, 0, 'members notice by themselves when a connection is dead'),
  'raft-write-timeout': duration(5000, 0, 'members notice by themselves when a connection is dead'),
  'compact-hash-check-time': duration(MINUTE_MS, 0, 'see --corrupt-check-time'),
  'compaction-batch-limit': whole(0, 0, COUNT_MAX, 'compaction gives way to requests by itself'),
  'compaction-sleep-interval': duration(0, 0, 'compaction gives way to requests by itself'),
  'downgrade-check-time': duration(5000, 0, 'how often a downgrade is looked after'),
  'v2-deprecation': text('write-only', 'ignored by etcd too'),
  'enable-v2v3': text('', 'the v2 API on v3 keys of etcd 3.5 and before'),
  'enable-log-rotation': flag(false, 'let logrotate (copytruncate) or journald do that'),
  'log-rotation-config-json': text(
    '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}',
    'let logrotate (copytruncate) or journald do that',
  ),
  'log-package-levels': text('', 'see --log-level'),
  'enable-distributed-tracing': flag(false, 'send traces to OpenTelemetry'),
  'distributed-tracing-address': text('localhost:4317', 'of the collector of traces'),
  'distributed-tracing-service-name': text('etcd', 'name in traces'),
  'distributed-tracing-instance-id': text('', 'name in traces'),
  'distributed-tracing-sampling-rate': whole(0, 0, 1_000_000, 'traces per million requests'),
  proxy: off('mode of the v2 proxy', 'off', 'etcd 3.6 has no v2 proxy any more'),
  'proxy-failure-wait': whole(5000, 0, COUNT_MAX, 'of the v2 proxy'),
  'proxy-refresh-interval': whole(30_000, 0, COUNT_MAX, 'of the v2 proxy'),
  'proxy-dial-timeout': whole(1000, 0, COUNT_MAX, 'of the v2 proxy'),
  'proxy-write-timeout': whole(5000, 0, COUNT_MAX, 'of the v2 proxy'),
  'proxy-read-timeout': whole(0, 0, COUNT_MAX, 'of the v2 proxy'),
  'discovery-keepalive-time': duration(2000, 0, 'connections notice by themselves when they are dead'),
  'discovery-keepalive-timeout': duration(6000, 0, 'connections notice by themselves when they are dead'),
  'discovery-fallback': off('what to do when discovery fails', 'exit', 'etcd 3.6 has no v2 proxy any more'),
  ...Object.fromEntries(
    [
      'cluster-active-size',
      'cluster-remove-delay',
      'cluster-sync-interval',
      'config',
      'force',
      'max-result-buffer',
      'max-retry-attempts',
      'peer-heartbeat-interval',
      'peer-election-timeout',
      'retry-interval',
      'snapshot',
      'v',
      'vv',
    ].map((name) => [name, forgotten()]),
  ),
} satisfies FlagTable;
