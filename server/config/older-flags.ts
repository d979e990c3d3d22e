/**
 * Names that etcd's flags had in older versions (2.x to 3.6), and what they are called today. Owns the names only; the
 * flags themselves are in serve-flags.ts. What changed its meaning, and cannot be translated, is refused with the reason.
 */
import { type ArgumentKind, UsageError } from './flag-table.ts';
import { flag } from './values.ts';

export interface OlderFlag extends ArgumentKind {
  /** What to write today, for the log and the help. */
  readonly now: string;
  readonly duration?: boolean;
  /** The same with today's flags. Throws UsageError. */
  readonly translate: (text: string) => readonly (readonly [name: string, text: string])[];
}

const isTrue = flag(false, '').parse;

function renamed(now: string, kind: { boolean?: boolean; duration?: boolean } = {}): OlderFlag {
  return { ...kind, help: `now --${now}`, now: `--${now}`, translate: (text) => [[now, text]] };
}

/** `--experimental-x` that became `--x` in 3.6. */
function graduated(kind: { boolean?: boolean; duration?: boolean }, ...names: string[]): [string, OlderFlag][] {
  return names.map((name) => [`experimental-${name}`, renamed(name, kind)]);
}

/** `--experimental-x` that became a feature gate in 3.6. */
function gate(now: string): OlderFlag {
  return {
    boolean: true,
    help: `now --feature-gates ${now}=true`,
    now: `--feature-gates ${now}=true`,
    translate: (text) => [['feature-gates', `${now}=${isTrue(text)}`]],
  };
}

/** etcd 0.4's `host:port`. */
function address(now: string): OlderFlag {
  return {
    ...renamed(now),
    translate(text) {
      if (!/^[^:/\s]+:\d+$|^\[[^\]\s]+\]:\d+$/.test(text)) throw new UsageError('must be host:port');
      return [[now, `http://${text}`]];
    },
  };
}

/** Until 3.0 a CA file alone asked for certificates. */
function caFile(prefix: '' | 'peer-'): OlderFlag {
  const now = `${prefix}trusted-ca-file`;
  return {
    help: `now --${now} and --${prefix}client-cert-auth`,
    now: `--${now} and --${prefix}client-cert-auth`,
    translate: (text) => [
      [now, text],
      [`${prefix}client-cert-auth`, 'true'],
    ],
  };
}

export const olderFlags: Readonly<Record<string, OlderFlag>> = {
  ...Object.fromEntries([
    ...graduated(
      { duration: true },
      'corrupt-check-time',
      'compact-hash-check-time',
      'compaction-sleep-interval',
      'watch-progress-notify-interval',
      'warning-apply-duration',
      'warning-unary-request-duration',
      'downgrade-check-time',
    ),
    ...graduated(
      {},
      'compaction-batch-limit',
      'bootstrap-defrag-threshold-megabytes',
      'snapshot-catchup-entries',
      'max-learners',
      'backend-bbolt-freelist-type',
      'distributed-tracing-address',
      'distributed-tracing-service-name',
      'distributed-tracing-instance-id',
      'distributed-tracing-sampling-rate',
      'enable-v2v3',
    ),
    ...graduated({ boolean: true }, 'memory-mlock', 'enable-distributed-tracing', 'peer-skip-client-san-verification'),
  ]),
  'experimental-snapshot-catch-up-entries': renamed('snapshot-catchup-entries'),
  'experimental-compact-hash-check-enabled': gate('CompactHashCheck'),
  'experimental-enable-lease-checkpoint': gate('LeaseCheckpoint'),
  'experimental-enable-lease-checkpoint-persist': gate('LeaseCheckpointPersist'),
  'experimental-txn-mode-write-with-shared-buffer': gate('TxnModeWriteWithSharedBuffer'),
  'experimental-stop-grpc-service-on-defrag': gate('StopGRPCServiceOnDefrag'),
  'experimental-set-member-localaddr': gate('SetMemberLocalAddr'),
  'log-output': renamed('log-outputs'),
  debug: {
    boolean: true,
    help: 'now --log-level debug',
    now: '--log-level debug',
    translate: (text) => (isTrue(text) ? [['log-level', 'debug']] : []),
  },
  'ca-file': caFile(''),
  'peer-ca-file': caFile('peer-'),
  addr: address('advertise-client-urls'),
  'bind-addr': address('listen-client-urls'),
  'peer-addr': address('initial-advertise-peer-urls'),
  'peer-bind-addr': address('listen-peer-urls'),
};

/**
 * Whoever gives one of these counts on something that would silently not happen. Name -> what to do instead. Empty values,
 * which charts like to give, ask for nothing.
 */
export const refusedFlags: Readonly<Record<string, string>> = {
  peers: 'use --initial-cluster',
  'peers-file': 'use --initial-cluster',
  discovery:
    'the v2 discovery service is gone: use --discovery-token and --discovery-endpoints, --discovery-srv, or --initial-cluster',
  'discovery-proxy':
    'the v2 discovery service is gone: use --discovery-token and --discovery-endpoints, --discovery-srv, or --initial-cluster',
};
