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
    expect: { poll: { timeout: 20_000 } },
    reporters: ['default', './test/support/plain-reporter.ts'],
  },
});
