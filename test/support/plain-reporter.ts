import type { Reporter, TestCase, TestModule } from 'vitest/node';

/** Rooms whose tests have no clock, process or peer: what fails there once is a bug, whatever a second attempt says. */
const EXACT = /\/test\/(?:apply|conformance|lease|log|membership|mvcc|node|raft|sim|util|watch|wire)\//;

/**
 * Closes the run with one line any tool can read: `N passed, N failed, N skipped`. Before it, a line for each test that
 * passed at the second attempt only (ROSTER_TEST_RETRIES), with what the first one said.
 */
export default class PlainReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    let passed = 0;
    let failed = unhandled.length;
    let skipped = 0;
    for (const module of modules) {
      if (module.state() === 'failed' && [...module.children.allTests()].length === 0) failed++;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        const steady = state !== 'passed' || test.diagnostic()?.flaky !== true;
        if (!steady) process.stdout.write(`\nunsteady: ${module.moduleId} > ${test.fullName}: ${firstError(test)}\n`);
        if (state === 'failed' || (!steady && EXACT.test(module.moduleId))) failed++;
        else if (state === 'passed') passed++;
        else skipped++;
      }
    }
    if (failed > 0) process.exitCode = 1;
    process.stdout.write(`\n${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  }
}

function firstError(test: TestCase): string {
  return test.result().errors?.[0]?.message ?? 'no reason given';
}
