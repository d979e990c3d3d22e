/**
 * What every command works with: where it reads and writes, the global flags, and one client. Owns the exit codes and
 * the error that carries one. Knows no command, and loads the client only for those that have use for one.
 */
import type { Readable, Writable } from 'node:stream';
import type { ConnectionOptions } from '../client/endpoint.ts';
import type { Client, TlsOptions } from '../client/index.ts';
import type { Identity } from '../client/login.ts';
import { assert } from '../core/util/assert.ts';
import type { Format } from './output/print.ts';
import type { Store2 } from './v2/store.ts';

/** etcdctl's exit codes (pkg/cobrautl). */
export const Exit = {
  OK: 0,
  ERROR: 1,
  BAD_CONNECTION: 2,
  INVALID_INPUT: 3,
  BAD_FEATURE: 4,
  INTERRUPTED: 5,
  BAD_ARGUMENTS: 128,
} as const;

/** Ends the command: `Error: <message>` on stderr and this exit code. Without a message, all has been said. */
export class CommandError extends Error {
  override name = 'CommandError';
  readonly exitCode: number;
  /** What to do about it. */
  hint: string | undefined;

  constructor(message: string, exitCode: number = Exit.ERROR) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The same, with nothing before the message: what etcdctl's v2 verbs say of users and members. */
export class PlainError extends CommandError {
  override name = 'PlainError';
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
  format: Format;
  hex: boolean;
  debug: boolean;
  tls: TlsOptions | undefined;
  identity: Identity;
  connection: ConnectionOptions;
}

/** What a client of its own may have different from the global flags. */
export interface ClientChoice {
  endpoints?: readonly string[];
  tls?: TlsOptions | undefined;
  identity?: Identity;
}

export class Context {
  readonly io: Io;
  /** Arguments after `--`; undefined when there is no `--`. */
  readonly afterDashes: readonly string[] | undefined;
  /** Of a command that ends as it should although the user interrupted it. */
  exitCode: number | undefined;
  #globals: Globals | undefined;
  #store2: Store2 | undefined;
  #Client: typeof Client | undefined;
  #client: Client | undefined;

  constructor(io: Io, afterDashes?: readonly string[]) {
    this.io = io;
    this.afterDashes = afterDashes;
  }

  get globals(): Globals {
    assert(this.#globals !== undefined, 'the global flags are read before a command runs');
    return this.#globals;
  }

  set globals(globals: Globals) {
    this.#globals = globals;
  }

  /** The store as the v2 verbs see it. */
  get store2(): Store2 {
    assert(this.#store2 !== undefined, 'the flags of the v2 verbs are read before a command runs');
    return this.#store2;
  }

  set store2(store: Store2) {
    this.#store2 = store;
  }

  /** To be called before `client` and `clientOf`: the package for gRPC takes a while to load. */
  async loadClient(): Promise<void> {
    this.#Client = (await import('../client/client.ts')).Client;
  }

  get client(): Client {
    this.#client ??= this.clientOf();
    return this.#client;
  }

  /** A client of its own; the caller closes it. */
  clientOf(choice: ClientChoice = {}): Client {
    assert(this.#Client !== undefined, 'the client is loaded before a command runs');
    const { endpoints, commandTimeoutMs, dialTimeoutMs, tls: globalTls, identity, connection } = this.globals;
    const tls = 'tls' in choice ? choice.tls : globalTls;
    return new this.#Client({
      endpoints: choice.endpoints ?? endpoints,
      timeoutMs: commandTimeoutMs,
      dialTimeoutMs,
      connection,
      ...(choice.identity ?? identity),
      ...(tls === undefined ? {} : { tls }),
    });
  }

  /** For calls: the signal of the user's interrupt. */
  get call(): { signal: AbortSignal } {
    return { signal: this.io.signal };
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
