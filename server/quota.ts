/**
 * The quota of this member: live and retained bytes against a maximum, the NOSPACE alarm when they reach it, and its end
 * when there is room again. Owns the decision and its rhythm; the alarm itself is replicated (core/apply/alarms.ts). The
 * size of the file on disk is of no account: its free pages are used again.
 */
import type { StateMachine } from '../core/apply/state-machine.ts';
import { RosterError } from '../core/errors.ts';
import type { Node } from '../core/node/node.ts';
import { AlarmAction, AlarmType } from '../core/wire/messages.ts';
import type { Logger } from './config/log.ts';
import type { SpaceQuota } from './rpc/quota.ts';

/** etcd's, for --quota-backend-bytes 0. */
export const DEFAULT_QUOTA_BYTES = 2 * 1024 ** 3;
/** An alarm raised by the quota is cleared below this part of it, so that it does not come and go with every request. */
export const QUOTA_CLEAR_PART = 0.9;
/** The log tells when this much is in use, in rising order. */
const WARN_PARTS = [0.8, 0.9] as const;

const { ACTIVATE, DEACTIVATE } = AlarmAction.values;
const { NOSPACE } = AlarmType.values;

export interface QuotaOptions {
  /** See --quota-backend-bytes: 0 is the default, below 0 no quota. */
  readonly bytesMax: number;
  /** See --quota-manual-disarm. */
  readonly manualDisarm: boolean;
  readonly memberId: bigint;
  readonly machine: Pick<StateMachine, 'usedBytes' | 'alarms'>;
  readonly node: Pick<Node, 'propose' | 'status'>;
  readonly log: Pick<Logger, 'warn' | 'info'>;
}

export class Quota implements SpaceQuota {
  readonly bytesMax: number;
  readonly #options: QuotaOptions;
  readonly #limit: number;
  /** A proposal is under way. */
  #busy = false;
  #waiting: (() => void)[] = [];
  /** Index in WARN_PARTS of what has been warned of; -1: nothing. */
  #warned = -1;

  constructor(options: QuotaOptions) {
    this.#options = options;
    this.bytesMax = options.bytesMax === 0 ? DEFAULT_QUOTA_BYTES : options.bytesMax;
    this.#limit = this.bytesMax < 0 ? Number.POSITIVE_INFINITY : this.bytesMax;
  }

  /** Part of the quota in use; 0 without one. */
  get usedPart(): number {
    return this.#options.machine.usedBytes / this.#limit;
  }

  fits(costBytes: number): boolean {
    return this.#options.machine.usedBytes + costBytes < this.#limit;
  }

  raise(done: () => void): void {
    if (this.#raised !== undefined) done();
    else {
      this.#waiting.push(done);
      this.#propose(ACTIVATE);
    }
  }

  /** To be called several times a second: raises the alarm, and clears what it has raised. */
  look(): void {
    this.#warn();
    const { manualDisarm, node } = this.#options;
    if (this.#busy || node.status().leader === 0n) return;
    const raised = this.#raised;
    if (raised === undefined && !this.fits(0)) this.#propose(ACTIVATE);
    else if (raised?.automatic === true && !manualDisarm && this.usedPart < QUOTA_CLEAR_PART) this.#propose(DEACTIVATE);
  }

  get #raised(): { readonly automatic: boolean } | undefined {
    return this.#options.machine.alarms.of(this.#options.memberId, NOSPACE);
  }

  #propose(action: number): void {
    if (this.#busy) return;
    this.#busy = true;
    const { node, memberId, log, machine } = this.#options;
    node.propose({ alarm: { action, memberID: memberId, alarm: NOSPACE, automatic: true } }, (result) => {
      this.#busy = false;
      const fields = { 'used-bytes': machine.usedBytes, 'quota-bytes': this.bytesMax };
      if (result instanceof RosterError) log.warn({ error: result }, 'the NOSPACE alarm could not be changed');
      else if (action === ACTIVATE) {
        log.warn(
          fields,
          'NOSPACE: the quota is used up, and the cluster takes only deletes and compactions. Compact history, delete keys, or raise --quota-backend-bytes',
        );
      } else log.info(fields, 'the NOSPACE alarm is cleared: there is room again');
      for (const done of this.#waiting.splice(0)) done();
    });
  }

  #warn(): void {
    const part = this.usedPart;
    const reached = WARN_PARTS.findLastIndex((warnPart) => part >= warnPart);
    // Half-way back to where it began, so that a store at the border does not fill the log.
    if (reached < this.#warned && part >= WARN_PARTS[this.#warned]! - 0.05) return;
    if (reached > this.#warned) {
      this.#options.log.warn(
        { 'used-bytes': this.#options.machine.usedBytes, 'quota-bytes': this.bytesMax },
        `${Math.floor(part * 100)} % of the space quota is in use`,
      );
    }
    this.#warned = reached;
  }
}
