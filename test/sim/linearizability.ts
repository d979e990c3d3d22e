/**
 * Whether a history of one key has an order that explains it: Wing and Gong's search with Lowe's memory of places
 * already seen. Knows only what clients saw; revisions and the log are not looked at.
 */
import type { KeyAction } from './history.ts';

/** One action of one client on the key. */
export interface Step {
  readonly calledAt: number;
  /** Infinity: it took effect at any time after the call. */
  readonly returnedAt: number;
  readonly action: KeyAction;
  /** Of steps that could be next the one with the smallest is tried first. Changes how long a search takes, not its result. */
  readonly hint?: number;
}

/** What a search says that has been wrong so many times without an end. */
export const WRONG_PLACES_MAX = 200_000;

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

/** A choice that was made: who comes next, and who else could. */
interface Choice {
  /** Before it. */
  readonly value: Value;
  readonly candidates: readonly Moment[];
  /** Of the candidates, the one that was taken. */
  taken: number;
}

class Search {
  readonly #steps: readonly Step[];
  readonly #head: Moment;
  /** Steps done, as bits, with the value after them, from which no way leads on. */
  readonly #wrong = new Set<string>();
  readonly #path: Choice[] = [];
  #done = 0n;
  #value: Value;

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
    this.#head = moments(steps);
  }

  run(): boolean | undefined {
    let candidates: readonly Moment[] = this.#candidates();
    let next = 0;
    while (this.#head.after !== undefined) {
      next = this.#take(candidates, next);
      if (next < candidates.length) {
        candidates = this.#candidates();
        next = 0;
        continue;
      }
      if (this.#wrong.size >= WRONG_PLACES_MAX) return undefined;
      this.#wrong.add(this.#place(this.#done, this.#value));
      const last = this.#path.pop();
      if (last === undefined) return false;
      this.#undo(last);
      candidates = last.candidates;
      next = last.taken + 1;
    }
    return true;
  }

  /** Whose call came before anyone returned who has no place yet. */
  #candidates(): Moment[] {
    const candidates: Moment[] = [];
    for (let at = this.#head.after; at?.end !== undefined; at = at.after) candidates.push(at);
    const hint = ({ step }: Moment) => this.#steps[step]!.hint ?? 0;
    return candidates.sort((a, b) => hint(a) - hint(b));
  }

  /** Takes the first of the candidates from `from` on that can be next; returns which, or their number. */
  #take(candidates: readonly Moment[], from: number): number {
    for (let at = from; at < candidates.length; at++) {
      const moment = candidates[at]!;
      const next = apply(this.#steps[moment.step]!.action, this.#value);
      if (next === false) continue;
      const done = this.#done | (1n << BigInt(moment.step));
      if (this.#wrong.size > 0 && this.#wrong.has(this.#place(done, next.value))) continue;
      this.#path.push({ value: this.#value, candidates, taken: at });
      this.#done = done;
      this.#value = next.value;
      take(moment);
      take(moment.end!);
      return at;
    }
    return candidates.length;
  }

  #undo({ value, candidates, taken }: Choice): void {
    const moment = candidates[taken]!;
    giveBack(moment.end!);
    giveBack(moment);
    this.#done &= ~(1n << BigInt(moment.step));
    this.#value = value;
  }

  #place(done: bigint, value: Value): string {
    return `${done.toString(36)} ${value}`;
  }
}

/** True or false; `undefined` when the search was given up. Every step has taken effect. */
export function isLinearizable(steps: readonly Step[]): boolean | undefined {
  return new Search(steps).run();
}
