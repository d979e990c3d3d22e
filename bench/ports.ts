/** Ports for programs that are stopped and started again on the same port. */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below the range from which the kernel gives ports to outgoing connections, and above what services usually have. */
const FIRST = 11_000;
const AFTER_LAST = 30_000;
const ATTEMPTS_MAX = 200;

const given = new Set<number>();

/**
 * A free TCP port on 127.0.0.1 that no outgoing connection is ever given: while its server is down, a member that dials
 * it may otherwise get that very port as its own and connect to itself.
 */
export async function steadyPort(): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const port = randomInt(FIRST, AFTER_LAST);
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no free port among ${ATTEMPTS_MAX} tried`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
