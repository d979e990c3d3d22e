/**
 * One template resource at work: its state (desired, written and acknowledged hash) and the way from an output to the
 * target: compare, stage, check, swap. Reloading belongs to reload-group.ts; when to run belongs to renderer.ts.
 */
import { createHash } from 'node:crypto';
import { commandText, fillCommand, runCommand } from './command.ts';
import type { TemplateCache } from './conf-folder.ts';
import { unifiedDiff } from './diff.ts';
import { CHANGED_KEYS_MAX, type FailureStage, type RendererHooks } from './events.ts';
import type { KeyTree } from './key-tree.ts';
import { type Logger, messageOf } from './logger.ts';
import { Reader, type Reads } from './reader.ts';
import {
  clearPending,
  discardStage,
  inspectTarget,
  markPending,
  removeStaleStages,
  stageFile,
  swapTarget,
  type TargetState,
} from './target.ts';
import type { Template } from './template.ts';
import type { TemplateResource } from './template-resource.ts';

export interface UnitSettings {
  noop: boolean;
  syncOnly: boolean;
  keepStageFile: boolean;
  log: Logger;
  hooks: RendererHooks;
  /** Where noop prints its diff. */
  print(text: string): void;
}

export interface UnitStatus {
  resource: string;
  dest: string;
  state: 'waiting' | 'in sync' | 'reload pending' | 'failed';
  revision: number;
  error: { stage: FailureStage; message: string } | undefined;
}

/** `unchanged`: nothing to do. `reload`: the file is right, the reload is owed. `failed`: see status. */
export type ApplyResult = 'unchanged' | 'reload' | 'failed';

class CheckError extends Error {}

/** What a render made, on its way to the disk. */
interface Output {
  content: Buffer;
  hash: string;
  revision: number;
  keys: string[];
}

function hashOf(content: Buffer): string {
  return createHash('sha256').update(content).digest('base64');
}

export class RenderUnit {
  readonly resource: TemplateResource;
  readonly #settings: UnitSettings;
  readonly #templates: TemplateCache;
  readonly #changedKeys = new Set<string>();
  #desired: string | undefined;
  #written: string | undefined;
  #acknowledged: string | undefined;
  #output: Output | undefined;
  #error: { stage: FailureStage; message: string } | undefined;
  readonly #retired = new AbortController();
  #cleaned = false;
  /** Compare with the disk even when the output is the acknowledged one. */
  #force = true;
  #revision = 0;

  constructor(resource: TemplateResource, templates: TemplateCache, settings: UnitSettings) {
    this.resource = resource;
    this.#templates = templates;
    this.#settings = settings;
  }

  get failed(): boolean {
    return this.#error !== undefined;
  }

  get written(): string | undefined {
    return this.#written;
  }

