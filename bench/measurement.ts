/** What is measured, as it is kept in bench/results/, and the machine it was measured on. No names of hosts or paths. */
import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';
import type { LoadResult } from './load.ts';
import type { ServerName } from './servers.ts';

/** What was done; 0 where a number has no meaning. */
export interface Work {
  readonly work: string;
  readonly nodes: number;
  readonly clients: number;
  readonly valueBytes: number;
  /** In the store, or in one range: as the work says. */
  readonly keys: number;
  readonly watchers: number;
}

export interface Figures {
  /** Requests, or events delivered. */
  perSecond?: number;
  p50Ms?: number;
  p99Ms?: number;
  p999Ms?: number;
  maxMs?: number;
  /** Of all members together. */
  cpuSecondsPer10k?: number;
  /** Of one core. */
  generatorCpuPart?: number;
  residentBytes?: number;
  peakBytes?: number;
  diskBytes?: number;
  startSeconds?: number;
  tookSeconds?: number;
  loopP999Ms?: number;
  loopMaxMs?: number;
}

/** `generator`: nothing but the load generator, against a server that does nothing. */
export type Subject = ServerName | 'generator';

export interface Measurement extends Work {
  readonly server: Subject;
  readonly round: number;
  readonly figures: Figures;
  /** Why there are no figures. */
  readonly error?: string;
}

export interface Machine {
  readonly cores: number;
  readonly processor: string;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  readonly etcd: string;
}

export interface Results {
  readonly startedAt: string;
  readonly tookSeconds: number;
  readonly quick: boolean;
  readonly machine: Machine;
  readonly measurements: readonly Measurement[];
}

export function work(name: string, numbers: Partial<Omit<Work, 'work'>> = {}): Work {
  return { work: name, nodes: 1, clients: 0, valueBytes: 0, keys: 0, watchers: 0, ...numbers };
}

/** `cpuSeconds`: of the servers, meanwhile. */
export function figuresOf({ perSecond, latencyMs, generatorCpuPart }: LoadResult, cpuSeconds?: number): Figures {
  const figures: Figures = {
    perSecond,
    p50Ms: latencyMs.percentile(0.5),
    p99Ms: latencyMs.percentile(0.99),
    p999Ms: latencyMs.percentile(0.999),
    maxMs: latencyMs.maxMs,
    generatorCpuPart,
  };
  if (cpuSeconds !== undefined) figures.cpuSecondsPer10k = (cpuSeconds / latencyMs.count) * 10_000;
  return figures;
}

export function thisMachine(): Machine {
  const processors = cpus();
  let etcd = 'none';
  try {
    etcd = /etcd Version: (\S+)/.exec(execFileSync('etcd', ['--version'], { encoding: 'utf8' }))?.[1] ?? 'unknown';
  } catch {
    // Roster alone is measured, then.
  }
  return {
    cores: processors.length,
    processor: processors[0]?.model ?? 'unknown',
    memoryBytes: totalmem(),
    kernel: release().replace(/-.*/, ''),
    node: process.versions.node,
    etcd,
  };
}
