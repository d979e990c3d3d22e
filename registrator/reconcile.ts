/**
 * Keeps the store equal to the desired state: one lease per agent, writes only on difference, everything again after
 * a lost lease, retries for ever. Owns the agent's knowledge of the store. Never touches a key that hangs on somebody
 * else's lease, except to claim a key it wants for the first time.
 */

import type { EtcdClient, KeptLease } from '../client/api.ts';
import { Backoff, sleep } from '../client/wait.ts';
import { RosterError } from '../core/errors.ts';
import { byteStringToUtf8 } from '../core/util/bytes.ts';
import type { KeyValue } from '../core/wire/messages.ts';
import { type Log, reasonOf } from './log.ts';
import { batches, OwnLeases, planWrites, readTxn, type StoredPair, type Write, writeTxn } from './plan.ts';
import { isIdOfHost, type Service, type ServiceChange, serviceValue } from './service.ts';

export interface ReconcilerOptions {
  /** Normal form: leading slash, none at the end. */
  prefix: string;
  hostname: string;
  ttlSeconds: number;
  /** How long changes are gathered before they are written together. */
  coalesceMs: number;
  /** How often the keys are compared with the store when nothing changes. Reads only, unless something differs. */
  verifyMs: number;
  /** Limit of one call to the store, and of the farewell. */
  callTimeoutMs: number;
  /** Also remove what stock registrator left under our host name without a TTL. */
  sweepUnleased: boolean;
}

export interface ReconcilerParts {
  client: EtcdClient;
  log: Log;
  /** Key -> service, asked anew before every comparison. */
  desired: () => ReadonlyMap<string, Service>;
  onChange?: ((change: ServiceChange) => void) | undefined;
}

