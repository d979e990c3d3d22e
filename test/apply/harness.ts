import { createStateMachine, type StateMachineLimits } from '../../core/apply/create.ts';
import type { StateMachine } from '../../core/apply/state-machine.ts';
import { RosterError } from '../../core/errors.ts';
import { MemoryBackend, MemoryDisk } from '../../core/mvcc/memory-backend.ts';
import { MemoryPlace, MemoryStaging } from '../../core/mvcc/memory-staging.ts';
import type { StatePoint, StateWriter } from '../../core/node/machine.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { InternalRequest } from '../../core/wire/stored.ts';

/** A clock that moves when told to. */
export class ManualClock {
  ms = 1_000_000;
  nowMs(): number {
    return this.ms;
  }
}

/** A state machine on memory, fed entry by entry, with a disk that can be reopened. */
export class Harness {
  readonly clock = new ManualClock();
  readonly place: MemoryPlace;
  readonly machine: StateMachine;
  /** Backend work that has not happened yet. */
  readonly tasks: (() => void)[] = [];

  constructor(limits: Partial<StateMachineLimits> = {}, disk = new MemoryDisk()) {
    const defer = (task: () => void) => this.tasks.push(task);
    this.place = new MemoryPlace(disk);
    const backend = new MemoryBackend(defer, disk);
    const staging = new MemoryStaging(this.place, defer);
    this.machine = createStateMachine({ backend, staging, clock: this.clock, limits });
  }

  get backend(): MemoryBackend {
    return this.machine.backend as MemoryBackend;
  }

  /** Applies one request as the next entry. */
  apply(request: Partial<InternalRequest>): object {
    const index = this.machine.appliedIndex + 1;
    return this.machine.apply(index, 1, { ...defaults(InternalRequest), ...request })!;
  }

  put(key: string, value = '', more: Partial<m.PutRequest> = {}): m.PutResponse | RosterError {
    return this.apply({ put: putRequest(key, value, more) }) as m.PutResponse | RosterError;
  }

  del(key: string, rangeEnd = '', more: Partial<m.DeleteRangeRequest> = {}): m.DeleteRangeResponse {
    return this.apply({ delete_range: deleteRequest(key, rangeEnd, more) }) as m.DeleteRangeResponse;
  }

  txn(request: Partial<m.TxnRequest>): m.TxnResponse | RosterError {
    return this.apply({ txn: { ...defaults(m.TxnRequest), ...request } }) as m.TxnResponse | RosterError;
  }

  compact(revision: number): object {
    return this.apply({ compaction: { revision, physical: false } });
  }

  grant(id: bigint, ttl = 60n): object {
    return this.apply({ lease_grant: { ID: id, TTL: ttl } });
  }

  revoke(id: bigint): object {
    return this.apply({ lease_revoke: { ID: id } });
  }

  get(key: string, more: Partial<m.RangeRequest> = {}): m.RangeResponse | RosterError {
    return this.machine.range(rangeRequest(key, more));
  }

  /** Key -> value of everything there is. */
  dump(): Record<string, string> {
    const { kvs } = success(this.get('\0', { range_end: '\0' }));
    return Object.fromEntries(kvs.map((kv) => [kv.key, text(kv.value)]));
  }

  /** Runs background work to its end. */
  settle(): void {
    do this.flush();
    while (this.machine.work() || this.tasks.length > 0);
  }

  /** Lets the backend finish what it has begun. */
  flush(): void {
    for (let task = this.tasks.shift(); task !== undefined; task = this.tasks.shift()) task();
  }

  /** Makes durable what has been applied. */
  commit(): void {
    this.machine.commit(() => {});
    this.flush();
  }

  /** A writer that has got all of this state, as of the last commit, in pieces of about `pieceBytes`; and what it is. */
  sendTo(other: Harness, pieceBytes = 1000): { writer: StateWriter; point: StatePoint } {
    const reader = this.machine.read();
    const writer = other.machine.receive();
    for (let from: string | undefined = ''; from !== undefined; ) {
      const piece = reader.read(from, pieceBytes);
      const refusal = writer.write(piece.rows);
      if (refusal !== undefined) throw refusal;
      from = piece.next;
    }
    reader.close();
    return { writer, point: reader.point };
  }

  /** Takes over the state of `other`, as of its last commit, and returns when it is in force. Throws what `done` is given. */
  installFrom(other: Harness, pieceBytes?: number): void {
    const { writer, point } = other.sendTo(this, pieceBytes);
    let result: Error | 'installed' | undefined;
    this.machine.install(writer, point, (error) => {
      result = error ?? 'installed';
    });
    while (result === undefined) {
      this.flush();
      if (result === undefined) this.machine.work();
    }
    if (result instanceof Error) throw result;
  }

  /** What a new process finds after a crash: only what was committed. */
  reopened(limits: Partial<StateMachineLimits> = {}): Harness {
    const next = new Harness(limits, this.place.disk);
    for (const _ of next.machine.restore());
    return next;
  }
}

export function putRequest(key: string, value = '', more: Partial<m.PutRequest> = {}): m.PutRequest {
  return { ...defaults(m.PutRequest), key, value: bytes(value), ...more };
}

export function deleteRequest(key: string, rangeEnd = '', more: Partial<m.DeleteRangeRequest> = {}) {
  return { ...defaults(m.DeleteRangeRequest), key, range_end: rangeEnd, ...more };
}

export function rangeRequest(key: string, more: Partial<m.RangeRequest> = {}): m.RangeRequest {
  return { ...defaults(m.RangeRequest), key, ...more };
}

export function txnRequest(more: Partial<m.TxnRequest> = {}): m.TxnRequest {
  return { ...defaults(m.TxnRequest), ...more };
}

export function compare(more: Partial<m.Compare>): m.Compare {
  return { ...defaults(m.Compare), ...more };
}

export const put = (key: string, value = '', more: Partial<m.PutRequest> = {}): m.RequestOp => ({
  request_put: putRequest(key, value, more),
});
export const del = (key: string, rangeEnd = ''): m.RequestOp => ({
  request_delete_range: deleteRequest(key, rangeEnd),
});
export const get = (key: string, more: Partial<m.RangeRequest> = {}): m.RequestOp => ({
  request_range: rangeRequest(key, more),
});
export const txn = (success: m.RequestOp[], failure: m.RequestOp[] = [], compares: m.Compare[] = []): m.RequestOp => ({
  request_txn: { compare: compares, success, failure },
});

export function bytes(value: string): Uint8Array {
  return Buffer.from(value, 'latin1');
}

export function text(value: Uint8Array): string {
  return Buffer.from(value).toString('latin1');
}

/** `result`, which must not be a refusal. */
export function success<T extends object>(result: T | RosterError): T {
  if (result instanceof RosterError) throw result;
  return result;
}

/** The code of a refusal, or 'ok'. */
export function codeOf(result: object | undefined): string {
  return result instanceof RosterError ? result.code : 'ok';
}
