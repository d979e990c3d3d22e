/**
 * The renderer: all resources of one confd folder kept true to one store. Owns the mirror, the groups, the folder
 * watch and the reconcile timer, and how definitions come and go. Talks to no terminal and reads no flags (cli.ts).
 */
import { isDeepStrictEqual } from 'node:util';
import type { EtcdClient } from '../client/api.ts';
import { fillCommand } from './command.ts';
import { loadResources, TemplateCache, watchFolders } from './conf-folder.ts';
import { DependencyIndex } from './dependency-index.ts';
import { pause } from './duration.ts';
import type { RendererHooks } from './events.ts';
import type { Change } from './key-tree.ts';
import { type Logger, messageOf } from './logger.ts';
import { Mirror } from './mirror.ts';
import { DEFAULT_TIMING, type GroupSettings, ReloadGroup, type Timing } from './reload-group.ts';
import { RenderUnit, type UnitStatus } from './render-unit.ts';
import type { PrefixMode } from './scope.ts';
import { Slots } from './slots.ts';
import type { TemplateResource } from './template-resource.ts';

/** Files compared, checked and swapped at once. */
export const APPLY_CONCURRENCY_MAX = 16;
/** Reload commands at once. */
export const RELOAD_CONCURRENCY_MAX = 16;
/** Several files of the folder often change together; they are read again this long after the last. */
const DEFINITIONS_WAIT_MS = 50;

export interface RendererOptions {
  /** Folder with `conf.d/` and `templates/`. */
  confDir: string;
  log: Logger;
  prefix?: string;
  prefixMode?: PrefixMode;
  noop?: boolean;
  syncOnly?: boolean;
  keepStageFile?: boolean;
  timing?: Partial<Timing>;
  hooks?: RendererHooks;
  /** Where noop prints its diff; nowhere when absent. */
  print?: (text: string) => void;
}

/** What is wanted of `run`. */
export interface RunOptions {
  /** `watch` follows the store; `poll` lists it once per interval. */
  mode: 'watch' | 'poll';
  /** Between two comparisons of every target with the disk (and, polling, two lists of the store). */
  intervalMs: number;
}

export class Renderer {
  readonly #client: EtcdClient;
  readonly #options: RendererOptions;
  readonly #log: Logger;
  readonly #templates = new TemplateCache();
  readonly #index = new DependencyIndex<RenderUnit>();
  readonly #units = new Map<string, { unit: RenderUnit; group: ReloadGroup }>();
  readonly #groups = new Map<string, ReloadGroup>();
  readonly #applySlots = new Slots(APPLY_CONCURRENCY_MAX);
  readonly #reloadSlots = new Slots(RELOAD_CONCURRENCY_MAX);
  #definitionErrors: readonly { file: string; message: string }[] = [];
  readonly #closing = new Set<Promise<void>>();
  #mirror: Mirror | undefined;

  /** Nothing runs until {@link once} or {@link run}; one of them, once. */
  constructor(client: EtcdClient, options: RendererOptions) {
    this.#client = client;
    this.#options = options;
    this.#log = options.log;
  }

