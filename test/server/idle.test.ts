import { beforeEach, describe, expect, it } from 'vitest';
import { IdleTurns, QUIET_TURN_MS } from '../../server/idle.ts';

let nowMs: number;
let immediates: (() => void)[];
let timers: { task: () => void; ms: number }[];
let turns: IdleTurns;

beforeEach(() => {
  nowMs = 0;
  immediates = [];
  timers = [];
  turns = new IdleTurns({
    nowMs: () => nowMs,
    immediate: (task) => void immediates.push(task),
    later: (task, ms) => void timers.push({ task, ms }),
  });
});

/** Schedules a piece of work that takes `workMs`, when the rest of the loop takes `othersMs`. Says whether it ran. */
function piece(workMs: number, othersMs: number): boolean {
  let ran = false;
  turns.schedule(() => {
    ran = true;
    nowMs += workMs;
  });
  nowMs += othersMs;
  immediates.shift()!();
  return ran;
}

describe('background work', () => {
  it('goes on at once while nothing else happens', () => {
    for (let i = 0; i < 10; i++) expect(piece(5, QUIET_TURN_MS / 2)).toBe(true);
    expect(timers).toEqual([]);
  });

  it('lets others have as much time as it took', () => {
    expect(piece(5, 1)).toBe(true);
    expect(piece(5, 1)).toBe(false);
    expect(timers.map(({ ms }) => ms)).toEqual([5]);
    timers[0]!.task();
    expect(nowMs).toBe(12);
    expect(piece(5, 1)).toBe(false);
  });

  it('adds up what is too short to be timed', () => {
    expect([0, 0, 0].map(() => piece(0.4, 1))).toEqual([true, true, true]);
    expect(piece(0.4, 1)).toBe(false);
    expect(timers[0]!.ms).toBeCloseTo(1.2);
  });

  it('owes nothing after a quiet moment', () => {
    piece(0.9, 1);
    expect(piece(0.9, 0)).toBe(true);
    expect(piece(0.9, 1)).toBe(true);
  });

  it('does all that was asked for in between, in order', () => {
    const order: number[] = [];
    turns.schedule(() => {
      order.push(1);
      turns.schedule(() => order.push(3));
    });
    turns.schedule(() => order.push(2));
    for (let task = immediates.shift(); task !== undefined; task = immediates.shift()) task();
    expect(order).toEqual([1, 2, 3]);
  });
});
