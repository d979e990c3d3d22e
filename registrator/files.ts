/**
 * The source of services from files: one directory of TOML, YAML and JSON, read again whenever it changes. Owns the
 * last good version of each file and the health checks of its services. A file that is not usable changes nothing.
 */
import type { Stats } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type FSWatcher, watch } from 'chokidar';
import { type CheckPlan, checkPlan, RunningCheck } from './check.ts';
import { DEFINITION_SUFFIXES, DefinitionError, parseDefinitions, type ServiceDefinition } from './definition.ts';
import type { Sink, Source } from './desired.ts';
import { type Log, reasonOf } from './log.ts';
import { defaultId, type Service } from './service.ts';

/** Largest definition file that is read. */
export const FILE_BYTES_MAX = 1024 * 1024;
/** Definition files read from one directory; the first in name order. */
export const FILES_MAX = 1_000;
/** A file must be this old before it is read, and this long gone before its services go: editors write in steps. */
const SETTLE_MS = 60;
/** A file that is not usable is given this long to be finished before that is an error: a busy writer stalls. */
const UNFINISHED_MS = 1_000;
/** The directory is looked through this often even if the watcher sees nothing (network mounts, late creation). */
const RESCAN_MS = 10_000;

export interface FileSourceOptions {
  folder: string;
  hostname: string;
  /** Address of services that give none. */
  ip: () => string;
  tags: readonly string[];
}

interface KnownFile {
  /** mtime, size and inode of the version that was read last, good or bad. */
  stamp: string;
  definitions: CheckedService[];
  goneSinceMs: number | undefined;
}

interface CheckedService {
  readonly service: Service;
  /** What the check does, as text, to tell whether a new version of the file still means the same check. */
  readonly plan: string;
  readonly check: RunningCheck | undefined;
}

interface ResolvedService {
  readonly service: Service;
  readonly plan: CheckPlan | undefined;
}

export class FileSource implements Source {
  readonly name = 'files';
  readonly #options: FileSourceOptions;
  readonly #log: Log;
  readonly #files = new Map<string, KnownFile>();
  #sink: Sink | undefined;
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerDueMs = Number.POSITIVE_INFINITY;
  #scanning: Promise<void> | undefined;
  #again = false;
  #closed = false;
  #ready = false;
  #trouble = '';

  constructor(options: FileSourceOptions, log: Log) {
    this.#options = options;
    this.#log = log;
  }

