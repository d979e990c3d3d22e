/**
 * `roster config check`: reads what `roster serve` would read with the same flags, and prints what is in force and where
 * it comes from. Starts nothing, makes nothing.
 */
import { readAuthToken } from '../security/auth-token.ts';
import { type Flag, UsageError, valueText } from './flag-table.ts';
import { readServeConfiguration, type ServeConfiguration, serveFlags } from './serve-flags.ts';
import type { Environment } from './sources.ts';

const HELP = `usage: roster config check [flags]

Takes the flags of roster serve, reads the same variables and files, and prints every flag with its value and where that
comes from. Starts nothing. Exit code 2 when something is wrong, with the reason.
`;

/** What to print. Throws UsageError. */
export function runConfigCommand(args: readonly string[], environment: Environment): string {
  const [action, ...rest] = args;
  if (action === undefined || /^--?(?:help|h)$/.test(action) || rest.some((arg) => /^--?(?:help|h)$/.test(arg))) {
    return HELP;
  }
  if (action !== 'check') throw new UsageError(`unknown command config ${JSON.stringify(action)}: roster config check`);
  const configuration = readServeConfiguration(rest, environment);
  readAuthToken(configuration.flags['auth-token']);
  return report(configuration);
}

function report({ flags, origins, ignored, older, warnings }: ServeConfiguration): string {
  const rows = Object.keys(serveFlags).map((name) => {
    const flag: Flag<unknown> = serveFlags[name as keyof typeof serveFlags];
    const value = hidden(name, valueText(flag, flags[name as keyof typeof flags])) || "''";
    const origin = origins.get(name);
    const implied = value === (valueText(flag, flag.initial) || "''") ? 'default' : 'from others';
    return [`--${name}`, value, origin ?? implied] as const;
  });
  const width = (column: 0 | 1) => Math.max(...rows.map((row) => row[column].length).filter((length) => length <= 48));
  const [names, values] = [width(0), width(1)];
  const lines = rows.map(([name, value, origin]) => `${name.padEnd(names)}  ${value.padEnd(values)}  ${origin}`);
  if (older.length > 0) lines.push(`older names: ${older.join(', ')}`);
  if (ignored.length > 0) lines.push(`accepted, and of no effect: ${ignored.join(', ')}`);
  lines.push(...warnings.map((warning) => `warning: ${warning}`));
  return `${lines.join('\n')}\n`;
}

/** Passwords are not for screens and tickets. */
function hidden(name: string, value: string): string {
  if (name === 'discovery-password' && value !== '') return '(hidden)';
  return name === 'discovery-user' ? value.replace(/:.*$/s, ':(hidden)') : value;
}
