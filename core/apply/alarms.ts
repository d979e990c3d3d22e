/**
 * The alarms that are raised: that a member is out of space, or that its state differs from the others'. Owns their rows in
 * the backend (bucket alarm) and what the cluster refuses because of them; the same on every replica. Never decides when an
 * alarm is due: whoever proposes it does.
 */
import { GrpcStatus, otherError, RosterError, rosterError } from '../errors.ts';
import type { Backend } from '../mvcc/backend.ts';
import type { ByteString } from '../util/bytes.ts';
import { decode, encode } from '../wire/binary.ts';
import { AlarmAction, type AlarmMember, type AlarmResponse, AlarmType } from '../wire/messages.ts';
import { type AlarmChange, type InternalRequest, StoredAlarm } from '../wire/stored.ts';
import { requestCost } from './cost.ts';
import { headerAt } from './header.ts';

const { ACTIVATE, DEACTIVATE } = AlarmAction.values;
const { NONE, NOSPACE, CORRUPT } = AlarmType.values;

export class Alarms {
  #backend: Backend;
  /** By row key, so in the order of members and types. */
  #raised = new Map<ByteString, StoredAlarm>();
  #noSpace = false;
  #corrupt = false;

  /** Empty, whatever the backend holds: see {@link restore}. */
  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Reads the alarms from `backend`, which they lie in from now on. Throws a RosterError DATA_LOSS when a row is none. */
  restore(backend: Backend = this.#backend): void {
    const raised = new Map<ByteString, StoredAlarm>();
    backend.scan('alarm', '', undefined, (key, value) => {
      const alarm = readAlarm(value);
      if (alarm === undefined || rowKey(alarm) !== key) {
        throw otherError(GrpcStatus.DATA_LOSS, 'the store is damaged: an alarm is not one');
      }
      raised.set(key, alarm);
      return true;
    });
    this.#backend = backend;
    this.#raised = raised;
    this.#summarize();
  }

  /** Those of a type, or all with NONE; sorted by member. */
  list(type: number = NONE): AlarmMember[] {
    return [...this.#raised.values()]
      .filter(({ alarm }) => type === NONE || alarm === type)
      .map(({ memberID, alarm }) => ({ memberID, alarm }));
  }

  /** The alarm of a member, and whether the member raised it of its own accord: then it may also clear it. */
  of(memberID: bigint, alarm: number): { readonly automatic: boolean } | undefined {
    return this.#raised.get(rowKey({ memberID, alarm }));
  }

  /** What stands against `request` being applied while alarms are raised (etcd: applierV3Corrupt, applierV3Capped). */
  refusal(request: InternalRequest): RosterError | undefined {
    if (this.#corrupt && touchesKeys(request)) return rosterError('Corrupt');
    if (this.#noSpace && requestCost(request) > 0) return rosterError('NoSpace');
    return undefined;
  }

  // ---- changes, in the order of the log

  /** Raises or clears one alarm; answers with it, or with nothing when there is nothing to do. */
  apply({ action, memberID, alarm, automatic }: AlarmChange, revision: number): AlarmResponse {
    const answer = (alarms: AlarmMember[]) => ({ header: headerAt(revision), alarms });
    if (action === ACTIVATE && alarm !== NONE) {
      const known = this.#raised.get(rowKey({ memberID, alarm }));
      if (known === undefined) this.#put({ memberID, alarm, automatic });
      // What somebody has raised by hand stays until somebody clears it by hand.
      else if (known.automatic && !automatic) this.#put({ memberID, alarm, automatic: false });
      return answer([{ memberID, alarm }]);
    }
    if (action === DEACTIVATE) {
      const known = this.#raised.get(rowKey({ memberID, alarm }));
      if (known === undefined || (automatic && !known.automatic)) return answer([]);
      this.#delete(known);
      return answer([{ memberID, alarm }]);
    }
    return answer([]);
  }

  /** A member is gone for good: it cannot clear what it has raised itself. */
  forget(memberID: bigint): void {
    for (const alarm of [...this.#raised.values()]) {
      if (alarm.memberID === memberID && alarm.automatic) this.#delete(alarm);
    }
  }

  #put(alarm: StoredAlarm): void {
    const key = rowKey(alarm);
    this.#raised.set(key, alarm);
    this.#raised = new Map([...this.#raised].sort(([a], [b]) => (a < b ? -1 : 1)));
    this.#backend.put('alarm', key, encode(StoredAlarm, alarm));
    this.#summarize();
  }

  #delete(alarm: StoredAlarm): void {
    const key = rowKey(alarm);
    this.#raised.delete(key);
    this.#backend.delete('alarm', key);
    this.#summarize();
  }

  #summarize(): void {
    const all = [...this.#raised.values()];
    this.#noSpace = all.some(({ alarm }) => alarm === NOSPACE);
    this.#corrupt = all.some(({ alarm }) => alarm === CORRUPT);
  }
}

/** What a corrupt cluster does no more: whoever goes on spreads the damage. */
function touchesKeys(request: InternalRequest): boolean {
  return (
    request.put !== undefined ||
    request.txn !== undefined ||
    request.delete_range !== undefined ||
    request.v2 !== undefined ||
    request.compaction !== undefined ||
    request.lease_grant !== undefined ||
    request.lease_revoke !== undefined
  );
}

/** 8 bytes of member id, big endian, and the type. */
function rowKey({ memberID, alarm }: AlarmMember): ByteString {
  let key = '';
  for (let shift = 56n; shift >= 0n; shift -= 8n) key += String.fromCharCode(Number((memberID >> shift) & 0xffn));
  return key + String.fromCharCode(alarm & 0xff);
}

function readAlarm(value: Uint8Array): StoredAlarm | undefined {
  try {
    return decode(StoredAlarm, value);
  } catch (error) {
    if (error instanceof RosterError) return undefined;
    throw error;
  }
}
