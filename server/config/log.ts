/** The structured log: pino with etcd's keys (level, ts, msg), to stderr. */
import pino, { type Logger } from 'pino';

export type { Logger };

export interface LogOptions {
  level: 'debug' | 'info' | 'warn' | 'error' | 'panic' | 'fatal';
  format: 'json' | 'console';
}

export function createLogger(options: LogOptions): Logger {
  const level = options.level === 'panic' ? 'fatal' : options.level;
  const settings: pino.LoggerOptions = {
    level,
    base: null,
    timestamp: () => `,"ts":"${new Date().toISOString()}"`,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { error: pino.stdSerializers.err },
  };
  // Asynchronous: a slow terminal must not hold the event loop. What is buffered is flushed at exit.
  const stderr = pino.destination({ dest: 2, sync: false });
  if (options.format === 'json') return pino(settings, stderr);
  return pino(settings, { write: (line: string) => stderr.write(consoleLine(line)) });
}

/** `2026-01-31T12:00:00.000Z info message key=value` */
function consoleLine(line: string): string {
  const { level, ts, msg, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const fields = Object.entries(rest).map(([name, value]) => ` ${name}=${JSON.stringify(value)}`);
  return `${String(ts)} ${String(level)} ${String(msg)}${fields.join('')}\n`;
}
