/**
 * Health checks of services from files: one probe after another, counted against rise and fall. Owns the timer and the
 * connection of each probe; decides nothing about registration.
 */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:net';
import type { CheckDefinition } from './definition.ts';
import { serviceValue } from './service.ts';

/** What one probe does, and how its results count. */
export interface CheckPlan {
  readonly target:
    | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
    | { readonly kind: 'http'; readonly url: string; readonly skipVerify: boolean };
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly rise: number;
  readonly fall: number;
}

export const CHECK_DEFAULTS = { intervalMs: 500, timeoutMs: 1_000, rise: 1, fall: 2 } as const;

/** The plan a definition asks for, for a service at `ip`:`port`. */
export function checkPlan(check: CheckDefinition, ip: string, port: number): CheckPlan {
  return {
    target: checkTarget(check, ip, port),
    intervalMs: check.interval ?? CHECK_DEFAULTS.intervalMs,
    timeoutMs: check.timeout ?? CHECK_DEFAULTS.timeoutMs,
    rise: check.rise ?? CHECK_DEFAULTS.rise,
    fall: check.fall ?? CHECK_DEFAULTS.fall,
  };
}

function checkTarget(check: CheckDefinition, ip: string, port: number): CheckPlan['target'] {
  if (check.http !== undefined) {
    const url = check.http.startsWith('/') ? `http://${serviceValue({ ip, port })}${check.http}` : check.http;
    return { kind: 'http', url, skipVerify: check.tls_skip_verify ?? false };
  }
  if (typeof check.tcp !== 'string') return { kind: 'tcp', host: ip, port };
  const colon = check.tcp.lastIndexOf(':');
  const host = check.tcp.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  return { kind: 'tcp', host, port: Number(check.tcp.slice(colon + 1)) };
}

/** Rise and fall: a state that changes only after that many equal results in a row. Starts as down. */
export class Verdict {
  readonly #rise: number;
  readonly #fall: number;
  #streak = 0;
  up = false;

  constructor(rise: number, fall: number) {
    this.#rise = rise;
    this.#fall = fall;
  }

  /** Counts one result; true when the state changed by it. */
  count(passed: boolean): boolean {
    if (passed === this.up) {
      this.#streak = 0;
      return false;
    }
    this.#streak++;
    if (this.#streak < (passed ? this.#rise : this.#fall)) return false;
    this.#streak = 0;
    this.up = passed;
    return true;
  }
}

/** Resolves when a TCP connection to the place was made; rejects with the reason otherwise. */
export function probeTcp(host: string, port: number, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`no connection within ${timeoutMs} ms`)));
    socket.once('connect', () => {
      // Goodbye by FIN, and whatever the server greets with is read: a reset would be an error in many a server.
      socket.end();
      socket.resume();
      resolve();
    });
    socket.on('error', reject);
  });
}

/** Resolves on a status from 200 to 399 within the time; rejects with the reason otherwise. Follows no redirect. */
export function probeHttp(url: string, timeoutMs: number, skipVerify: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'user-agent': 'roster-check', connection: 'close' };
    const request = url.startsWith('https:')
      ? httpsRequest(url, { headers, rejectUnauthorized: !skipVerify, agent: false })
      : httpRequest(url, { headers, agent: false });
    const timer = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    request.on('error', reject);
    request.once('close', () => clearTimeout(timer));
    request.once('response', (response) => {
      const status = response.statusCode ?? 0;
      response.destroy();
      if (status >= 200 && status < 400) resolve();
      else reject(new Error(`status ${status}`));
    });
    request.end();
  });
}

/** Runs a plan until closed: one probe at a time, the first at once, `intervalMs` from start to start. */
export class RunningCheck {
  readonly #plan: CheckPlan;
  readonly #onChange: (up: boolean, reason: string) => void;
  readonly #verdict: Verdict;
  readonly #decided: Promise<void>;
  #decide: () => void = () => {};
  #probes = 0;
  #lastReason = '';
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** `onChange` is told every change of state; the first is `true`, because a check begins as down. */
  constructor(plan: CheckPlan, onChange: (up: boolean, reason: string) => void) {
    this.#plan = plan;
    this.#onChange = onChange;
    this.#verdict = new Verdict(plan.rise, plan.fall);
    this.#decided = new Promise((resolve) => {
      this.#decide = resolve;
    });
    void this.#probe();
  }

  /** Resolves when the service is up, or has had the probes it takes to be; also when the check is closed. */
  get decided(): Promise<void> {
    return this.#decided;
  }

  /** Why the last probe failed; empty when it passed. */
  get lastReason(): string {
    return this.#lastReason;
  }

  get up(): boolean {
    return this.#verdict.up;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#decide();
  }

  async #probe(): Promise<void> {
    const { target, timeoutMs, intervalMs } = this.#plan;
    const startedMs = performance.now();
    let reason = '';
    try {
      if (target.kind === 'tcp') await probeTcp(target.host, target.port, timeoutMs);
      else await probeHttp(target.url, timeoutMs, target.skipVerify);
    } catch (error) {
      reason = error instanceof Error ? error.message || error.name : String(error);
    }
    if (this.#closed) return;
    this.#lastReason = reason;
    if (this.#verdict.count(reason === '')) this.#onChange(this.#verdict.up, reason);
    if (++this.#probes >= this.#plan.rise) this.#decide();
    const waitMs = Math.max(0, intervalMs - (performance.now() - startedMs));
    this.#timer = setTimeout(() => void this.#probe(), waitMs);
  }
}
