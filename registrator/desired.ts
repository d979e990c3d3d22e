/**
 * The desired state: what every source wants on the roster, group by group (one container, one file, one wrapped
 * command). Owns the choice between two services that claim one key. Writes nothing.
 */
import type { Log } from './log.ts';
import { type Service, serviceKey } from './service.ts';

/** What a source is given to say what it wants. */
export interface Sink {
  /** Replaces everything the group wants; an empty list removes the group. `group` is unique among all sources. */
  set(group: string, services: readonly Service[]): void;
  /** The source has reported everything it knew at its start; called once. */
  ready(): void;
}

/** Something that knows services: reports to the sink it was made with until closed. */
export interface Source {
  readonly name: string;
  start(sink: Sink): void;
  close(): Promise<void>;
}

export class DesiredState {
  readonly #prefix: string;
  readonly #log: Log;
  readonly #groups = new Map<string, readonly Service[]>();
  readonly #conflicts = new Set<string>();
  #onChange: () => void = () => {};

  constructor(prefix: string, log: Log) {
    this.#prefix = prefix;
    this.#log = log;
  }

  /** Called after every `set` that changed anything. */
  onChange(listener: () => void): void {
    this.#onChange = listener;
  }

  set(group: string, services: readonly Service[]): void {
    const before = this.#groups.get(group) ?? [];
    if (JSON.stringify(before) === JSON.stringify(services)) return;
    if (services.length === 0) this.#groups.delete(group);
    else this.#groups.set(group, services);
    this.#onChange();
  }

  /** Key -> service. Where two groups want one key, the group that reported first has it, and the other waits. */
  services(): Map<string, Service> {
    const wanted = new Map<string, Service>();
    const conflicts = new Set<string>();
    for (const services of this.#groups.values()) {
      for (const service of services) {
        const key = serviceKey(this.#prefix, service);
        const holder = wanted.get(key);
        if (holder === undefined) wanted.set(key, service);
        else {
          conflicts.add(key);
          if (!this.#conflicts.has(key)) {
            this.#log.warn(
              { key, holder: holder.origin, refused: service.origin },
              'two services have the same name and id; the first keeps it',
            );
          }
        }
      }
    }
    this.#conflicts.clear();
    for (const key of conflicts) this.#conflicts.add(key);
    return wanted;
  }
}
