import { expect } from 'vitest';

/** Each command with what it printed is the same in both; fails with the first that is not, and with that alone. */
export function expectSameCommands(actual: readonly string[], expected: readonly string[]): void {
  for (const [i, block] of expected.entries()) {
    expect(actual[i], `expected:\n${block}\ngot:\n${actual[i]}\n`).toBe(block);
  }
  expect(actual).toHaveLength(expected.length);
}
