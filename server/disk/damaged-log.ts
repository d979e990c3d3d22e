/**
 * What a start does about a damaged log: in a cluster whose other members can vouch for it, a new log takes its place and is
 * refilled from them; otherwise the start is refused, and nothing is changed. Never decides what is damage.
 */
import { randomBytes } from 'node:crypto';
import type { StateMachine } from '../../core/apply/state-machine.ts';
import type { LogDisk } from '../../core/log/disk.ts';
import { readIdentity, setAside } from '../../core/log/set-aside.ts';
import { damageError, isRefillable, type LogDamage } from '../../core/log/verdict.ts';
import { canRefill } from '../../core/raft/refill.ts';
import type { Logger } from '../config/log.ts';

/** Resolves when the log can be recovered: as an empty one that is to be refilled. Rejects with the damage. */
export async function replaceDamagedLog(
  disk: LogDisk,
  damage: LogDamage,
  machine: StateMachine,
  log: Logger,
): Promise<void> {
  const identity = readIdentity(disk);
  const refusal = damageError(damage);
  if (identity === undefined || !isRefillable(damage) || !canRefill(machine.confState, identity.memberId))
    throw refusal;
  const nonce = randomBytes(8).readBigUInt64BE() | 1n;
  const place = { index: machine.appliedIndex, term: machine.appliedTerm };
  const suffix = await new Promise<string>((resolve, reject) => {
    setAside(disk, { identity: { ...identity, nonce }, ...place }, {}, (error, ending) => {
      if (error === undefined) resolve(ending);
      else reject(error);
    });
  });
  log.error(
    { error: refusal, file: damage.file, offset: damage.offset, 'set-aside': `*${suffix}` },
    'the log is damaged: its files are set aside, and this member fetches what it has lost from the others. Until then it has no vote. Check the disk',
  );
}
