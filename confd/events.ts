/** What the renderer tells: the account that people and programs follow. Types only. */

/** Changed keys remembered for the account of a render. */
export const CHANGED_KEYS_MAX = 100;

export type FailureStage = 'render' | 'check' | 'write' | 'reload';

export interface RenderEvent {
  /** The resource's TOML file. */
  resource: string;
  dest: string;
  /** The store's revision the content shows. */
  revision: number;
  /** Keys whose changes led to it, at most CHANGED_KEYS_MAX; none at the start, or when a file changed. */
  keys: readonly string[];
  bytes: number;
  /** With noop: nothing was written. */
  noop: boolean;
}

export interface ReloadEvent {
  command: string;
  /** Targets it was run for. */
  dests: readonly string[];
  ok: boolean;
  outcome: string;
}

export interface FailureEvent {
  resource: string;
  dest: string;
  stage: FailureStage;
  message: string;
}

/** For whoever tells people what happens. Called synchronously; must not throw. */
export interface RendererHooks {
  onRender?(event: RenderEvent): void;
  onReload?(event: ReloadEvent): void;
  onFailure?(event: FailureEvent): void;
}
