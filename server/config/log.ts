/** The structured log: pino with etcd's keys (level, ts, msg), to standard error or to where --log-outputs says. */
import { openSync } from 'node:fs';
import pino, { type Logger } from 'pino';
import { type Flag, UsageError } from './flag-table.ts';

export type { Logger };

export interface LogOptions {
  level: 'debug' | 'info' | 'warn' | 'error' | 'panic' | 'fatal';
  format: 'json' | 'console';
  /** See --log-outputs; default: standard error. */
  outputs?: readonly string[];
}

const STDOUT = 1;
const STDERR = 2;
const DESCRIPTORS: ReadonlyMap<string, number> = new Map([
  ['default', STDERR],
  ['stderr', STDERR],
  ['stdout', STDOUT],
  // What a service writes to standard error, systemd gives to its journal.
  ['systemd/journal', STDERR],
]);
const FILE_MODE = 0o600;

/** --log-outputs */
export const logOutputs: Flag<readonly string[]> = {
  initial: ['default'],
  help: "where the log goes: 'stderr', 'stdout', or the paths of files, comma-separated",
  parse(value) {
    const outputs = value.split(',').map((part) => part.trim());
    if (outputs.includes('')) throw new UsageError('must be words or paths, separated by commas');
    if (outputs.includes('default') && outputs.length > 1) {
      throw new UsageError('multi logoutput for "default" is not supported yet: write stderr');
    }
    return [...new Set(outputs)];
  },
};

/** Throws a UsageError that names an output which cannot be written. */
export function createLogger(options: LogOptions): Logger {
  const level = options.level === 'panic' ? 'fatal' : options.level;
  const settings: pino.LoggerOptions = {
    level,
    base: null,
    timestamp: () => `,"ts":"${new Date().toISOString()}"`,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { error: pino.stdSerializers.err },
  };
  const descriptors = [...new Set((options.outputs ?? ['default']).map(descriptorOf))];
  // Asynchronous: a slow terminal must not hold the event loop. What is buffered is flushed at exit.
  const destinations = descriptors.map((dest) => pino.destination({ dest, sync: false }));
  const write = (line: string) => {
    for (const destination of destinations) destination.write(line);
  };
  if (options.format === 'console') return pino(settings, { write: (line: string) => write(consoleLine(line)) });
  return destinations.length === 1 ? pino(settings, destinations[0]!) : pino(settings, { write });
}

function descriptorOf(output: string): number {
  const known = DESCRIPTORS.get(output);
  if (known !== undefined) return known;
  try {
    return openSync(output, 'a', FILE_MODE);
  } catch (error) {
    throw new UsageError(`--log-outputs: ${(error as Error).message}`);
  }
}

/** `2026-01-31T12:00:00.000Z info message key=value` */
function consoleLine(line: string): string {
  const { level, ts, msg, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const fields = Object.entries(rest).map(([name, value]) => ` ${name}=${JSON.stringify(value)}`);
  return `${String(ts)} ${String(level)} ${String(msg)}${fields.join('')}\n`;
}
