/** etcd's --feature-gates: the names it knows, and how `A=true,B=false` is read. What a gate does is decided elsewhere. */
import { type Flag, nearest, UsageError } from './flag-table.ts';
import { flag } from './values.ts';

export interface FeatureGate {
  readonly stage: 'ALPHA' | 'BETA';
  /** etcd's default. */
  readonly initial: boolean;
}

/** etcd v3.7, server/features. */
export const FEATURE_GATES: Readonly<Record<string, FeatureGate>> = {
  StopGRPCServiceOnDefrag: { stage: 'ALPHA', initial: false },
  InitialCorruptCheck: { stage: 'ALPHA', initial: false },
  CompactHashCheck: { stage: 'ALPHA', initial: false },
  TxnModeWriteWithSharedBuffer: { stage: 'BETA', initial: true },
  LeaseCheckpoint: { stage: 'ALPHA', initial: false },
  LeaseCheckpointPersist: { stage: 'ALPHA', initial: false },
  SetMemberLocalAddr: { stage: 'ALPHA', initial: false },
  FastLeaseKeepAlive: { stage: 'BETA', initial: true },
  PriorityRequest: { stage: 'ALPHA', initial: false },
};

/** What Roster looks at. It behaves as if the others were on, or has no use for them. */
export const GATES_WITH_EFFECT: ReadonlySet<string> = new Set(['InitialCorruptCheck']);

/** All gates of a stage that are not named themselves. */
const STAGES: Readonly<Record<string, FeatureGate['stage']>> = { AllAlpha: 'ALPHA', AllBeta: 'BETA' };

const bool = flag(false, '').parse;

/** The gates that were named, by name or by stage. */
export const featureGates: Flag<ReadonlyMap<string, boolean>> = {
  initial: new Map(),
  help: `switches of etcd as name=true|false, comma-separated: ${Object.keys(FEATURE_GATES).join(', ')}`,
  parse(text) {
    const named = new Map<string, boolean>();
    const ofStage = new Map<string, boolean>();
    for (const part of text.split(',').map((piece) => piece.trim())) {
      if (part === '') continue;
      const [name = '', value] = part.split('=', 2).map((piece) => piece.trim());
      if (value === undefined) throw new UsageError(`missing bool value for feature gate ${name}: write ${name}=true`);
      if (Object.hasOwn(FEATURE_GATES, name)) named.set(name, bool(value));
      else if (Object.hasOwn(STAGES, name)) ofStage.set(name, bool(value));
      else {
        const known = nearest(name, Object.keys(FEATURE_GATES));
        throw new UsageError(
          `unrecognized feature gate: ${name}${known === undefined ? '' : `: did you mean ${known}?`}`,
        );
      }
    }
    for (const [stage, on] of ofStage) {
      for (const [name, gate] of Object.entries(FEATURE_GATES)) {
        if (gate.stage === STAGES[stage] && !named.has(name)) named.set(name, on);
      }
    }
    return named;
  },
};
