/**
 * What every command works with: where it reads and writes, the global flags, and one client. Owns the exit codes and
 * the error that carries one. Knows no command.
 */
import type { Readable, Writable } from 'node:stream';
import { Client, type TlsOptions } from '../client/index.ts';

/** etcdctl's exit codes (pkg/cobrautl). */
export const Exit = { OK: 0, ERROR: 1, BAD_FEATURE: 4, INTERRUPTED: 5, BAD_ARGUMENTS: 128 } as const;

/** Ends the command: `Error: <message>` on stderr and this exit code. */
export class CommandError extends Error {
  override name = 'CommandError';
  readonly exitCode: number;

  constructor(message: string, exitCode: number = Exit.ERROR) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The process around a command; tests bring their own. */
export interface Io {
  stdin: Readable;
  stdout: Writable;
  stderr: Writable;
  env: Readonly<Record<string, string | undefined>>;
  /** Fires when the user interrupts. */
  signal: AbortSignal;
}

/** The global flags, read. */
export interface Globals {
  endpoints: string[];
  dialTimeoutMs: number;
  commandTimeoutMs: number;
  hex: boolean;
  tls: TlsOptions | undefined;
}

export class Context {
  readonly io: Io;
  /** Arguments after `--`. */
  readonly afterDashes: readonly string[];
  #globals: Globals | undefined;
  #client: Client | undefined;

  constructor(io: Io, afterDashes: readonly string[]) {
    this.io = io;
    this.afterDashes = afterDashes;
  }

  get globals(): Globals {
    return this.#globals!;
  }

  set globals(globals: Globals) {
    this.#globals = globals;
  }

  get client(): Client {
    this.#client ??= this.clientOf(this.globals.endpoints);
    return this.#client;
  }

  /** A client of its own; the caller closes it. */
  clientOf(endpoints: readonly string[]): Client {
    const { commandTimeoutMs, dialTimeoutMs, tls } = this.globals;
    return new Client({ endpoints, timeoutMs: commandTimeoutMs, dialTimeoutMs, ...(tls === undefined ? {} : { tls }) });
  }

  /** One line on stdout. */
  print(line: string | Uint8Array): void {
    this.io.stdout.write(typeof line === 'string' ? `${line}\n` : Buffer.concat([line, Buffer.from('\n')]));
  }

  warn(line: string): void {
    this.io.stderr.write(`${line}\n`);
  }

  close(): void {
    this.#client?.close();
  }
}
