/**
 * confd's folder: `conf.d/` with resources (any depth, `*.toml`) and `templates/`. Owns reading all resources at once
 * and telling when something in either folder changed. One bad file never hides the others.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type FSWatcher, watch } from 'chokidar';
import { type Logger, messageOf } from './logger.ts';
import type { PrefixMode } from './scope.ts';
import { Template } from './template.ts';
import { parseResource, ResourceError, type TemplateResource } from './template-resource.ts';

/** A file is read when its size has stood still for this long: editors write in pieces. */
export const SETTLE_MS = 60;

export interface ConfFolderSettings {
  confDir: string;
  prefix: string;
  prefixMode: PrefixMode;
}

export function resourceFolder(confDir: string): string {
  return join(confDir, 'conf.d');
}

export function templateFolder(confDir: string): string {
  return join(confDir, 'templates');
}

export interface LoadedResources {
  resources: TemplateResource[];
  errors: ResourceError[];
}

/** Reads every resource file, in order of names. Rejects only when `conf.d` itself cannot be read. */
export async function loadResources(settings: ConfFolderSettings): Promise<LoadedResources> {
  const folder = resourceFolder(settings.confDir);
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.toml')).sort();
  const resources: TemplateResource[] = [];
  const errors: ResourceError[] = [];
  const targets = new Map<string, string>();
  for (const name of names) {
    const file = join(folder, name);
    try {
      const text = await readFile(file, 'utf8');
      const resource = parseResource(file, text, {
        templateDir: templateFolder(settings.confDir),
        prefix: settings.prefix,
        prefixMode: settings.prefixMode,
      });
      const other = targets.get(resource.dest);
      if (other !== undefined) {
        throw new ResourceError(file, `template.dest: ${resource.dest} is written by ${other} already`);
      }
      targets.set(resource.dest, file);
      resources.push(resource);
    } catch (error) {
      errors.push(error instanceof ResourceError ? error : new ResourceError(file, messageOf(error)));
    }
  }
  return { resources, errors };
}

interface CachedTemplate {
  stamp: string;
  text: string;
  template: Template;
}

/** Compiled templates by path: read again when the file changed, compiled again when its text did. */
export class TemplateCache {
  readonly #cached = new Map<string, CachedTemplate>();

  /** Rejects when the file cannot be read or is no template. */
  async load(path: string): Promise<Template> {
    const { mtimeMs, size, ino } = await stat(path);
    const stamp = `${mtimeMs}:${size}:${ino}`;
    const cached = this.#cached.get(path);
    if (cached?.stamp === stamp) return cached.template;
    const text = await readFile(path, 'utf8');
    const template = cached?.text === text ? cached.template : new Template(path, text);
    this.#cached.set(path, { stamp, text, template });
    return template;
  }

  /** Forgets all templates but these. */
  retain(paths: ReadonlySet<string>): void {
    for (const path of this.#cached.keys()) if (!paths.has(path)) this.#cached.delete(path);
  }

  /** Reads a file again at the next load, whatever its times say. */
  touch(path: string): void {
    const cached = this.#cached.get(path);
    if (cached !== undefined) cached.stamp = '';
  }
}

export interface FolderEvents {
  /** Something below conf.d was added, changed or removed. */
  onResources(): void;
  /** A template was added, changed or removed. */
  onTemplate(path: string): void;
}

/** Watches both folders until closed. */
export async function watchFolders(confDir: string, events: FolderEvents, log: Logger): Promise<FSWatcher> {
  const templates = templateFolder(confDir);
  const watcher = watch([resourceFolder(confDir), templates], {
    ignoreInitial: true,
    awaitWriteFinish: { stabilityThreshold: SETTLE_MS, pollInterval: SETTLE_MS / 3 },
  });
  watcher.on('all', (_event, path) => {
    if (path === templates || path.startsWith(`${templates}/`)) events.onTemplate(path);
    else events.onResources();
  });
  watcher.on('error', (error) => log.warn({ error: messageOf(error) }, 'cannot watch the configuration folder'));
  await new Promise<void>((resolve) => watcher.once('ready', () => resolve()));
  return watcher;
}
