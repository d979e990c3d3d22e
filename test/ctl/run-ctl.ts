import { Readable, Writable } from 'node:stream';
import { run } from '../../ctl/run.ts';

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
  env?: Record<string, string>;
  signal?: AbortSignal;
  /** Called with all of stdout whenever there is more of it. */
  onStdout?: (text: string) => void;
}

/** Runs rosterctl inside this process. */
export async function rosterctl(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const stdout = new Collected(options.onStdout);
  const stderr = new Collected();
  const code = await run(args, {
    stdin: Readable.from([Buffer.from(options.stdin ?? '')]),
    stdout,
    stderr,
    env: options.env ?? {},
    signal: options.signal ?? new AbortController().signal,
  });
  return { code, stdout: stdout.text, stderr: stderr.text };
}
