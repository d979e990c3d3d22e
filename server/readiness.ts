/**
 * When a starting member may serve clients: when it has caught up with the cluster, is known there by name, and a cluster
 * version is agreed on (as etcd does). Without a leader it serves after a while all the same, so that probes and operators
 * find somebody who tells them. Owns the waiting and the account of it.
 */
import type { StateMachine } from '../core/apply/state-machine.ts';
import type { RosterError } from '../core/errors.ts';
import type { Node } from '../core/node/node.ts';
import type { Logger } from './config/log.ts';
import { pause } from './pause.ts';

/** The log says this often what a start waits for. */
const REPORT_INTERVAL_MS = 3000;
const CHECK_MS = 20;

export interface ReadinessOptions {
  readonly node: Pick<Node, 'linearizableRead' | 'status'>;
  readonly machine: Pick<StateMachine, 'confState' | 'membership'>;
  readonly log: Logger;
  /** How long to wait for a leader: as long as a request would. */
  readonly patienceMs: number;
  /** Once caught up: what makes the member known. */
  readonly publish: () => Promise<void>;
  /** Members that can be reached, for the log. */
  readonly reachable: () => readonly string[];
}

/** Resolves when clients may come, or when `signal` fires. */
export async function whenReady(options: ReadinessOptions, signal: AbortSignal): Promise<void> {
  const done = new AbortController();
  const either = AbortSignal.any([signal, done.signal]);
  try {
    await Promise.race([inOrder(options, signal), withoutLeader(options, either), fired(signal)]);
  } finally {
    done.abort();
  }
}

/** The regular way. Goes on in the background when the start does not wait for it any more. */
async function inOrder({ node, machine, publish }: ReadinessOptions, signal: AbortSignal): Promise<void> {
  for (;;) {
    // Without a leader nothing is asked: a request that waits would hold up a stop.
    while (node.status().leader === 0n && !signal.aborted) await pause(CHECK_MS, signal);
    if (signal.aborted) return;
    const error = await new Promise<RosterError | undefined>((resolve) => node.linearizableRead(resolve));
    if (error === undefined) break;
    // Requests time out after some seconds, but reading a long log or a snapshot takes what it takes.
    await pause(CHECK_MS, signal);
  }
  await publish();
  while (machine.membership.clusterVersion === '' && !signal.aborted) await pause(CHECK_MS, signal);
}

/** Gives reports, and resolves when there has been no leader for so long that clients may as well hear that. */
async function withoutLeader(options: ReadinessOptions, signal: AbortSignal): Promise<void> {
  const { node, machine, log, patienceMs } = options;
  const ended = new Promise<void>(() => {});
  for (let aloneMs = 0; ; ) {
    const waitMs = Math.min(REPORT_INTERVAL_MS, patienceMs);
    await pause(waitMs, signal);
    if (signal.aborted) return ended;
    const { leader, appliedIndex, commitIndex } = node.status();
    aloneMs = leader === 0n ? aloneMs + waitMs : 0;
    const joining = machine.confState.voters.length === 0;
    const fields = { leader: leader.toString(16), appliedIndex, commitIndex, reachable: options.reachable() };
    if (joining) log.info(fields, 'waiting for the leader to send the state of the cluster');
    else if (leader !== 0n || appliedIndex < commitIndex) log.info(fields, 'catching up with the log');
    else if (aloneMs < patienceMs) log.info(fields, 'waiting for a leader');
    else {
      log.warn(fields, 'no leader: serving clients all the same, who can read what this member has until there is one');
      return;
    }
  }
}

function fired(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
