/**
 * The arithmetic of majorities (paper 5.2 and 5.3). Knows numbers and votes, neither nodes nor messages.
 */
import { assert } from '../util/assert.ts';

export type VoteResult = 'won' | 'lost' | 'pending';

/** How many of `voters` make a majority: any two majorities share a member. */
export function majority(voters: number): number {
  return (voters >> 1) + 1;
}

/** The largest value that a majority has reached: one value per voter, in any order. `values` is sorted in place. */
export function reachedByMajority(values: number[]): number {
  assert(values.length > 0, 'quorum: a configuration has at least one voter');
  // Insertion sort, descending: a handful of values, on the path of every acknowledgement.
  for (let i = 1; i < values.length; i++) {
    const value = values[i]!;
    let j = i;
    for (; j > 0 && values[j - 1]! < value; j--) values[j] = values[j - 1]!;
    values[j] = value;
  }
  return values[majority(values.length) - 1]!;
}

/** An election among `voters` with that many votes for and against so far. */
export function voteResult(voters: number, granted: number, rejected: number): VoteResult {
  if (granted >= majority(voters)) return 'won';
  return voters - rejected < majority(voters) ? 'lost' : 'pending';
}
