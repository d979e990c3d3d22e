/**
 * Keeps a Tls at what its files say, without a restart: looks at them every half second, takes them when they are quiet and
 * can be used all together, and goes on with the last good ones when not, saying so once. Never writes them.
 */
import { X509Certificate } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { Logger } from '../config/log.ts';
import { type Credentials, readCredentials, type TlsPaths } from './credentials.ts';
import { Tls, type TlsPolicy } from './tls.ts';

/** Between two looks. What changes is in force after two to three of them. */
export const LOOK_INTERVAL_MS = 500;

export interface TlsFiles {
  readonly tls: Tls;
  /** Looks no more. */
  close(): void;
}

/** Reads the files. Rejects with a RosterError that names the one that cannot be used. */
export async function openTlsFiles(
  paths: TlsPaths,
  policy: Partial<TlsPolicy>,
  log: Logger,
  intervalMs: number = LOOK_INTERVAL_MS,
): Promise<TlsFiles> {
  const files = [...new Set(Object.values(paths))].filter((path) => path !== '');
  // Before they are read: what changes meanwhile must look different afterwards.
  const seen = await signatureOf(files);
  const tls = new Tls(policy, await readCredentials(paths));
  warnOfDates(tls.credentials, paths, log);
  const watch = new Watch(tls, paths, files, log, seen);
  const timer = setInterval(() => void watch.look(), intervalMs);
  return {
    tls,
    close() {
      clearInterval(timer);
      watch.closed = true;
    },
  };
}

class Watch {
  closed = false;
  readonly #tls: Tls;
  readonly #paths: TlsPaths;
  readonly #files: readonly string[];
  readonly #log: Logger;
  /** Of the files as they were read last, whether they could be used or not. */
  #read: string;
  /** Of the last look. */
  #seen: string;
  #looking = false;
  #reported = '';

  constructor(tls: Tls, paths: TlsPaths, files: readonly string[], log: Logger, seen: string) {
    this.#tls = tls;
    this.#paths = paths;
    this.#files = files;
    this.#log = log;
    this.#read = seen;
    this.#seen = seen;
  }

  async look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const now = await signatureOf(this.#files);
    // Somebody may be in the middle of writing: only what has been quiet for one interval is read.
    const quiet = now === this.#seen;
    this.#seen = now;
    if (quiet && now !== this.#read) await this.#reload(now);
    this.#looking = false;
  }

  async #reload(signature: string): Promise<void> {
    this.#read = signature;
    try {
      const credentials = await readCredentials(this.#paths);
      if (this.closed) return;
      this.#tls.replace(credentials);
      this.#reported = '';
      this.#log.info({ files: this.#files, ...about(credentials) }, 'TLS files reloaded');
      warnOfDates(credentials, this.#paths, this.#log);
    } catch (error) {
      const reason = (error as Error).message;
      if (reason === this.#reported || this.closed) return;
      this.#reported = reason;
      this.#log.warn({ reason }, 'TLS files have changed and cannot be used: going on with the last good ones');
    }
  }
}

/** Changes whenever a file does: by content, replacement or a link that points elsewhere. */
async function signatureOf(files: readonly string[]): Promise<string> {
  const parts = files.map(async (file) => {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
      return [dev, ino, size, mtimeNs, ctimeNs].join();
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'unknown';
    }
  });
  return (await Promise.all(parts)).join(' ');
}

function about({ own, ca }: Credentials): Record<string, unknown> {
  const certificate = own === undefined ? undefined : new X509Certificate(own.cert);
  return {
    ...(certificate && { serial: certificate.serialNumber, 'valid-to': certificate.validTo }),
    ...(ca && { authorities: ca.length }),
  };
}

/** What can be used and will surprise the operator. */
function warnOfDates({ own, revoked }: Credentials, { certFile, crlFile }: TlsPaths, log: Logger): void {
  const nowMs = Date.now();
  if (own !== undefined) {
    const { validTo, validFrom } = new X509Certificate(own.cert);
    if (Date.parse(validTo) < nowMs) log.warn({ file: certFile, 'valid-to': validTo }, 'a TLS certificate has expired');
    if (Date.parse(validFrom) > nowMs) {
      log.warn({ file: certFile, 'valid-from': validFrom }, 'a TLS certificate is not valid yet');
    }
  }
  if (revoked !== undefined && revoked.nextUpdateMs < nowMs) {
    log.warn({ file: crlFile }, 'a revocation list is out of date; what it revokes goes on to be refused');
  }
}