interface Leftover {
  readonly lease: bigint;
  readonly modRevision: number;
}

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #parts: ReconcilerParts;
  readonly #stopping = new AbortController();
  readonly #stored = new Map<string, StoredPair>();
  readonly #announced = new Map<string, { service: Service; value: string }>();
  readonly #ownLeases = new OwnLeases();
  /** Keys with our host name found at the start; `undefined` before the first read and after the sweep. */
  #found: Map<string, Leftover> | undefined;
  #lease: KeptLease | undefined;
  #listDue = true;
  /** When to list once more, because a write whose fate is unknown must have arrived by then; 0: never. */
  #relistAtMs = 0;
  #verifyDue = false;
  #sourcesReady = false;
  #swept = false;
  #dirty = true;
  #wake: (() => void) | undefined;
  #waiting: (() => void)[] = [];
  #finished: Promise<void> | undefined;

  constructor(options: ReconcilerOptions, parts: ReconcilerParts) {
    this.#options = options;
    this.#parts = parts;
  }

  start(): void {
    this.#finished ??= this.#run();
  }

  /** The desired state may have changed. */
  trigger(): void {
    this.#dirty = true;
    this.#wake?.();
  }

  /** Every source has reported once: what a previous run left and nobody wants may go now. */
  sourcesReady(): void {
    this.#sourcesReady = true;
    this.trigger();
  }

  /** Resolves once the store holds what was desired at the time of the call; never, if the reconciler is closed first. */
  written(): Promise<void> {
    const written = new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.trigger();
    return written;
  }

  /** The same with a limit: false when `timeoutMs` came first. */
  async flush(timeoutMs: number): Promise<boolean> {
    const limit = new AbortController();
    const done = this.written().then(() => true);
    const result = await Promise.race([done, sleep(timeoutMs, limit.signal).then(() => false)]);
    limit.abort();
    return result;
  }

  /** Stops, and takes every key of this agent off the roster at once by revoking its lease. Never rejects. */
  async close(): Promise<void> {
    this.#stopping.abort();
    this.#wake?.();
    await this.#finished;
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease === undefined) return;
    try {
      await lease.revoke({ timeoutMs: this.#options.callTimeoutMs });
      this.#stored.clear();
      this.#announce(new Map());
    } catch (error) {
      if (!(error instanceof RosterError)) throw error;
      this.#parts.log.warn(
        { reason: reasonOf(error), ttlSeconds: lease.ttlSeconds },
        'could not deregister; the keys vanish when their lease runs out',
      );
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const backoff = new Backoff();
    let trouble = '';
    for (;;) {
      await this.#nextWake();
      if (signal.aborted) return;
      const waiting = this.#waiting.splice(0);
      try {
        await this.#pass();
        backoff.reset();
        if (trouble !== '') this.#parts.log.info({}, 'the store takes registrations again');
        trouble = '';
        for (const resolve of waiting) resolve();
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof RosterError)) throw error;
        this.#waiting.unshift(...waiting);
        this.#dirty = true;
        const waitMs = Math.round(backoff.next());
        const reason = reasonOf(error);
        const level = reason === trouble ? 'debug' : 'warn';
        trouble = reason;
        this.#parts.log[level]({ reason, waitMs }, 'the store did not take the registrations; trying until it does');
        await sleep(waitMs, signal);
      }
    }
  }

  /** Waits for a change, and then for its companions; or for the time of the next comparison. */
  async #nextWake(): Promise<void> {
    const { signal } = this.#stopping;
    if (!this.#dirty && !signal.aborted) {
      const idle = new AbortController();
      this.#wake = () => idle.abort();
      await sleep(this.#options.verifyMs, idle.signal);
      this.#wake = undefined;
      if (!this.#dirty) this.#verifyDue = true;
    }
    if (this.#dirty) await sleep(this.#options.coalesceMs, signal);
    this.#dirty = false;
  }

  async #pass(): Promise<void> {
    const lease = await this.#currentLease();
    const services = this.#parts.desired();
    const desired = new Map([...services].map(([key, service]) => [key, serviceValue(service)]));
    const relist = this.#relistAtMs !== 0 && Date.now() >= this.#relistAtMs;
    if (this.#listDue || relist) {
      await this.#readPrefix(desired);
      this.#listDue = false;
      if (relist) this.#relistAtMs = 0;
    } else if (this.#verifyDue) await this.#readKeys(desired);
    this.#verifyDue = false;
    const writes = planWrites(desired, this.#stored, lease.id, this.#ownLeases);
    for (const key of this.#stored.keys()) {
      if (!desired.has(key) && !this.#ownLeases.has(this.#stored.get(key)!.lease)) this.#stored.delete(key);
    }
    try {
      for (const batch of batches(writes)) await this.#write(batch, lease);
      if (this.#sourcesReady && !this.#swept) await this.#sweep(desired, lease);
    } finally {
      this.#announce(services);
    }
  }

  async #currentLease(): Promise<KeptLease> {
    if (this.#lease !== undefined && !this.#lease.lost.aborted) return this.#lease;
    const { signal } = this.#stopping;
    const again = this.#lease !== undefined;
    this.#dropLease();
    const lease = await this.#parts.client.keepLease(this.#options.ttlSeconds, {
      signal,
      timeoutMs: this.#options.callTimeoutMs,
    });
    this.#lease = lease;
    this.#ownLeases.add(lease.id);
    lease.lost.addEventListener('abort', () => this.trigger(), { once: true });
    const fields = { lease: lease.id.toString(16), ttlSeconds: lease.ttlSeconds };
    if (again) this.#parts.log.warn(fields, 'the lease was lost: new lease, everything is registered again');
    else this.#parts.log.info(fields, 'lease granted');
    return lease;
  }

  #dropLease(): void {
    this.#lease?.close();
    this.#lease = undefined;
  }

  /** Lists the whole prefix: at the start, and after writes whose fate is unknown. */
  async #readPrefix(desired: ReadonlyMap<string, string>): Promise<void> {
    const { prefix, hostname, callTimeoutMs } = this.#options;
    const { kvs } = await this.#parts.client.getPrefix(`${prefix}/`, {
      signal: this.#stopping.signal,
      timeoutMs: callTimeoutMs,
    });
    const first = this.#found === undefined && !this.#swept;
    if (first) this.#found = new Map();
    const seen = new Set<string>();
    for (const kv of kvs) {
      const key = byteStringToUtf8(kv.key);
      if (first && isIdOfHost(key.slice(key.lastIndexOf('/') + 1), hostname)) {
        this.#found!.set(key, { lease: kv.lease, modRevision: kv.mod_revision });
      }
      if (!desired.has(key) && !this.#ownLeases.has(kv.lease)) continue;
      seen.add(key);
      this.#observe(key, kv);
    }
    for (const key of this.#stored.keys()) if (!seen.has(key)) this.#stored.delete(key);
  }

  /** Reads exactly the keys this agent has to do with. */
  async #readKeys(desired: ReadonlyMap<string, string>): Promise<void> {
    const keys = [...new Set([...desired.keys(), ...this.#stored.keys()])];
    for (const batch of batches(keys)) {
      const response = await this.#parts.client.txn(readTxn(batch), {
        signal: this.#stopping.signal,
        timeoutMs: this.#options.callTimeoutMs,
      });
      for (const [i, key] of batch.entries()) {
        this.#observe(key, response.responses[i]?.response_range?.kvs[0]);
      }
    }
  }

  /** Takes over what the store says of one key, and sees whether somebody else has claimed a key of ours. */
  #observe(key: string, kv: KeyValue | undefined): void {
    const before = this.#stored.get(key);
    if (kv === undefined) {
      if (before !== undefined && !before.yielded) this.#parts.log.warn({ key }, 'somebody removed a key of ours');
      this.#stored.delete(key);
      return;
    }
    const foreign = kv.lease !== 0n && !this.#ownLeases.has(kv.lease);
    const wasOurs = before !== undefined && (before.yielded || this.#ownLeases.has(before.lease));
    const yielded = foreign && wasOurs;
    if (yielded && !before.yielded) {
      this.#parts.log.warn(
        { key, lease: kv.lease.toString(16) },
        'another agent has registered under the same name and id; leaving the key to it',
      );
    }
    this.#stored.set(key, { value: Buffer.from(kv.value).toString('utf8'), lease: kv.lease, yielded });
  }

  async #write(batch: readonly Write[], lease: KeptLease): Promise<void> {
    try {
      await this.#parts.client.txn(writeTxn(batch, lease.id), {
        signal: this.#stopping.signal,
        timeoutMs: this.#options.callTimeoutMs,
      });
    } catch (error) {
      if (error instanceof RosterError && error.code === 'LeaseNotFound') {
        // Refused as a whole: nothing was written, and nothing of ours is left in the store.
        this.#dropLease();
        this.#parts.log.warn({ lease: lease.id.toString(16) }, 'the store does not know our lease any more');
      } else {
        for (const write of batch) {
          if (write.kind === 'put') this.#stored.set(write.key, { value: undefined, lease: lease.id, yielded: false });
        }
        this.#listDue = true;
        this.#relistAtMs = Date.now() + 2 * this.#options.callTimeoutMs;
      }
      throw error;
    }
    for (const write of batch) {
      if (write.kind === 'put') {
        this.#stored.set(write.key, { value: write.value, lease: lease.id, yielded: false });
      } else this.#stored.delete(write.key);
    }
  }

  /**
   * Removes what a previous run of this agent left and nobody wants any more. Its keys are those on a lease that also
   * holds a key we want: another agent on this host (`exec`, say) has a lease of its own and is never touched; what
   * cannot be told apart runs out with its lease.
   */
  async #sweep(desired: ReadonlyMap<string, string>, lease: KeptLease): Promise<void> {
    const found = this.#found ?? new Map<string, Leftover>();
    const predecessors = new Set<bigint>();
    for (const [key, { lease: holder }] of found) if (desired.has(key) && holder !== 0n) predecessors.add(holder);
    const writes: Write[] = [];
    for (const [key, leftover] of found) {
      if (desired.has(key) || this.#stored.has(key)) continue;
      const ours = leftover.lease === 0n ? this.#options.sweepUnleased : predecessors.has(leftover.lease);
      if (ours) writes.push({ kind: 'sweep', key, modRevision: leftover.modRevision });
    }
    for (const batch of batches(writes)) await this.#write(batch, lease);
    if (writes.length > 0) {
      this.#parts.log.info({ keys: writes.map((write) => write.key) }, 'removed what a previous run left behind');
    }
    this.#found = undefined;
    this.#swept = true;
  }

  /** Tells what the store is known to hold now and was not, and the other way round. */
  #announce(services: ReadonlyMap<string, Service>): void {
    for (const [key, { service, value }] of this.#announced) {
      if (services.has(key) || this.#stored.has(key)) continue;
      this.#announced.delete(key);
      this.#report({ kind: 'down', service, key, value });
    }
    for (const [key, service] of services) {
      const value = serviceValue(service);
      const pair = this.#stored.get(key);
      const before = this.#announced.get(key)?.value;
      if (pair === undefined || pair.yielded || pair.value !== value || before === value) continue;
      this.#announced.set(key, { service, value });
      if (before === undefined) this.#report({ kind: 'up', service, key, value });
      else this.#report({ kind: 'moved', service, key, value, previous: before });
    }
  }

  #report(change: ServiceChange): void {
    const { kind, service, value } = change;
    const text = { up: 'service up', moved: 'service moved', down: 'service down' }[kind];
    this.#parts.log.info({ name: service.name, id: service.id, value, origin: service.origin }, text);
    this.#parts.onChange?.(change);
  }
}
