/**
 * Runs check and reload commands: a string through `/bin/sh -c`, a list as a program and its arguments. Owns the
 * process group, its timeout and the bound on its output; decides nothing about what the result means.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { messageOf } from './logger.ts';

export type Command = string | readonly string[];

/** Bytes of output kept for the log; the rest is read and dropped. */
export const OUTPUT_BYTES_MAX = 16_384;
/** Between SIGTERM and SIGKILL to the group of a command that ran out of time. */
export const KILL_GRACE_MS = 1_000;

export interface CommandResult {
  ok: boolean;
  /** What to tell: `exit status 1`, `killed by SIGSEGV`, `timed out after 30 s`, `cannot start: ...`. */
  outcome: string;
  /** Standard output and error, in the order they came. */
  output: string;
}

/** Puts the files' names in place of `{{src}}`, `{{.src}}`, `{{dest}}` and `{{.dest}}`; anything else stays as it is. */
export function fillCommand(command: Command, files: { src?: string; dest: string }): Command {
  const fill = (text: string) =>
    text.replace(/\{\{\s*\.?(src|dest)\s*\}\}/g, (whole, name: 'src' | 'dest') => files[name] ?? whole);
  return typeof command === 'string' ? fill(command) : command.map(fill);
}

/** A command in one line, for the log. */
export function commandText(command: Command): string {
  return typeof command === 'string'
    ? command
    : command.map((part) => (/^[\w@%+=:,./-]+$/.test(part) ? part : JSON.stringify(part))).join(' ');
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-child.pid!, signal);
  } catch {
    // The group is gone already.
  }
}

/** Collects output up to the limit. The pipe stays open and drained after the command ends: a daemon may have inherited it. */
function collectOutput(child: ChildProcess): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      if (size >= OUTPUT_BYTES_MAX) return;
      chunks.push(chunk.subarray(0, OUTPUT_BYTES_MAX - size));
      size += chunk.length;
    });
    stream?.on('error', () => {});
  }
  return () => {
    for (const stream of [child.stdout, child.stderr]) (stream as { unref?: () => void } | null)?.unref?.();
    return Buffer.concat(chunks).toString('utf8');
  };
}

/**
 * Runs a command to its end and never rejects. After `timeoutMs`, or when `signal` fires, its whole process group is
 * terminated, then killed.
 */
export function runCommand(command: Command, timeoutMs: number, signal?: AbortSignal): Promise<CommandResult> {
  if (signal?.aborted) return Promise.resolve({ ok: false, outcome: 'stopped before it began', output: '' });
  const [program = '', ...args] = typeof command === 'string' ? ['/bin/sh', '-c', command] : command;
  return new Promise((resolve) => {
    let child: ChildProcess;
    try {
      child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    } catch (error) {
      resolve({ ok: false, outcome: `cannot start: ${messageOf(error)}`, output: '' });
      return;
    }
    const output = collectOutput(child);
    let stopped: string | undefined;
    let killTimer: NodeJS.Timeout | undefined;
    const stop = (why: string) => {
      if (stopped !== undefined) return;
      stopped = why;
      killGroup(child, 'SIGTERM');
      killTimer = setTimeout(() => killGroup(child, 'SIGKILL'), KILL_GRACE_MS);
    };
    const timer = setTimeout(() => stop(`timed out after ${timeoutMs / 1_000} s`), timeoutMs);
    const onAbort = () => stop('stopped');
    signal?.addEventListener('abort', onAbort);
    const finish = (ok: boolean, outcome: string) => {
      clearTimeout(timer);
      clearTimeout(killTimer);
      signal?.removeEventListener('abort', onAbort);
      // What the shell left behind in its group goes with it.
      if (stopped !== undefined && child.pid !== undefined) killGroup(child, 'SIGKILL');
      // Output already in the pipe is read before the promise settles.
      setImmediate(() => resolve({ ok, outcome, output: output() }));
    };
    child.once('error', (error) => finish(false, `cannot start: ${error.message}`));
    child.once('exit', (code, killedBy) => {
      const how = killedBy === null ? `exit status ${code}` : `killed by ${killedBy}`;
      finish(stopped === undefined && code === 0, stopped ?? how);
    });
  });
}
