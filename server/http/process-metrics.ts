/** Metrics of the process, under the names that every Prometheus client uses. */
import { readdirSync, readFileSync } from 'node:fs';
import { Gauge, type Registry } from 'prom-client';
import { descriptorLimit } from './debug.ts';
import { plainMetrics } from './plain-metrics.ts';

export function processMetrics(registry: Registry): void {
  const startSeconds = Date.now() / 1000 - process.uptime();
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory.',
    registers: [registry],
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new Gauge({
    name: 'process_start_time_seconds',
    help: 'Start of the process, Unix time.',
    registers: [registry],
  }).set(startSeconds);
  const { gauge, counter } = plainMetrics(registry);
  counter('process_cpu_seconds_total', 'User and system CPU time.', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  gauge('process_open_fds', 'Open file descriptors.', openDescriptors);
  gauge('process_max_fds', 'Most file descriptors.', descriptorLimit);
  gauge('os_fd_used', 'Open file descriptors.', openDescriptors);
  gauge('os_fd_limit', 'Most file descriptors.', descriptorLimit);
  gauge('process_virtual_memory_bytes', 'Virtual memory.', virtualMemory);
  gauge('nodejs_heap_size_total_bytes', 'Heap of the engine.', () => process.memoryUsage().heapTotal);
  gauge('nodejs_heap_size_used_bytes', 'Heap of the engine in use.', () => process.memoryUsage().heapUsed);
}

/** Linux tells; elsewhere 0. */
function openDescriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}

/** Linux tells; elsewhere 0. */
function virtualMemory(): number {
  try {
    return Number(/^VmSize:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
