/**
 * etcd's v3 discovery: founders of a cluster that do not know each other yet register with another store, under
 * `/_etcd/registry/<token>`, until there are as many as that says. Owns the keys, who comes too late, and the waiting.
 */

import { methods } from '../../client/methods.ts';
import { Backoff } from '../../client/wait.ts';
import { GrpcStatus, otherError, RosterError } from '../../core/errors.ts';
import { byteStringToUtf8, prefixEnd, utf8ToByteString } from '../../core/util/bytes.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { parseInitialCluster } from '../config/initial-cluster.ts';
import type { Logger } from '../config/log.ts';
import { pause } from '../pause.ts';
import type { Upstream, UpstreamCall } from '../upstream/upstream.ts';

/** Between two looks at who has registered. */
export const REGISTRY_LOOK_MS = 1000;

export interface RegistryOptions {
  readonly upstream: Pick<Upstream, 'call'>;
  /** See --discovery-token. */
  readonly token: string;
  /** '' for none. */
  readonly user: string;
  readonly password: string;
  readonly requestTimeoutMs: number;
  readonly log: Logger;
  readonly lookMs?: number;
}

/** One founder. */
export interface Founder {
  readonly id: bigint;
  /** `name=url,name=url`, as for --initial-cluster. */
  readonly urls: string;
}

interface State {
  readonly size: number;
  /** In the order in which they registered. */
  readonly founders: readonly { readonly key: string; readonly urls: string }[];
}

const TOKEN_GONE: ReadonlySet<string> = new Set(['InvalidAuthToken', 'AuthOldRevision']);

export class Registry {
  readonly #options: RegistryOptions;
  readonly #prefix: string;
  #authToken: string | undefined;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#prefix = `/_etcd/registry/${options.token}`;
  }

  /**
   * Registers a founder and resolves with all of them, as for --initial-cluster, once they are complete. Goes on for as long
   * as the service is out of reach. RosterError when the cluster is full, the token stands for none, `signal` fires, or what
   * is registered cannot be a cluster.
   */
  async join(founder: Founder, signal: AbortSignal): Promise<string> {
    const key = `${this.#prefix}/members/${founder.id.toString(16)}`;
    await this.#lasting(signal, () => this.#look(key, signal));
    await this.#lasting(signal, () => this.#register(key, founder.urls, signal));
    let told = -1;
    for (;;) {
      // Whoever was faster may have taken the last place meanwhile.
      const { size, founders } = await this.#lasting(signal, () => this.#look(key, signal));
      if (founders.length >= size) return clusterOf(founders.slice(0, size));
      if (founders.length !== told) {
        told = founders.length;
        this.#options.log.info({ registered: told, size }, 'waiting for the other founders at the discovery service');
      }
      await pause(this.#options.lookMs ?? REGISTRY_LOOK_MS, signal);
    }
  }

  /** Throws when `key` has no place among the founders, registered or not. */
  async #look(key: string, signal: AbortSignal): Promise<State> {
    const size = sizeOf((await this.#range(`${this.#prefix}/_config/size`, '', signal)).kvs[0], this.#options.token);
    const prefix = `${this.#prefix}/members/`;
    const { kvs } = await this.#range(prefix, prefixEnd(utf8ToByteString(prefix)), signal);
    const founders = kvs
      .sort((a, b) => a.create_revision - b.create_revision)
      .map((kv) => ({ key: byteStringToUtf8(kv.key), urls: Buffer.from(kv.value).toString().trim() }));
    const place = founders.findIndex((one) => one.key === key);
    if (place >= size || (place === -1 && founders.length >= size)) {
      throw refusal(`discovery: cluster is full: ${size} members have registered with the token before this one`);
    }
    return { size, founders };
  }

  async #register(key: string, urls: string, signal: AbortSignal): Promise<void> {
    const request = { ...defaults(m.PutRequest), key: utf8ToByteString(key), value: Buffer.from(urls) };
    // Doing it twice changes nothing: the place goes by the first time.
    await this.#call(signal, (call) => this.#options.upstream.call(methods.put, request, call));
  }

  #range(key: string, rangeEnd: string, signal: AbortSignal): Promise<m.RangeResponse> {
    const request = { ...defaults(m.RangeRequest), key: utf8ToByteString(key), range_end: rangeEnd };
    return this.#call(signal, (call) => this.#options.upstream.call(methods.range, request, call));
  }

  async #call<T>(signal: AbortSignal, run: (call: UpstreamCall) => Promise<T>): Promise<T> {
    const { user, requestTimeoutMs: timeoutMs } = this.#options;
    if (user === '') return run({ signal, timeoutMs });
    this.#authToken ??= await this.#logIn(signal);
    try {
      return await run({ signal, timeoutMs, metadata: { token: this.#authToken } });
    } catch (error) {
      if (error instanceof RosterError && TOKEN_GONE.has(error.code)) this.#authToken = undefined;
      throw error;
    }
  }

  async #logIn(signal: AbortSignal): Promise<string> {
    const { upstream, user: name, password, requestTimeoutMs: timeoutMs } = this.#options;
    const request = { ...defaults(m.AuthenticateRequest), name, password };
    return (await upstream.call(authenticate, request, { signal, timeoutMs })).token;
  }

  /** Again until there is an answer. */
  async #lasting<T>(signal: AbortSignal, run: () => Promise<T>): Promise<T> {
    const backoff = new Backoff();
    for (;;) {
      if (signal.aborted) throw otherError(GrpcStatus.CANCELLED, 'discovery: stopped before all founders were there');
      try {
        return await run();
      } catch (error) {
        if (signal.aborted || !(error instanceof RosterError)) continue;
        if (!isPassing(error)) throw error;
        this.#options.log.warn({ error }, 'the discovery service does not answer: trying again');
        await pause(backoff.next(), signal);
      }
    }
  }
}

const authenticate = {
  path: '/etcdserverpb.Auth/Authenticate',
  request: m.AuthenticateRequest,
  response: m.AuthenticateResponse,
  repeatable: true,
};

function isPassing({ status, code }: RosterError): boolean {
  return status === GrpcStatus.UNAVAILABLE || status === GrpcStatus.DEADLINE_EXCEEDED || TOKEN_GONE.has(code);
}

function sizeOf(kv: m.KeyValue | undefined, token: string): number {
  const key = `/_etcd/registry/${token}/_config/size`;
  if (kv === undefined) {
    throw refusal(`discovery: size key not found: put the number of founders into ${key} at the discovery service`);
  }
  const text = Buffer.from(kv.value).toString();
  const size = /^\+?\d{1,9}$/.test(text) ? Number(text) : 0;
  if (size <= 0)
    throw refusal(`discovery: size key is bad: ${key} is ${JSON.stringify(text)}, not a number of founders`);
  return size;
}

/** Founders who call themselves alike would pass for one. */
function clusterOf(founders: readonly { readonly urls: string }[]): string {
  const names = new Set<string>();
  for (const { urls } of founders) {
    let here: string[];
    try {
      here = [...parseInitialCluster(urls).keys()];
    } catch (error) {
      throw refusal(`discovery: invalid peer URL: a founder has registered ${urls}: ${(error as Error).message}`);
    }
    for (const name of here) {
      if (names.has(name)) throw refusal(`discovery: two founders are called ${name}: give each its own --name`);
      names.add(name);
    }
  }
  return founders.map(({ urls }) => urls).join(',');
}

function refusal(message: string): RosterError {
  return otherError(GrpcStatus.FAILED_PRECONDITION, message);
}
