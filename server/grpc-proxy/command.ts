/** `roster grpc-proxy start`: flags in, exit code out. */
import { describeFlags, UsageError } from '../config/flag-table.ts';
import { createLogger } from '../config/log.ts';
import { proxyFlags, readProxyFlags } from './flags.ts';
import { startProxy } from './proxy.ts';

const help = `usage: roster grpc-proxy start [flags]

Stands between many clients and a cluster: equal watches become one, renewals of leases share a stream, and serializable
reads are answered from a cache.

${describeFlags(proxyFlags)}
`;

/** Resolves with the exit code when `signal` has fired and all is closed. Throws UsageError or RosterError. */
export async function runGrpcProxy(args: readonly string[], signal: AbortSignal): Promise<number> {
  const [command, ...rest] = args;
  if (command === undefined || args.some((arg) => /^--?(?:help|h)$/.test(arg))) {
    process.stdout.write(help);
    return 0;
  }
  if (command !== 'start') throw new UsageError(`roster grpc-proxy ${JSON.stringify(command)}: there is start`);
  const { flags, ignored } = readProxyFlags(rest);
  const log = createLogger({ level: flags['log-level'], format: flags['log-format'], outputs: ['default'] });
  if (ignored.length > 0) log.warn({ flags: ignored }, 'flags that have no meaning here are accepted and ignored');
  const proxy = await startProxy(flags, log);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  log.info('stopping: calls under way are finished first');
  await proxy.close();
  log.info('stopped');
  return 0;
}