  status(): UnitStatus {
    const { file, dest } = this.resource;
    let state: UnitStatus['state'] = this.#desired === undefined ? 'waiting' : 'in sync';
    if (this.#desired !== this.#acknowledged) state = this.#desired === this.#written ? 'reload pending' : 'waiting';
    if (this.#error !== undefined) state = 'failed';
    return { resource: file, dest, state, revision: this.#revision, error: this.#error };
  }

  /** The next apply looks at the disk, whatever it remembers. */
  force(): void {
    this.#force = true;
  }

  noteChange(key: string): void {
    if (this.#changedKeys.size < CHANGED_KEYS_MAX) this.#changedKeys.add(key);
  }

  template(): Promise<Template> {
    return this.#templates.load(this.resource.src);
  }

  /** Renders from the tree as it stands; what was read comes back even when the render fails. */
  render(template: Template, tree: KeyTree, revision: number): Reads {
    const reader = new Reader(tree, this.resource.prefix, this.resource.scopes);
    try {
      const content = Buffer.from(template.render(reader));
      const hash = hashOf(content);
      this.#desired = hash;
      this.#output = { content, hash, revision, keys: [...this.#changedKeys] };
      this.#changedKeys.clear();
    } catch (error) {
      this.#output = undefined;
      this.fail('render', error);
    }
    return reader.reads;
  }

  /** Brings the target to the last render's output, up to but not including the reload. Never rejects. */
  async apply(): Promise<ApplyResult> {
    const output = this.#output;
    if (output === undefined) return 'failed';
    this.#revision = output.revision;
    const force = this.#force;
    if (!force && output.hash === this.#acknowledged && output.hash === this.#written) {
      this.#error = undefined;
      return 'unchanged';
    }
    this.#force = false;
    try {
      return await this.#bring(output, this.#retired.signal);
    } catch (error) {
      this.#force ||= force;
      for (const key of output.keys) this.noteChange(key);
      this.fail(error instanceof CheckError ? 'check' : 'write', error);
      return 'failed';
    }
  }

  /** The reload that followed the content `written` has succeeded; that is what the service runs with now. */
  async acknowledge(written: string | undefined): Promise<void> {
    try {
      await clearPending(this.resource.dest);
    } catch (error) {
      this.#settings.log.warn({ dest: this.resource.dest, error: messageOf(error) }, 'cannot remove the reload marker');
    }
    this.#acknowledged = written;
    if (this.#error?.stage === 'reload') this.#error = undefined;
  }

  /** Stops a check under way, and every one to come: the resource was removed or redefined, or the renderer ends. */
  retire(): void {
    this.#retired.abort();
  }

  fail(stage: FailureStage, error: unknown): void {
    const message = messageOf(error);
    const { file, dest } = this.resource;
    const fields = { resource: file, dest, stage, error: message };
    // Retries repeat the same sentence: once is enough for people.
    if (this.#error?.stage === stage && this.#error.message === message)
      this.#settings.log.debug(fields, 'failed again');
    else this.#settings.log.error(fields, `${stage} failed`);
    this.#error = { stage, message };
    this.#settings.hooks.onFailure?.({ resource: file, dest, stage, message });
  }

  async #bring(output: Output, signal: AbortSignal): Promise<ApplyResult> {
    const { resource } = this;
    const { noop, syncOnly } = this.#settings;
    if (!this.#cleaned && !noop) {
      await removeStaleStages(resource.dest, Date.now());
      this.#cleaned = true;
    }
    const current = await inspectTarget(resource, output.content);
    const reloads = resource.reloadCommand !== undefined && !syncOnly && !noop;
    if (!current.inSync) {
      if (noop) {
        await this.#preview(output, current);
        return 'unchanged';
      }
      await this.#replace(output, current, reloads, signal);
    } else if (current.reloadPending && !reloads && !noop) await clearPending(resource.dest);
    this.#written = output.hash;
    // A reload that failed is known by its marker, also from before a restart.
    const owed = reloads && (!current.inSync || current.reloadPending);
    if (this.#error?.stage !== 'reload' || !owed) this.#error = undefined;
    if (!owed) this.#acknowledged = output.hash;
    if (!current.inSync) this.#tell(output, false);
    return owed ? 'reload' : 'unchanged';
  }

  async #replace(output: Output, current: TargetState, reloads: boolean, signal: AbortSignal): Promise<void> {
    const { resource } = this;
    const staged = await stageFile(resource, current, output.content);
    try {
      if (!this.#settings.syncOnly) await this.#check(staged, signal);
      signal.throwIfAborted();
      if (reloads) await markPending(resource.dest);
      this.#written = undefined;
      await swapTarget(staged, resource.dest, output.content);
    } catch (error) {
      if (this.#settings.keepStageFile) this.#settings.log.info({ staged }, 'keeping the staged file');
      else await discardStage(staged);
      throw error;
    }
  }

  async #check(staged: string, signal: AbortSignal): Promise<void> {
    const { checkCommand, checkTimeoutMs, dest } = this.resource;
    if (checkCommand === undefined) return;
    const command = fillCommand(checkCommand, { src: staged, dest });
    const result = await runCommand(command, checkTimeoutMs, signal);
    this.#settings.log.debug({ command: commandText(command), ...result }, 'check');
    if (!result.ok) {
      const said = result.output.trim();
      throw new CheckError(`${commandText(checkCommand)}: ${result.outcome}${said === '' ? '' : `: ${said}`}`);
    }
  }

  async #preview(output: Output, current: TargetState): Promise<void> {
    const { resource } = this;
    const before = current.content?.toString('utf8') ?? '';
    const from = current.content === undefined ? '/dev/null' : resource.dest;
    const diff = unifiedDiff(before, output.content.toString('utf8'), from, resource.dest);
    this.#settings.print(diff === '' ? `${resource.dest}: mode or owner would change\n` : diff);
    if (this.#settings.keepStageFile) {
      const staged = await stageFile(resource, current, output.content);
      this.#settings.log.info({ staged }, 'keeping the staged file');
    }
    this.#error = undefined;
    this.#acknowledged = output.hash;
    this.#tell(output, true);
  }

  #tell({ content, revision, keys }: Output, noop: boolean): void {
    const { file, dest } = this.resource;
    this.#settings.log.info(
      { resource: file, dest, revision, bytes: content.length, noop },
      noop ? 'would write' : 'written',
    );
    this.#settings.hooks.onRender?.({ resource: file, dest, revision, keys, bytes: content.length, noop });
  }
}
