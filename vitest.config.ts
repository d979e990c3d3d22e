import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['./test/support/setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // Two workers share two cores with the clusters that other tests start.
    testTimeout: 90_000,
    hookTimeout: 90_000,
    // Real processes on a machine that others use too may be late once. What is, is named (plain-reporter.ts).
    retry: Number(process.env.ROSTER_TEST_RETRIES ?? 0),
    expect: { poll: { timeout: 20_000 } },
    reporters: ['default', './test/support/plain-reporter.ts'],
  },
});
