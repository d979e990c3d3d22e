/**
 * How long writers wait when the leader goes: killed, or told to stop. Writers go to members that stay, so what is
 * measured is the cluster's doing and not a client's search for another member.
 */
import { Client } from '../../../client/client.ts';
import { sleep } from '../../../client/wait.ts';
import { RosterError } from '../../../core/errors.ts';
import type { Cluster } from './cluster.ts';
import type { Member } from './processes.ts';

/** A new attempt begins this often through each member that stays, whatever became of the earlier ones. */
const ATTEMPT_EVERY_MS = 5;
const ATTEMPT_TIMEOUT_MS = 10_000;
const FAILOVER_TIMEOUT_MS = 60_000;
/** Steady writing before and after a handover. */
const STEADY_MS = 500;
/** Writers through each member that stays, one call after another. */
const WRITERS_EACH = 2;

export interface Handover {
  /** Longest time between two acknowledgements of the same writer, of all writers. */
  readonly longestGapMs: number;
  /** Longest time in which no writer at all was acknowledged. */
  readonly silenceMs: number;
  readonly acknowledged: number;
  readonly failed: number;
}

/**
 * Kills the leader. Resolves with the milliseconds until the first acknowledgement of a write that was begun after
 * that; the member is up again then.
 */
export async function killLeader(cluster: Cluster): Promise<number> {
  const leader = await cluster.leader();
  const others = cluster.members.filter((member) => member !== leader);
  const client = new Client({ endpoints: others.map(({ endpoint }) => endpoint) });
  try {
    // Connections are there, as a client's would be.
    for (const { endpoint } of others) await client.put('/failover/before', '', { endpoint });
    const killedMs = performance.now();
    const dead = leader.kill();
    const acknowledgedMs = await firstAcknowledged(client, others);
    await dead;
    leader.start();
    await leader.healthy();
    return acknowledgedMs - killedMs;
  } finally {
    client.close();
  }
}

function firstAcknowledged(client: Client, members: readonly Member[]): Promise<number> {
  const over = new AbortController();
  return new Promise<number>((resolve, reject) => {
    const end = (settle: () => void): void => {
      clearInterval(timer);
      clearTimeout(limit);
      over.abort();
      settle();
    };
    let n = 0;
    const attempt = (): void => {
      for (const { endpoint } of members) {
        const options = { endpoint, timeoutMs: ATTEMPT_TIMEOUT_MS, signal: over.signal };
        client.put('/failover/after', `${n++}`, options).then(
          () => end(() => resolve(performance.now())),
          (error: unknown) => {
            if (!(error instanceof RosterError)) end(() => reject(error));
          },
        );
      }
    };
    const timer = setInterval(attempt, ATTEMPT_EVERY_MS);
    const limit = setTimeout(() => {
      end(() => reject(new Error(`no write acknowledged within ${FAILOVER_TIMEOUT_MS} ms`)));
    }, FAILOVER_TIMEOUT_MS);
    attempt();
  });
}

/** SIGTERM to the leader while others write. The member is up again when this resolves. */
export async function terminateLeader(cluster: Cluster): Promise<Handover> {
  const leader = await cluster.leader();
  const others = cluster.members.filter((member) => member !== leader);
  const client = new Client({ endpoints: others.map(({ endpoint }) => endpoint) });
  const stop = new AbortController();
  try {
    const writers = others.flatMap((member) =>
      Array.from({ length: WRITERS_EACH }, (_, i) =>
        write(client, member, `/handover/${member.name}/${i}`, stop.signal),
      ),
    );
    await sleep(STEADY_MS);
    await leader.terminate();
    await sleep(STEADY_MS);
    leader.start();
    await leader.healthy();
    stop.abort();
    const results = await Promise.all(writers);
    const all = results.flatMap(({ acknowledgedMs }) => acknowledgedMs).sort((a, b) => a - b);
    return {
      silenceMs: longestGap(all),
      longestGapMs: Math.max(...results.map(({ longestGapMs }) => longestGapMs)),
      acknowledged: all.length,
      failed: results.reduce((sum, { failed }) => sum + failed, 0),
    };
  } finally {
    stop.abort();
    client.close();
  }
}

interface Written {
  readonly longestGapMs: number;
  readonly acknowledgedMs: readonly number[];
  readonly failed: number;
}

/** One write after another until told to stop. A write that fails makes the gap longer. */
async function write(client: Client, member: Member, key: string, stop: AbortSignal): Promise<Written> {
  const acknowledgedMs: number[] = [];
  let failed = 0;
  for (let n = 0; !stop.aborted; n++) {
    try {
      await client.put(key, `${n}`, { endpoint: member.endpoint });
      acknowledgedMs.push(performance.now());
    } catch (error) {
      if (!(error instanceof RosterError)) throw error;
      failed++;
      await sleep(1);
    }
  }
  return { longestGapMs: longestGap([...acknowledgedMs, performance.now()]), acknowledgedMs, failed };
}

function longestGap(times: readonly number[]): number {
  return times.reduce((longest, time, i) => Math.max(longest, time - (times[i - 1] ?? time)), 0);
}
