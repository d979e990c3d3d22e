/** Visitors of the load balancer: one who asks who is there, and a crowd that counts what fails. */
import { readFile } from 'node:fs/promises';
import { get } from 'node:http';

/** Body of `GET /`, or undefined when it failed; each on a connection of its own. */
function visit(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = get({ host: '127.0.0.1', port, path: '/', agent: false, timeout: 5000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve(response.statusCode === 200 ? text.trim() : undefined));
      response.on('error', () => resolve(undefined));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(undefined));
  });
}

const VISITS_MIN = 6;

/** Names of the upstreams that answer: round robin shows each within as many visits as there are, twice for certain. */
async function liveUpstreams(port: number, expected: number): Promise<string[]> {
  const names = new Set<string>();
  const visits = Math.max(2 * (expected + 1), VISITS_MIN);
  for (let i = 0; i < visits; i++) names.add((await visit(port)) ?? '(failed)');
  return [...names].sort();
}

const FOLLOW_TIMEOUT_MS = 15_000;

/**
 * Milliseconds from `sinceMs` until nginx's file lists as many servers as are expected, and exactly these answer (a dead
 * one nginx would step over, so answers alone do not tell). Throws when that never comes.
 */
export async function follows(
  balancer: { port: number; upstreams: string },
  expected: readonly string[],
  sinceMs: number,
): Promise<number> {
  const wanted = [...(expected.length === 0 ? ['(failed)'] : expected)].sort().join();
  for (;;) {
    // The moment before the look: the visits themselves take time.
    const ms = performance.now() - sinceMs;
    const listed = (await readFile(balancer.upstreams, 'utf8')).match(/server [^;]*:\d+;/g)?.length ?? 0;
    const found = listed === expected.length ? (await liveUpstreams(balancer.port, expected.length)).join() : undefined;
    if (found === wanted) return ms;
    if (ms > FOLLOW_TIMEOUT_MS) {
      throw new Error(`${listed} upstreams listed, ${found} answer after ${Math.round(ms)} ms, not ${wanted}`);
    }
    if (found === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Visits without pause until stopped; counts. */
export class Crowd {
  visits = 0;
  failures = 0;
  #stopped = false;
  readonly #running: Promise<void>[];

  constructor(port: number, size: number) {
    this.#running = Array.from({ length: size }, async () => {
      while (!this.#stopped) {
        if ((await visit(port)) === undefined) this.failures++;
        this.visits++;
      }
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running);
  }
}