  start(sink: Sink): void {
    this.#sink = sink;
    this.#watcher = watch(this.#options.folder, { depth: 0, ignoreInitial: true, alwaysStat: false });
    this.#watcher.on('all', () => this.#scan());
    this.#watcher.on('error', (error) => this.#log.warn({ reason: reasonOf(error) }, 'watching service files failed'));
    this.#scan();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#watcher?.close();
    await this.#scanning;
    for (const file of this.#files.values()) for (const { check } of file.definitions) check?.close();
  }

  #scan(): void {
    if (this.#closed) return;
    if (this.#scanning !== undefined) {
      this.#again = true;
      return;
    }
    this.#scanning = this.#scanFolder().finally(() => {
      this.#scanning = undefined;
      if (this.#again) {
        this.#again = false;
        this.#scan();
      } else this.#scanIn(RESCAN_MS);
    });
  }

  #scanIn(ms: number): void {
    if (this.#closed) return;
    const dueMs = Date.now() + ms;
    if (this.#timer !== undefined && this.#timerDueMs <= dueMs) return;
    clearTimeout(this.#timer);
    this.#timerDueMs = dueMs;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#scan();
    }, ms);
  }

  async #scanFolder(): Promise<void> {
    const names = await this.#list();
    if (names === undefined) return;
    let settled = true;
    for (const name of names) settled = (await this.#look(name)) && settled;
    for (const [name, file] of this.#files) if (!names.includes(name)) settled = this.#missing(name, file) && settled;
    if (this.#closed) return;
    if (!settled) this.#scanIn(SETTLE_MS);
    else if (!this.#ready) {
      this.#ready = true;
      void this.#announceReady();
    }
  }

  /** Ready means that the checks have spoken, too: until then a live service may look unwanted. */
  async #announceReady(): Promise<void> {
    const checks = [...this.#files.values()].flatMap((file) => file.definitions.map(({ check }) => check));
    await Promise.all(checks.map((check) => check?.decided ?? Promise.resolve()));
    if (!this.#closed) this.#sink?.ready();
  }

  async #list(): Promise<string[] | undefined> {
    const { folder } = this.#options;
    try {
      const entries = await readdir(folder);
      const names = entries
        .filter((name) => !name.startsWith('.') && DEFINITION_SUFFIXES.some((suffix) => name.endsWith(suffix)))
        .sort();
      this.#say(names.length > FILES_MAX ? `more than ${FILES_MAX} files: the rest is not read` : '');
      return names.slice(0, FILES_MAX);
    } catch (error) {
      this.#say(reasonOf(error));
      return undefined;
    }
  }

  /** Logs a trouble with the directory once. */
  #say(trouble: string): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    const fields = { folder: this.#options.folder, reason: trouble };
    if (trouble !== '') this.#log.warn(fields, 'the directory of service files is not usable; keeping what is known');
  }

  /** Reads a file if it changed; false when it is too young to be trusted yet. */
  async #look(name: string): Promise<boolean> {
    const path = join(this.#options.folder, name);
    let stats: Stats;
    try {
      stats = await stat(path);
    } catch {
      return true; // Gone since the listing: the next scan sees that.
    }
    if (!stats.isFile()) return true;
    const stamp = `${stats.mtimeMs}/${stats.size}/${stats.ino}`;
    const known = this.#files.get(name);
    if (known !== undefined) known.goneSinceMs = undefined;
    if (known?.stamp === stamp) return true;
    // Whole milliseconds, as the clock's: one written in this millisecond would be from the future, whose age says nothing.
    const ageMs = Date.now() - Math.floor(Math.max(stats.mtimeMs, stats.ctimeMs));
    if (ageMs >= 0 && ageMs < SETTLE_MS) return false;
    const file = known ?? { stamp: '', definitions: [], goneSinceMs: undefined };
    this.#files.set(name, file);
    try {
      if (stats.size > FILE_BYTES_MAX) throw new DefinitionError(`larger than ${FILE_BYTES_MAX} bytes`);
      const services = this.#resolve(parseDefinitions(name, await readFile(path, 'utf8')), path);
      if (!this.#closed) this.#adopt(name, file, services);
    } catch (error) {
      if (ageMs >= 0 && ageMs < UNFINISHED_MS) return false;
      const kept = file.definitions.length;
      this.#log.error(
        { file: path, reason: reasonOf(error), kept },
        'service file not usable; the last good version stays',
      );
    }
    file.stamp = stamp;
    return true;
  }

  /** A file is not there; false while it may be on its way back. */
  #missing(name: string, file: KnownFile): boolean {
    file.goneSinceMs ??= Date.now();
    if (Date.now() - file.goneSinceMs < SETTLE_MS) return false;
    for (const { check } of file.definitions) check?.close();
    this.#files.delete(name);
    this.#sink?.set(this.#group(name), []);
    this.#log.info({ file: join(this.#options.folder, name) }, 'service file removed');
    return true;
  }

  #group(name: string): string {
    return `file:${join(this.#options.folder, name)}`;
  }

  #resolve(definitions: readonly ServiceDefinition[], path: string): ResolvedService[] {
    const seen = new Set<string>();
    return definitions.map((definition, i) => {
      const { name, port } = definition;
      const protocol = definition.protocol ?? 'tcp';
      const id = definition.id ?? defaultId(this.#options.hostname, name, port, protocol);
      if (seen.has(`${name}/${id}`)) {
        throw new DefinitionError(`service[${i}].id: "${id}" is used twice under "${name}"; give each its own id`);
      }
      seen.add(`${name}/${id}`);
      const tags = [...(definition.tags ?? []), ...this.#options.tags, ...(protocol === 'udp' ? ['udp'] : [])];
      const attrs = Object.fromEntries(
        Object.entries(definition.attrs ?? {}).map(([key, value]) => [key.toLowerCase(), value]),
      );
      const ip = definition.ip ?? definition.address ?? this.#options.ip();
      const plan = definition.check === undefined ? undefined : checkPlan(definition.check, ip, port);
      return { service: { id, name, ip, port, tags, attrs, origin: `file:${path}` }, plan };
    });
  }

  /** Replaces what a file defines; a check that still does the same keeps its state. */
  #adopt(name: string, file: KnownFile, services: readonly ResolvedService[]): void {
    const running = file.definitions;
    file.definitions = services.map(({ service, plan }) => {
      const text = plan === undefined ? '' : JSON.stringify([service.name, service.id, plan]);
      const at = running.findIndex((entry) => entry.plan === text);
      const kept = at < 0 ? undefined : running.splice(at, 1)[0];
      return { service, plan: text, check: kept?.check ?? this.#startCheck(name, file, service, plan) };
    });
    for (const { check } of running) check?.close();
    this.#report(name, file);
    this.#log.info({ file: join(this.#options.folder, name), services: services.length }, 'service file read');
  }

  #startCheck(name: string, file: KnownFile, service: Service, plan: CheckPlan | undefined): RunningCheck | undefined {
    if (plan === undefined) return undefined;
    const fields = { name: service.name, id: service.id };
    const check = new RunningCheck(plan, (up, reason) => {
      if (up) this.#log.info(fields, 'check passes');
      else this.#log.warn({ ...fields, reason }, 'check fails: off the roster until it passes');
      this.#report(name, file);
    });
    void check.decided.then(() => {
      const reason = check.lastReason;
      if (!check.up && reason !== '')
        this.#log.warn({ ...fields, reason }, 'check fails: not registered until it passes');
    });
    return check;
  }

  #report(name: string, file: KnownFile): void {
    const up = file.definitions.filter(({ check }) => check === undefined || check.up);
    this.#sink?.set(
      this.#group(name),
      up.map(({ service }) => service),
    );
  }
}
