/**
 * Resources that share a reload command (a resource without one is alone). Owns when they run: debounce, one pass at
 * a time, all dirty members rendered at one revision, one reload per pass, retries until everything is acknowledged.
 * Groups never wait for each other.
 */
import { type Command, commandText, runCommand } from './command.ts';
import type { DependencyIndex } from './dependency-index.ts';
import { pause } from './duration.ts';
import type { Mirror } from './mirror.ts';
import type { RenderUnit, UnitSettings } from './render-unit.ts';
import type { Slots } from './slots.ts';
import type { Template } from './template.ts';

export interface Timing {
  /** A pass begins when no change has come for `waitMinMs`, and at the latest `waitMaxMs` after the first. */
  waitMinMs: number;
  waitMaxMs: number;
  /** Before what failed is tried again: doubles between these, with jitter. */
  retryMinMs: number;
  retryMaxMs: number;
  /** How long a pass waits for a slow check before it reloads for the members that are done. */
  patienceMs: number;
}

export const DEFAULT_TIMING: Timing = {
  waitMinMs: 20,
  waitMaxMs: 200,
  retryMinMs: 1_000,
  retryMaxMs: 30_000,
  patienceMs: 1_000,
};

export interface GroupSettings extends UnitSettings {
  mirror: Mirror;
  index: DependencyIndex<RenderUnit>;
  timing: Timing;
  /** Bounds on files being brought up to date, and on reloads, over all groups. */
  applySlots: Slots;
  reloadSlots: Slots;
}

export class ReloadGroup {
  readonly #settings: GroupSettings;
  readonly #command: Command | undefined;
  readonly #members = new Set<RenderUnit>();
  readonly #dirty = new Set<RenderUnit>();
  readonly #applying = new Map<RenderUnit, Promise<void>>();
  /** Dirty members that were still being applied when a pass began: they get another one. */
  readonly #postponed = new Set<RenderUnit>();
  /** The pass waits for its members; once it reloads, whoever finishes late needs another pass. */
  #collecting = false;
  /** Members whose file is right and whose reload has not succeeded since, with what was written. */
  readonly #owed = new Map<RenderUnit, string | undefined>();
  readonly #closed = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #deadlineMs: number | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #failures = 0;
  #running: Promise<void> | undefined;
  #again = false;
  #reloadFailed = false;

  constructor(command: Command | undefined, settings: GroupSettings) {
    this.#command = command;
    this.#settings = settings;
  }

  get size(): number {
    return this.#members.size;
  }

  add(unit: RenderUnit): void {
    this.#members.add(unit);
  }

  /** Resolves when the member touches its files no more. A reload it is owed stays marked on disk. */
  async remove(unit: RenderUnit): Promise<void> {
    this.#members.delete(unit);
    this.#dirty.delete(unit);
    this.#postponed.delete(unit);
    this.#owed.delete(unit);
    this.#settings.index.delete(unit);
    unit.retire();
    await this.#applying.get(unit);
  }

