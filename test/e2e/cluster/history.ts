/**
 * What clients asked, when, and what they were told; and the judgement of it. Twice: by revisions, as a replay of what
 * happened, and per key by a search for any order that explains it, which knows nothing of revisions.
 */
import { isLinearizable, type Step } from '../../sim/linearizability.ts';
import type { Happened } from './happened.ts';

export type Request =
  | { readonly kind: 'read' /** Served by the member alone: need not be the newest. */; readonly local: boolean }
  /** `value`, here and below, is written by nobody else. */
  | { readonly kind: 'put'; readonly value: string }
  | { readonly kind: 'cas'; readonly expected: string | undefined; readonly value: string }
  /** The same transaction writes `value` to a key beside. */
  | { readonly kind: 'delete'; readonly value: string };

export interface Reply {
  /** Of the response's header. */
  readonly revision: number;
  /** Reads, and a `cas` that found something else: what was there. */
  readonly seen?: string | undefined;
  /** `cas`: whether it wrote. `delete`: whether there was something. */
  readonly done?: boolean;
}

export interface Operation {
  readonly key: string;
  readonly request: Request;
  /** Moments are counted. */
  readonly calledAt: number;
  /** The highest revision anybody had been told of when it was called. */
  readonly floor: number;
  returnedAt: number;
  /** Undefined: it may have happened, or may yet. */
  reply: Reply | undefined;
}

export interface Judgement {
  readonly problems: string[];
  /** Searched for an order. */
  readonly keys: number;
  /** Keys whose search was given up. */
  readonly undecided: number;
}

export class History {
  readonly operations: Operation[] = [];
  #now = 0;
  #floor = 0;

  call(key: string, request: Request): Operation {
    const calledAt = ++this.#now;
    const operation: Operation = {
      key,
      request,
      calledAt,
      floor: this.#floor,
      returnedAt: Number.POSITIVE_INFINITY,
      reply: undefined,
    };
    this.operations.push(operation);
    return operation;
  }

  return(operation: Operation, reply: Reply): void {
    operation.returnedAt = ++this.#now;
    operation.reply = reply;
    this.observed(reply.revision);
  }

  /** Somebody has been told of `revision`: whatever is asked from now on must be answered at it or later. */
  observed(revision: number): void {
    this.#floor = Math.max(this.#floor, revision);
  }

  /** `happened` must be complete. `searched`: the keys that are searched for an order. */
  judge(happened: Happened, searched: (key: string) => boolean): Judgement {
    const problems = [...happened.problems];
    const attempted = new Set<string>();
    const byKey = new Map<string, Step[]>();
    for (const operation of this.operations) {
      if (operation.request.kind !== 'read') attempted.add(operation.request.value);
      const problem = replay(operation, happened);
      if (problem !== undefined) problems.push(`${describe(operation)}: ${problem}`);
      if (!searched(operation.key)) continue;
      const step = stepOf(operation, happened);
      if (step === undefined) continue;
      const steps = byKey.get(operation.key) ?? [];
      steps.push(step);
      byKey.set(operation.key, steps);
    }
    for (const value of happened.values()) if (!attempted.has(value)) problems.push(`nobody wrote "${value}"`);
    let undecided = 0;
    for (const [key, steps] of byKey) {
      const answer = isLinearizable(steps);
      if (answer === undefined) undecided++;
      else if (!answer) problems.push(`no order explains what clients saw of ${key} (${steps.length} operations)`);
    }
    return { problems, keys: byKey.size, undecided };
  }
}

/** What is wrong with the answer when the history is gone through by revisions. */
function replay(operation: Operation, happened: Happened): string | undefined {
  const { key, request, reply, floor } = operation;
  if (request.kind === 'read') {
    if (reply === undefined) return undefined;
    if (!request.local && reply.revision < floor) return `answered at ${reply.revision}, ${floor} was known before`;
    return mismatch(reply.seen, happened, key, reply.revision);
  }
  const wroteAt = happened.revisionOf(request.value);
  if (wroteAt !== undefined && wroteAt <= floor) return `took effect at ${wroteAt}, ${floor} was known before`;
  if (reply === undefined) return undefined;
  if (request.kind === 'cas' && reply.done === false) {
    if (wroteAt !== undefined) return `was refused, and took effect at ${wroteAt}`;
    if (reply.revision < floor) return `refused at ${reply.revision}, ${floor} was known before`;
    return mismatch(reply.seen, happened, key, reply.revision);
  }
  if (wroteAt === undefined) return `acknowledged at ${reply.revision}, and lost`;
  if (wroteAt !== reply.revision) return `acknowledged at ${reply.revision}, took effect at ${wroteAt}`;
  if (request.kind === 'cas') return mismatch(request.expected, happened, key, wroteAt - 1);
  if (request.kind === 'delete' && reply.done !== (happened.at(key, wroteAt - 1)?.value !== undefined)) {
    return `says ${reply.done ? 'there was something' : 'there was nothing'} to delete`;
  }
  return undefined;
}

function mismatch(seen: string | undefined, happened: Happened, key: string, revision: number): string | undefined {
  const value = happened.at(key, revision)?.value;
  return value === seen ? undefined : `saw ${seen}, at revision ${revision} there is ${value}`;
}

/** For the search. An operation without an answer counts, at any time after its call, if it has happened. */
function stepOf(operation: Operation, happened: Happened): Step | undefined {
  const { key, request, reply, calledAt, returnedAt } = operation;
  const step = (action: Step['action']): Step => ({ calledAt, returnedAt, action });
  if (request.kind === 'read') {
    return reply === undefined || request.local ? undefined : step({ kind: 'read', value: reply.seen });
  }
  const wroteAt = happened.revisionOf(request.value);
  if (reply === undefined && wroteAt === undefined) return undefined;
  if (request.kind === 'put') return step({ kind: 'put', value: request.value });
  if (request.kind === 'cas') {
    if (reply?.done === false) return step({ kind: 'read', value: reply.seen });
    return step({ kind: 'cas', expected: request.expected, value: request.value, swapped: true });
  }
  const found = reply === undefined ? happened.at(key, wroteAt! - 1)?.value !== undefined : reply.done === true;
  return step({ kind: 'delete', found });
}

function describe({ key, request, reply, calledAt }: Operation): string {
  return `${JSON.stringify(request)} of ${key}, called at ${calledAt}, ${reply === undefined ? 'unanswered' : `answered ${JSON.stringify(reply)}`}`;
}
