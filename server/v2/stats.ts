/** /v2/stats (etcd: v2stats): what this member counts anyway, under the v2 names. Counts nothing itself. */
import type { Context } from 'hono';
import { RosterError } from '../../core/errors.ts';
import type { PeerTraffic } from '../http/peer-metrics.ts';
import type { LeaderChanges } from '../leader-changes.ts';
import { type Admin, type Asked, HttpRefusal, notFound } from './admin.ts';
import { targetOf } from './call.ts';

export interface StatsOptions {
  readonly traffic: PeerTraffic;
  readonly leaders: Pick<LeaderChanges, 'sinceMs'>;
  /** Waits under way. */
  watchers(): number;
}

export class StatsHandler {
  readonly #admin: Admin;
  readonly #options: StatsOptions;
  readonly #startTime = new Date().toISOString();

  constructor(admin: Admin, options: StatsOptions) {
    this.#admin = admin;
    this.#options = options;
  }

  async handle(c: Context): Promise<Response> {
    const { path } = targetOf(c);
    const tell = { '/v2/stats/self': this.#self, '/v2/stats/leader': this.#leader, '/v2/stats/store': this.#store }[
      path
    ];
    if (tell === undefined) return notFound();
    return this.#admin.run(c, ['GET'], async (asked) => {
      const refusal = await this.#admin.handle(this.#admin.v2.member, asked.call, {});
      return refusal instanceof RosterError ? refusal : tell.call(this, asked);
    });
  }

  #self(asked: Asked): Response {
    const { identity, node, machine } = this.#admin.context;
    const { leader, isLeader } = node.status();
    const { traffic, leaders } = this.#options;
    const sinceMs = leaders.sinceMs;
    return asked.ownJson({
      name: machine.membership.member(identity.memberId)?.name ?? '',
      id: identity.memberId.toString(16),
      state: isLeader ? 'StateLeader' : 'StateFollower',
      startTime: this.#startTime,
      leaderInfo: {
        leader: leader.toString(16),
        uptime: goDuration(Date.now() - sinceMs),
        startTime: new Date(sinceMs).toISOString(),
      },
      recvAppendRequestCnt: isLeader ? 0 : sum(traffic.received().values(), (one) => one.receivedMessages),
      sendAppendRequestCnt: isLeader ? sum(traffic.sent().values(), (one) => one.sentMessages) : 0,
    });
  }

  #leader(asked: Asked): Response | HttpRefusal {
    const { identity, node } = this.#admin.context;
    if (!node.status().isLeader) return new HttpRefusal(403, 'not current leader', false);
    const followers: Record<string, object> = Object.create(null);
    for (const [id, { roundTripMs, sentMessages, sendFailures }] of this.#options.traffic.sent()) {
      const ms = roundTripMs;
      followers[id.toString(16)] = {
        latency: { current: ms, average: ms, standardDeviation: 0, minimum: ms, maximum: ms },
        counts: { fail: sendFailures, success: sentMessages },
      };
    }
    return asked.ownJson({ leader: identity.memberId.toString(16), followers });
  }

  #store(asked: Asked): Response {
    const counts = this.#admin.context.machine.v2Counts;
    return asked.ownJson({
      getsSuccess: counts.gets.success,
      getsFail: counts.gets.fail,
      setsSuccess: counts.sets.success,
      setsFail: counts.sets.fail,
      deleteSuccess: counts.deletes.success,
      deleteFail: counts.deletes.fail,
      updateSuccess: counts.updates.success,
      updateFail: counts.updates.fail,
      createSuccess: counts.creates.success,
      createFail: counts.creates.fail,
      compareAndSwapSuccess: counts.compareAndSwaps.success,
      compareAndSwapFail: counts.compareAndSwaps.fail,
      compareAndDeleteSuccess: counts.compareAndDeletes.success,
      compareAndDeleteFail: counts.compareAndDeletes.fail,
      expireCount: counts.expired,
      watchers: this.#options.watchers(),
    });
  }
}

function sum<T>(all: Iterable<T>, of: (one: T) => number): number {
  let total = 0;
  for (const one of all) total += of(one);
  return total;
}

/** As Go prints a duration: `1h2m3.004s`. */
export function goDuration(ms: number): string {
  const seconds = (ms % 60_000) / 1000;
  const minutes = Math.floor(ms / 60_000);
  if (minutes === 0) return `${seconds}s`;
  return minutes < 60 ? `${minutes}m${seconds}s` : `${Math.floor(minutes / 60)}h${minutes % 60}m${seconds}s`;
}