  /** Renders everything once. Number of resources that failed, unusable files included; rejects when the store or conf.d cannot be read. */
  async once(signal: AbortSignal): Promise<number> {
    const mirror = this.#begin(false);
    const stop = () => void this.#closeGroups();
    signal.addEventListener('abort', stop);
    try {
      await this.#define(mirror);
      await mirror.refresh(signal);
      await Promise.all([...this.#groups.values()].map((group) => group.once()));
      signal.throwIfAborted();
      const failed = this.status().filter((unit) => unit.error !== undefined).length;
      return failed + this.#definitionErrors.length;
    } finally {
      signal.removeEventListener('abort', stop);
      await this.#closeGroups();
      await mirror.close();
    }
  }

  /** Keeps all targets true until `signal` fires; resolves when the last reload under way has ended. */
  async run(options: RunOptions, signal: AbortSignal): Promise<void> {
    const polling = options.mode === 'poll';
    const mirror = this.#begin(!polling);
    let timer: NodeJS.Timeout | undefined;
    let cycles: Promise<void> = Promise.resolve();
    const cycle = (reconcile: boolean): Promise<void> => {
      cycles = cycles.then(() => this.#cycle(mirror, reconcile || polling, signal));
      return cycles;
    };
    const folders = await watchFolders(
      this.#options.confDir,
      {
        onResources: () => {
          clearTimeout(timer);
          timer = setTimeout(() => void cycle(false), DEFINITIONS_WAIT_MS);
        },
        onTemplate: (path) => this.#templateChanged(path),
      },
      this.#log,
    );
    try {
      await cycle(false);
      while (!signal.aborted) {
        await pause(options.intervalMs, signal);
        await cycle(true);
      }
    } finally {
      clearTimeout(timer);
      await folders.close();
      await cycles;
      await this.#closeGroups();
      await mirror.close();
    }
  }

  /** Every resource and how it stands, by file. */
  status(): UnitStatus[] {
    return [...this.#units.values()].map(({ unit }) => unit.status());
  }

  /** Resource files that cannot be used as they are. */
  get definitionErrors(): readonly { file: string; message: string }[] {
    return this.#definitionErrors;
  }

  #begin(watch: boolean): Mirror {
    if (this.#mirror !== undefined) throw new Error('a Renderer runs once');
    const mirror = new Mirror(this.#client, this.#log, { watch });
    mirror.onChange((changes, revision) => this.#changed(changes, revision));
    this.#mirror = mirror;
    return mirror;
  }

  #changed(changes: readonly Change[], revision: number): void {
    const concerned = new Set<RenderUnit>();
    for (const change of changes) {
      const found = new Set<RenderUnit>();
      this.#index.collect(change, found);
      for (const unit of found) {
        unit.noteChange(change.key);
        concerned.add(unit);
      }
    }
    this.#log.debug({ revision, keys: changes.length, resources: concerned.size }, 'keys changed');
    for (const unit of concerned) this.#units.get(unit.resource.file)?.group.changed(unit);
  }

  #templateChanged(path: string): void {
    this.#templates.touch(path);
    for (const { unit, group } of this.#units.values()) {
      if (unit.resource.src === path) group.changed(unit);
    }
  }

  /** Reads conf.d again; with `reconcile`, every target is compared with what it should be. */
  async #cycle(mirror: Mirror, reconcile: boolean, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    try {
      await this.#define(mirror);
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'cannot read the resource files');
    }
    try {
      if (!mirror.watching) await mirror.refresh(signal);
    } catch (error) {
      if (!signal.aborted) this.#log.error({ error: messageOf(error) }, 'cannot list the keys');
    }
    if (reconcile) for (const group of this.#groups.values()) group.runNow();
  }

  /** Brings the units in line with conf.d. A file that has become unusable leaves its last good definition at work. */
  async #define(mirror: Mirror): Promise<void> {
    const { confDir, prefix = '', prefixMode = 'replace' } = this.#options;
    const { resources, errors } = await loadResources({ confDir, prefix, prefixMode });
    const known = new Set(this.#definitionErrors.map(({ message }) => message));
    for (const { file, message } of errors) {
      if (!known.has(message)) this.#log.error({ file, error: message }, 'resource file cannot be used');
    }
    this.#definitionErrors = errors;
    const unusable = new Set(errors.map(({ file }) => file));
    const wanted = new Map(resources.map((resource) => [resource.file, resource]));
    const leaving: Promise<void>[] = [];
    for (const [file, { unit, group }] of this.#units) {
      const resource = wanted.get(file);
      if (resource === undefined ? unusable.has(file) : isDeepStrictEqual(resource, unit.resource)) continue;
      this.#units.delete(file);
      leaving.push(group.remove(unit));
      this.#log.info({ resource: file }, resource === undefined ? 'resource removed' : 'resource redefined');
    }
    await Promise.all(leaving);
    const added = resources.filter(({ file }) => !this.#units.has(file)).map((resource) => this.#add(resource, mirror));
    for (const [key, group] of this.#groups) {
      if (group.size > 0) continue;
      this.#groups.delete(key);
      const closing: Promise<void> = group.close().finally(() => this.#closing.delete(closing));
      this.#closing.add(closing);
    }
    const units = [...this.#units.values()].map(({ unit }) => unit);
    this.#templates.retain(new Set(units.map((unit) => unit.resource.src)));
    mirror.setScopes(units.flatMap((unit) => unit.resource.scopes));
    if (!mirror.watching) return;
    // New members of one group begin together, so that they reload together.
    for (const group of new Set(added.map((entry) => entry.group))) {
      group.runNow(added.filter((entry) => entry.group === group).map((entry) => entry.unit));
    }
  }

  #add(resource: TemplateResource, mirror: Mirror): { unit: RenderUnit; group: ReloadGroup } {
    const settings = this.#groupSettings(mirror);
    const command =
      resource.reloadCommand === undefined ? undefined : fillCommand(resource.reloadCommand, { dest: resource.dest });
    const groupKey = command === undefined ? `dest ${resource.dest}` : `reload ${JSON.stringify(command)}`;
    const group = this.#groups.get(groupKey) ?? new ReloadGroup(command, settings);
    this.#groups.set(groupKey, group);
    const unit = new RenderUnit(resource, this.#templates, settings);
    group.add(unit);
    const entry = { unit, group };
    this.#units.set(resource.file, entry);
    return entry;
  }

  #groupSettings(mirror: Mirror): GroupSettings {
    const { noop = false, syncOnly = false, keepStageFile = false, hooks = {}, print = () => {} } = this.#options;
    return {
      noop,
      syncOnly,
      keepStageFile,
      hooks,
      print,
      log: this.#log,
      mirror,
      index: this.#index,
      timing: { ...DEFAULT_TIMING, ...this.#options.timing },
      applySlots: this.#applySlots,
      reloadSlots: this.#reloadSlots,
    };
  }

  async #closeGroups(): Promise<void> {
    await Promise.all([...[...this.#groups.values()].map((group) => group.close()), ...this.#closing]);
  }
}
