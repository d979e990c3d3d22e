/**
 * One container as the registrator follows it: a serial queue of inspections, so that the order of events never
 * matters, and the memory of a stop signal and of a crash. Owns no connection; tells its owner what to publish.
 */
import { Backoff, sleep } from '../../client/wait.ts';
import { type Log, reasonOf } from '../log.ts';
import type { Service } from '../service.ts';
import { type ContainerInspect, EngineError } from './engine.ts';
import { networkPeer, unfitReason } from './services.ts';

/** A container that ignores its stop signal is put back on the roster after this time. */
export const STOP_SIGNAL_HOLDS_MS = 120_000;
const SIGNALS: Record<string, number> = { HUP: 1, INT: 2, QUIT: 3, KILL: 9, USR1: 10, USR2: 12, TERM: 15, WINCH: 28 };

export interface ContainerParts {
  inspect: (id: string, signal: AbortSignal) => Promise<ContainerInspect | undefined>;
  /** What a container that may be found puts on the roster. */
  services: (container: ContainerInspect, peer: ContainerInspect | undefined) => Service[];
  publish: (services: readonly Service[]) => void;
  log: Log;
  signal: AbortSignal;
  /** How long a crashed container's services stay; 0: they go at once. */
  crashHoldsMs: number;
  /** How long a stop signal keeps a container off that does not end by it. */
  stopHoldsMs: number;
}

/** The number of a signal given as `15`, `SIGTERM` or `TERM` (`SIGRTMIN+3` and the like count as none). */
export function signalNumber(text: string): number {
  const number = Number(text);
  return Number.isInteger(number) ? number : (SIGNALS[text.toUpperCase().replace(/^SIG/, '')] ?? 0);
}

/** Nanoseconds since 1970 of an RFC 3339 time with up to nine decimals; 0 for none. */
export function nanoseconds(time: string | undefined): bigint {
  const match = /^(.*:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(time ?? '');
  if (match === null) return 0n;
  const seconds = Date.parse(match[1]! + match[3]!);
  if (Number.isNaN(seconds)) return 0n;
  return BigInt(seconds) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'));
}

/** Ended by itself with an error: neither status 0 nor a signal (bit 128). */
function crashed(container: ContainerInspect): boolean {
  const code = container.State.ExitCode ?? 0;
  return !container.State.Running && code !== 0 && (code & 128) === 0;
}

export class FollowedContainer {
  readonly id: string;
  readonly #parts: ContainerParts;
  #running: Promise<void> | undefined;
  #dirty = false;
  #stop: { signal: number; atNano: bigint; untilMs: number } | undefined;
  #published: readonly Service[] = [];
  #heldUntilMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #reason = '';
  /** Docker no longer knows the container: it can be forgotten. */
  gone = false;
  /** The container whose network this one shares. */
  peerId: string | undefined;

  constructor(id: string, parts: ContainerParts) {
    this.id = id;
    this.#parts = parts;
  }

  /** Forgets the time of the next look. */
  close(): void {
    clearTimeout(this.#timer);
  }

  /** A stop signal or a crash is remembered: the container may change without any event. */
  get unsettled(): boolean {
    return this.#stop !== undefined || this.#heldUntilMs !== 0;
  }

  /** A signal was sent to the container at `atNano` by the engine's clock. Which signals stop it is seen on inspection. */
  signalled(signal: number, atNano: bigint): void {
    if (this.#stop === undefined || atNano >= this.#stop.atNano) {
      this.#stop = { signal, atNano, untilMs: Date.now() + this.#parts.stopHoldsMs };
    }
  }

  /** Looks at the container; resolves when a look that began after this call has been published. */
  refresh(): Promise<void> {
    this.#dirty = true;
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run(): Promise<void> {
    const { signal, log } = this.#parts;
    const backoff = new Backoff();
    while (this.#dirty && !signal.aborted) {
      this.#dirty = false;
      try {
        const container = await this.#parts.inspect(this.id, signal);
        this.peerId = container === undefined ? undefined : networkPeer(container);
        const peer = this.peerId === undefined ? undefined : await this.#parts.inspect(this.peerId, signal);
        if (!signal.aborted) this.#look(container, peer);
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        if (signal.aborted) break;
        this.#dirty = true;
        const waitMs = Math.round(backoff.next());
        log.warn(
          { container: this.id.slice(0, 12), reason: reasonOf(error), waitMs },
          'inspection failed; trying again',
        );
        await sleep(waitMs, signal);
      }
    }
    // In the same step as the last test of the flag: a change in between would never be looked at.
    this.#running = undefined;
  }

  #look(container: ContainerInspect | undefined, peer: ContainerInspect | undefined): void {
    this.gone = container === undefined;
    const reason = container === undefined ? 'removed' : (unfitReason(container) ?? this.#stopReason(container));
    const name = container?.Name.replace(/^\//, '') ?? this.id.slice(0, 12);
    if (reason !== this.#reason) {
      this.#reason = reason ?? '';
      if (reason !== undefined) this.#parts.log.debug({ container: name, reason }, 'container is not to be found');
    }
    if (container !== undefined && reason === undefined) {
      this.#heldUntilMs = 0;
      this.#publish(this.#parts.services(container, peer));
    } else if (container !== undefined && this.#holdCrashed(container)) {
      this.#lookAgainIn(this.#heldUntilMs - Date.now());
    } else {
      this.#heldUntilMs = 0;
      this.#publish([]);
    }
  }

  /** A stop signal holds for the run it was sent to, and not for ever. */
  #stopReason(container: ContainerInspect): string | undefined {
    const stop = this.#stop;
    if (stop === undefined) return undefined;
    const stops = [9, 15, signalNumber(container.Config.StopSignal ?? 'SIGTERM')].includes(stop.signal);
    const restarted = nanoseconds(container.State.StartedAt) > stop.atNano;
    const restMs = stop.untilMs - Date.now();
    if (!stops || restarted || restMs <= 0) {
      this.#stop = undefined;
      return undefined;
    }
    this.#lookAgainIn(restMs);
    return 'it was sent its stop signal';
  }

  /** With `--deregister on-success`: a crashed container stays on the roster for one TTL, so that checks can show it. */
  #holdCrashed(container: ContainerInspect): boolean {
    const { crashHoldsMs } = this.#parts;
    if (crashHoldsMs === 0 || this.#published.length === 0 || this.#stop !== undefined || !crashed(container))
      return false;
    if (this.#heldUntilMs === 0) this.#heldUntilMs = Date.now() + crashHoldsMs;
    return Date.now() < this.#heldUntilMs;
  }

  #lookAgainIn(ms: number): void {
    clearTimeout(this.#timer);
    if (!this.#parts.signal.aborted) this.#timer = setTimeout(() => void this.refresh(), Math.max(ms, 1));
  }

  #publish(services: readonly Service[]): void {
    this.#published = services;
    this.#parts.publish(services);
  }
}
