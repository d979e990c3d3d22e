/**
 * Judges two answers, or two sequences of events: the same, or different as an entry of the table says, or a failure of the
 * test. Counts what the table explained. Sends nothing.
 */
import { isDeepStrictEqual } from 'node:util';
import type * as m from '../../core/wire/messages.ts';
import { plain, settleLeases, settleTies, settleTimeToLive, settleTxn } from './canonical.ts';
import { type Difference, differences, type PlainAnswer, type PlainEvent } from './differences.ts';
import type { Caller, Operation } from './operations.ts';
import type { Answer, Side } from './side.ts';
import type { Watch } from './watch-log.ts';

export interface Circumstances {
  by?: Caller | undefined;
  /** Auth is turned on. */
  auth: boolean;
  /** What etcd was asked, where that is not what Roster was asked. */
  forEtcd?: object;
}

export class Comparison {
  /** How often each entry of the table explained a difference. */
  readonly explained = new Map<string, number>();
  readonly #etcd: Side;
  readonly #roster: Side;

  constructor(etcd: Side, roster: Side) {
    this.#etcd = etcd;
    this.#roster = roster;
  }

  /** The entry of the table that says why the answers differ; undefined when they do not. Throws when there is none. */
  same(
    op: Operation['op'],
    request: object,
    etcd: Answer,
    roster: Answer,
    { by, auth, forEtcd = request }: Circumstances,
  ): Difference | undefined {
    const found = {
      op,
      request: plain(this.#roster, request) as Record<string, unknown>,
      by,
      auth,
      etcd: settled(this.#etcd, op, forEtcd, etcd),
      roster: settled(this.#roster, op, request, roster),
    };
    if (isDeepStrictEqual(found.etcd, found.roster)) return undefined;
    const difference = differences.find((entry) => entry.answer?.(found));
    if (difference === undefined) {
      const who = by === undefined ? '' : `${JSON.stringify(by)}: `;
      throw new Error(
        `${who}${JSON.stringify(found.request)}\n  etcd:   ${JSON.stringify(found.etcd)}\n  roster: ${JSON.stringify(found.roster)}`,
      );
    }
    this.explain(difference.name);
    return difference;
  }

  sameEvents(watch: Watch, fromEtcd: m.Event[], fromRoster: m.Event[]): void {
    const etcd = plain(this.#etcd, fromEtcd) as PlainEvent[];
    const roster = plain(this.#roster, fromRoster) as PlainEvent[];
    if (isDeepStrictEqual(etcd, roster)) return;
    const found = { compacted: watch.compacted, start: watch.start, etcd, roster };
    const difference = differences.find((entry) => entry.watch?.(found));
    if (difference === undefined) {
      throw new Error(
        `events of ${JSON.stringify(watch, (_, value) => (typeof value === 'bigint' ? String(value) : value))}\n  etcd:   ${JSON.stringify(etcd)}\n  roster: ${JSON.stringify(roster)}`,
      );
    }
    this.explain(difference.name);
  }

  explain(name: string): void {
    this.explained.set(name, (this.explained.get(name) ?? 0) + 1);
  }
}

function settled(side: Side, op: Operation['op'], request: object, answer: Answer): PlainAnswer {
  if ('refusal' in answer) return answer;
  let message = answer.message;
  if (op === 'range') message = settleTies(request, message as m.RangeResponse);
  if (op === 'txn') message = settleTxn(request, message as m.TxnResponse);
  if (op === 'leaseTimeToLive') message = settleTimeToLive(message as m.LeaseTimeToLiveResponse);
  const result = plain(side, message) as Record<string, unknown>;
  if (op === 'leaseLeases') result.leases = settleLeases(result.leases as unknown[]);
  return { message: result };
}
