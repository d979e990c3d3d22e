import { spawn } from 'node:child_process';
import { PassThrough, Writable } from 'node:stream';
import { run } from '../../ctl/run.ts';
import type { Run } from '../e2e/etcdctl-script.ts';

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

class Collected extends Writable {
  readonly chunks: Buffer[] = [];
  readonly #onText: ((text: string) => void) | undefined;

  constructor(onText?: (text: string) => void) {
    super();
    this.#onText = onText;
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(chunk);
    this.#onText?.(this.text);
    done();
  }
}

export interface RunOptions {
  stdin?: string;
  /** Standard input goes on after `stdin`. */
  stdinOpen?: boolean;
  /** Typed again and again, until the command ends. */
  keepTyping?: string;
  env?: Record<string, string>;
  signal?: AbortSignal;
  /** Called with all of stdout whenever there is more of it. */
  onStdout?: (text: string) => void;
  onStderr?: (text: string) => void;
}

/** Runs rosterctl inside this process. */
export async function rosterctl(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const stdout = new Collected(options.onStdout);
  const stderr = new Collected(options.onStderr);
  const stdin = new PassThrough();
  stdin.write(options.stdin ?? '');
  if (options.stdinOpen !== true) stdin.end();
  const typing = setInterval(() => {
    if (options.keepTyping !== undefined) stdin.write(options.keepTyping);
  }, 100);
  const code = await run(args, {
    stdin,
    stdout,
    stderr,
    env: { PATH: process.env.PATH ?? '', ...options.env },
    signal: options.signal ?? new AbortController().signal,
  });
  clearInterval(typing);
  stdin.destroy();
  return { code, stdout: stdout.text, stderr: stderr.text };
}

/** rosterctl as a player of the scripts that etcdctl is compared by (test/e2e/etcdctl-script.ts). */
export const rosterctlRun: Run = async (endpoint, args, step, whenStarted) => {
  const interrupt = new AbortController();
  const texts = { stdout: '', stderr: '' };
  let inner: Promise<void> | undefined;
  const look = () => {
    const text = texts.stdout + texts.stderr;
    if (inner === undefined && (step.after === undefined || text.includes(step.after))) inner = whenStarted();
    if (step.until !== undefined && text.includes(step.until)) interrupt.abort();
  };
  look();
  const outcome = await rosterctl(args, {
    stdinOpen: args.includes('--interactive'),
    env: { ETCDCTL_ENDPOINTS: endpoint },
    signal: AbortSignal.any([interrupt.signal, AbortSignal.timeout(20_000)]),
    ...(step.stdin !== undefined && { stdin: step.stdin }),
    onStdout: (text) => {
      texts.stdout = text;
      look();
    },
    onStderr: (text) => {
      texts.stderr = text;
      look();
    },
  });
  await inner;
  return outcome;
};

/** Debian's etcdctl with its v2 verbs, as a player of scripts. */
export const etcdctl2Run =
  (binary: string): Run =>
  (endpoint, args, step, whenStarted) =>
    new Promise((resolve, reject) => {
      const env = { PATH: process.env.PATH, ETCDCTL_API: '2', ETCDCTL_ENDPOINTS: `http://${endpoint}` };
      const child = spawn(binary, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
      const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
      const output = { code: null as number | null, stdout: '', stderr: '' };
      let inner: Promise<void> | undefined;
      const begin = () => {
        inner = whenStarted();
      };
      const look = () => {
        if (step.until !== undefined && output.stdout.includes(step.until)) child.kill('SIGINT');
      };
      child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        output.stdout += chunk;
        look();
      });
      child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
        output.stderr += chunk;
      });
      child.once('error', reject);
      child.once('close', (code) => {
        clearTimeout(timer);
        void Promise.resolve(inner).then(() => resolve({ ...output, code }), reject);
      });
      // A command that wants no input may have ended before it gets it.
      child.stdin.on('error', () => {}).end(step.stdin ?? '');
      // A watch of "now" has begun when the server has it: nobody tells, so some time is given.
      if (step.during !== undefined) setTimeout(begin, WATCH_BEGINS_MS);
    });

/** rosterctl's v2 verbs, as a player of scripts. */
export const rosterctl2Run: Run = async (endpoint, args, step, whenStarted) => {
  const interrupt = new AbortController();
  let inner: Promise<void> | undefined;
  const begin = () => {
    inner = whenStarted();
  };
  if (step.during !== undefined) setTimeout(begin, WATCH_BEGINS_MS);
  const outcome = await rosterctl(args, {
    stdin: step.stdin ?? '',
    env: { ETCDCTL_API: '2', ETCDCTL_ENDPOINTS: `http://${endpoint}` },
    signal: AbortSignal.any([interrupt.signal, AbortSignal.timeout(20_000)]),
    onStdout: (text) => {
      if (step.until !== undefined && text.includes(step.until)) interrupt.abort();
    },
  });
  await inner;
  return outcome;
};

const WATCH_BEGINS_MS = 1_500;
