/**
 * Whether a history of one key has an order that explains it: Wing and Gong's search with Lowe's memory of places already
 * seen. Knows only what clients saw; revisions and the log are not looked at.
 */
import type { KeyAction } from './history.ts';

/** One action of one client on the key. */
export interface Step {
  readonly calledAt: number;
  /** Infinity: it took effect at any time after the call. */
  readonly returnedAt: number;
  readonly action: KeyAction;
}

/** What a search says that has looked at so many places without an end. */
export const SEARCH_PLACES_MAX = 200_000;

interface Moment {
  readonly step: number;
  /** The matching return, for a call. */
  readonly end: Moment | undefined;
  before: Moment | undefined;
  after: Moment | undefined;
}

type Value = string | undefined;

/** The value afterwards, or `false` when the action cannot have happened on `value`. */
function apply(action: KeyAction, value: Value): { value: Value } | false {
  switch (action.kind) {
    case 'put':
      return { value: action.value };
    case 'read':
      return action.value === value ? { value } : false;
    case 'delete':
      return action.found === (value !== undefined) ? { value: undefined } : false;
    case 'cas': {
      const fits = value === action.expected;
      if (fits !== action.swapped) return false;
      return { value: fits ? action.value : value };
    }
  }
}

/** Calls and returns as one list in the order of time. */
function moments(steps: readonly Step[]): Moment {
  const times: { at: number; order: number; moment: Moment }[] = [];
  for (const [step, { calledAt, returnedAt }] of steps.entries()) {
    const end: Moment = { step, end: undefined, before: undefined, after: undefined };
    times.push({ at: calledAt, order: 0, moment: { step, end, before: undefined, after: undefined } });
    times.push({ at: returnedAt, order: 1, moment: end });
  }
  times.sort((a, b) => (a.at === b.at ? a.order - b.order : a.at - b.at));
  const head: Moment = { step: -1, end: undefined, before: undefined, after: undefined };
  let last = head;
  for (const { moment } of times) {
    last.after = moment;
    moment.before = last;
    last = moment;
  }
  return head;
}

function take(moment: Moment): void {
  moment.before!.after = moment.after;
  if (moment.after !== undefined) moment.after.before = moment.before;
}

function giveBack(moment: Moment): void {
  moment.before!.after = moment;
  if (moment.after !== undefined) moment.after.before = moment;
}

/** True or false; `undefined` when the search was given up. Every step has taken effect. */
export function isLinearizable(steps: readonly Step[]): boolean | undefined {
  const head = moments(steps);
  const seen = new Set<string>();
  const path: { moment: Moment; value: Value }[] = [];
  let value: Value;
  let done = 0n;
  let moment = head.after;
  while (head.after !== undefined && moment !== undefined) {
    const next = moment.end === undefined ? false : apply(steps[moment.step]!.action, value);
    if (next !== false) {
      const after = done | (1n << BigInt(moment.step));
      const place = `${after.toString(36)} ${next.value}`;
      if (!seen.has(place)) {
        if (seen.size >= SEARCH_PLACES_MAX) return undefined;
        seen.add(place);
        path.push({ moment, value });
        value = next.value;
        done = after;
        take(moment);
        take(moment.end!);
        moment = head.after;
        continue;
      }
    }
    if (moment.end !== undefined) {
      moment = moment.after;
      continue;
    }
    // Somebody had returned by now and has no place before this: the last choice was wrong.
    const last = path.pop();
    if (last === undefined) return false;
    done &= ~(1n << BigInt(last.moment.step));
    value = last.value;
    giveBack(last.moment.end!);
    giveBack(last.moment);
    moment = last.moment.after;
  }
  return true;
}
