/**
 * Questions to the leader that wait for their answer: asked again, of whoever leads, until there is one or time is up.
 * All of them may be asked twice without harm. Sends nothing itself.
 */
import { type RosterError, rosterError } from '../errors.ts';
import { NO_NODE } from '../raft/config.ts';
import { errorOf } from './peer-error.ts';
import type { Answer, Ask } from './peer-message.ts';

/** Ticks after which an unanswered question is asked again. */
const RESEND_TICKS = 3;

/** Answers of one that does not lead, or is about to end: another will. */
const ASK_ELSEWHERE: ReadonlySet<string> = new Set(['NotLeader', 'NoLeader', 'LeaderChanged', 'Stopped']);

export type AskDone = (answer: Answer | RosterError) => void;

interface Pending {
  readonly ask: Ask;
  readonly done: AskDone;
  readonly deadlineTick: number;
  /** Whom it was sent to last, and when. */
  to: bigint;
  sentTick: number;
}

export class Asks {
  readonly #max: number;
  readonly #pending = new Map<bigint, Pending>();
  /** Never sent so far. */
  #fresh: Pending[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  get count(): number {
    return this.#pending.size;
  }

  get isFull(): boolean {
    return this.#pending.size >= this.#max;
  }

  /** A question to be sent with the next `fresh`. `ask.number` was never used before. */
  add(ask: Ask, done: AskDone, deadlineTick: number): void {
    const pending = { ask, done, deadlineTick, to: NO_NODE, sentTick: 0 };
    this.#pending.set(ask.number, pending);
    this.#fresh.push(pending);
  }

  get hasFresh(): boolean {
    return this.#fresh.length > 0;
  }

  /** What has come since the last call, to be asked of `leader`. */
  fresh(leader: bigint, tick: number): Ask[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh.map((pending) => sent(pending, leader, tick));
  }

  /** Once a tick: what was asked of another leader, or long ago. */
  again(leader: bigint, tick: number): Ask[] {
    const asks: Ask[] = [];
    for (const pending of this.#pending.values()) {
      if (pending.to === NO_NODE || (pending.to === leader && tick - pending.sentTick < RESEND_TICKS)) continue;
      asks.push(sent(pending, leader, tick));
    }
    return asks;
  }

  /** An answer has come. Who says that it does not lead is asked again some ticks later, unless another leads by then. */
  answered(answer: Answer): void {
    const pending = this.#pending.get(answer.number);
    if (pending === undefined) return;
    const error = answer.error === undefined ? undefined : errorOf(answer.error);
    if (error !== undefined && ASK_ELSEWHERE.has(error.code)) return;
    this.#pending.delete(answer.number);
    pending.done(error ?? answer);
  }

  expire(tick: number): void {
    for (const [number, { deadlineTick, done }] of this.#pending) {
      if (deadlineTick > tick) continue;
      this.#pending.delete(number);
      done(rosterError('Timeout'));
    }
    this.#fresh = this.#fresh.filter(({ ask }) => this.#pending.has(ask.number));
  }

  refuseAll(error: RosterError): void {
    for (const [number, { done }] of this.#pending) {
      this.#pending.delete(number);
      done(error);
    }
    this.#fresh = [];
  }
}

function sent(pending: Pending, leader: bigint, tick: number): Ask {
  pending.to = leader;
  pending.sentTick = tick;
  return pending.ask;
}
