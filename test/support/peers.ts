import { execFileSync } from 'node:child_process';
import type { TestContext } from 'vitest';

/** Real programs some tests need, and the Debian package that brings each. */
const packages = {
  etcd: 'etcd-server',
  etcdctl: 'etcd-client',
  nginx: 'nginx',
  haproxy: 'haproxy',
  'redis-server': 'redis-server',
  dockerd: 'docker.io',
  busybox: 'busybox-static',
} as const;
export type Peer = keyof typeof packages;

function find(peer: Peer): string | undefined {
  try {
    return execFileSync('/bin/sh', ['-c', `PATH="$PATH:/usr/sbin:/sbin" command -v ${peer}`], {
      encoding: 'utf8',
    }).trim();
  } catch {
    return undefined;
  }
}

/**
 * Paths of the named programs. When one is missing, the test is skipped with a line that says what to install - or
 * fails, where ROSTER_REQUIRE_PEERS is set (as .ci/run does).
 */
export function requirePeers<P extends Peer>(context: Pick<TestContext, 'skip'>, ...peers: P[]): Record<P, string> {
  const found: Partial<Record<P, string>> = {};
  for (const peer of peers) {
    const path = find(peer);
    if (path === undefined) {
      const line = `${peer} is not installed: apt-get install ${packages[peer]}`;
      if (process.env.ROSTER_REQUIRE_PEERS) throw new Error(line);
      context.skip(line);
    } else found[peer] = path;
  }
  return found as Record<P, string>;
}

/** The same question outside a test: undefined, and a line that says what to install, when missing and not required. */
export function findPeer(peer: Peer): string | undefined {
  const path = find(peer);
  if (path !== undefined) return path;
  const line = `${peer} is not installed: apt-get install ${packages[peer]}`;
  if (process.env.ROSTER_REQUIRE_PEERS) throw new Error(line);
  process.stderr.write(`skipping tests: ${line}\n`);
  return undefined;
}
