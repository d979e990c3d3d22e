/**
 * What must be undone when a test process ends without having done so itself: children, mounts, folders. A test that
 * cleans up takes its entry back; nothing here runs then.
 */
const undo = new Set<() => void>();
let registered = false;

/** Runs `action` (synchronous; errors are ignored) when the process exits, latest first. Returns the way to take it back. */
export function atExit(action: () => void): () => void {
  if (!registered) {
    registered = true;
    // How the test runner ends a worker whose test does not come to an end.
    process.once('SIGTERM', () => process.exit(143));
    process.once('exit', () => {
      for (const entry of [...undo].reverse()) {
        try {
          entry();
        } catch {
          // The next one still gets its chance.
        }
      }
    });
  }
  undo.add(action);
  return () => undo.delete(action);
}