  /** Something this member reads has changed: a pass follows when the changes pause. */
  changed(unit: RenderUnit): void {
    this.#dirty.add(unit);
    if (this.#closed.signal.aborted) return;
    const now = Date.now();
    const { waitMinMs, waitMaxMs } = this.#settings.timing;
    this.#deadlineMs ??= now + waitMaxMs;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#kick(), Math.max(0, Math.min(waitMinMs, this.#deadlineMs - now)));
  }

  /** Renders these members now (all of them without an argument), and compares them with the disk. */
  runNow(units: Iterable<RenderUnit> = this.#members): void {
    for (const unit of units) {
      unit.force();
      this.#dirty.add(unit);
    }
    this.#kick();
  }

  /** One pass over all members, to its very end and without retries; false when anything failed. */
  async once(): Promise<boolean> {
    for (const unit of this.#members) this.#dirty.add(unit);
    await this.#pass(Number.POSITIVE_INFINITY);
    return !this.#reloadFailed && [...this.#members].every((unit) => !unit.failed);
  }

  /** No new pass begins; checks are stopped, a reload under way or due is finished. */
  async close(): Promise<void> {
    this.#closed.abort();
    clearTimeout(this.#timer);
    clearTimeout(this.#retryTimer);
    for (const unit of this.#members) unit.retire();
    await this.#running;
    await Promise.all(this.#applying.values());
    for (const unit of this.#members) this.#settings.index.delete(unit);
  }

  #kick(): void {
    clearTimeout(this.#timer);
    this.#deadlineMs = undefined;
    if (this.#closed.signal.aborted) return;
    if (this.#running !== undefined) {
      this.#again = true;
      return;
    }
    this.#running = this.#loop();
  }

  async #loop(): Promise<void> {
    do {
      this.#again = false;
      await this.#pass(this.#settings.timing.patienceMs);
    } while (this.#again && !this.#closed.signal.aborted);
    // In the same turn as the last look at `again`: a kick is never lost in between.
    this.#running = undefined;
    this.#planRetry();
  }

  #planRetry(): void {
    clearTimeout(this.#retryTimer);
    if (this.#closed.signal.aborted) return;
    const failed = [...this.#members].filter((unit) => unit.failed);
    if (failed.length === 0 && !this.#reloadFailed) {
      this.#failures = 0;
      return;
    }
    const { retryMinMs, retryMaxMs } = this.#settings.timing;
    const backoffMs = Math.min(retryMinMs * 2 ** Math.min(this.#failures++, 30), retryMaxMs);
    this.#retryTimer = setTimeout(
      () => {
        for (const unit of failed) this.#dirty.add(unit);
        this.#kick();
      },
      backoffMs * (0.75 + Math.random() / 2),
    );
  }

  async #pass(patienceMs: number): Promise<void> {
    clearTimeout(this.#timer);
    this.#deadlineMs = undefined;
    this.#collecting = true;
    const units: RenderUnit[] = [];
    for (const unit of this.#dirty) {
      if (this.#applying.has(unit)) this.#postponed.add(unit);
      else units.push(unit);
    }
    this.#dirty.clear();
    const rendered = units.length === 0 ? [] : await this.#render(units);
    for (const unit of rendered) this.#start(unit);
    const all = Promise.all(this.#applying.values());
    if (patienceMs === Number.POSITIVE_INFINITY) await all;
    else if (this.#applying.size > 0) {
      const enough = new AbortController();
      await Promise.race([all, pause(patienceMs, enough.signal)]);
      enough.abort();
    }
    this.#collecting = false;
    await this.#reload();
  }

  /** Members whose render succeeded, all of them at one revision. */
  async #render(units: readonly RenderUnit[]): Promise<RenderUnit[]> {
    const templates = new Map<RenderUnit, Template>();
    await Promise.all(
      units.map(async (unit) => {
        try {
          templates.set(unit, await unit.template());
        } catch (error) {
          unit.fail('render', error);
        }
      }),
    );
    const ready = units.filter((unit) => templates.has(unit));
    const scopes = ready.flatMap((unit) => unit.resource.scopes);
    const { mirror, index } = this.#settings;
    const rendered: RenderUnit[] = [];
    try {
      await mirror.snapshot(scopes, this.#closed.signal, (tree, revision) => {
        for (const unit of ready) {
          if (!this.#members.has(unit)) continue;
          // What changes from here on is a new change.
          this.#dirty.delete(unit);
          index.set(unit, unit.render(templates.get(unit)!, tree, revision));
          rendered.push(unit);
        }
      });
    } catch (error) {
      if (this.#closed.signal.aborted) return [];
      for (const unit of ready) unit.fail('render', error);
    }
    return rendered;
  }

  #start(unit: RenderUnit): void {
    const work = this.#settings.applySlots
      .run(() => unit.apply())
      .then((result) => {
        if (result === 'reload' && this.#members.has(unit)) this.#owed.set(unit, unit.written);
      })
      .finally(() => {
        this.#applying.delete(unit);
        const postponed = this.#postponed.delete(unit);
        if (postponed) this.#dirty.add(unit);
        // A reload that came due after its pass had lost patience needs a pass of its own.
        if (postponed || (!this.#collecting && this.#owed.has(unit))) this.#kick();
        else if (this.#running === undefined) this.#planRetry();
      });
    this.#applying.set(unit, work);
  }

  async #reload(): Promise<void> {
    this.#reloadFailed = false;
    if (this.#owed.size === 0 || this.#command === undefined) return;
    const command = this.#command;
    const owed = [...this.#owed];
    const timeoutMs = Math.max(...owed.map(([unit]) => unit.resource.reloadTimeoutMs));
    // No signal: a reload is always let finish.
    const result = await this.#settings.reloadSlots.run(() => runCommand(command, timeoutMs));
    const text = commandText(command);
    this.#settings.hooks.onReload?.({
      command: text,
      dests: owed.map(([unit]) => unit.resource.dest),
      ok: result.ok,
      outcome: result.outcome,
    });
    if (!result.ok) {
      this.#reloadFailed = true;
      const said = result.output.trim();
      for (const [unit] of owed)
        unit.fail('reload', new Error(`${text}: ${result.outcome}${said === '' ? '' : `: ${said}`}`));
      return;
    }
    this.#settings.log.info({ command: text, files: owed.length }, 'reloaded');
    for (const [unit, written] of owed) {
      if (this.#applying.has(unit) || this.#owed.get(unit) !== written) continue;
      this.#owed.delete(unit);
      await unit.acknowledge(written);
    }
  }
}
