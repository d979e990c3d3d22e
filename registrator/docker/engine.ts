/**
 * The part of the Docker Engine API the registrator needs, over a unix socket or TCP: ping with version negotiation,
 * list, inspect, events. Owns connections and their time limits; keeps no state about containers. Podman's compatible
 * socket answers the same calls.
 */
import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';

/** The newest API version whose answers this file has been written for; an older engine is met at its own. */
const API_NEWEST = '1.51';
const API_OLDEST = '1.24';
/** Limit of one call other than the event stream. */
const CALL_TIMEOUT_MS = 10_000;
/** Largest body of an answer, and largest line of the event stream. */
export const BODY_BYTES_MAX = 16 * 1024 * 1024;
export const EVENT_CHARS_MAX = 1024 * 1024;
/** Inspections under way at one time. */
export const INSPECTIONS_MAX = 16;

export type EngineAddress = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/** The engine did not do what was asked: not there, an error status, or an answer that is none. */
export class EngineError extends Error {
  override name = 'EngineError';
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;

  constructor(message: string, status = 0) {
    super(message);
    this.status = status;
  }
}

/** What of `GET /containers/json` is used. */
export interface ContainerSummary {
  Id: string;
  Names?: string[];
  State?: string;
  Status?: string;
  Ports?: { IP?: string; PrivatePort: number; PublicPort?: number; Type: string }[];
  NetworkSettings?: { Networks?: Record<string, { IPAddress?: string; GlobalIPv6Address?: string }> };
}

export interface PortBinding {
  HostIp?: string;
  HostPort?: string;
}

/** What of `GET /containers/{id}/json` is used. */
export interface ContainerInspect {
  Id: string;
  Name: string;
  State: {
    Running?: boolean;
    Paused?: boolean;
    Restarting?: boolean;
    ExitCode?: number;
    StartedAt?: string;
    Health?: { Status?: string } | null;
  };
  Config: {
    Image?: string;
    Env?: string[] | null;
    Labels?: Record<string, string> | null;
    ExposedPorts?: Record<string, unknown> | null;
    StopSignal?: string;
  };
  HostConfig?: { NetworkMode?: string } | null;
  NetworkSettings?: {
    IPAddress?: string;
    GlobalIPv6Address?: string;
    Ports?: Record<string, PortBinding[] | null> | null;
    Networks?: Record<string, { IPAddress?: string; GlobalIPv6Address?: string } | null> | null;
  } | null;
}

export interface EngineEvent {
  Type?: string;
  Action?: string;
  Actor?: { ID?: string; Attributes?: Record<string, string> };
  timeNano?: number;
}

/** An open event stream. */
export interface EventStream {
  /** Resolves when the stream has ended, whoever ended it, with the reason. */
  readonly ended: Promise<string>;
  close(): void;
}

/**
 * The address in a DOCKER_HOST text: `unix:///path`, `/path`, `tcp://host:port`, `http://host:port`.
 * @throws EngineError naming what is wrong
 */
export function engineAddress(text: string): EngineAddress {
  if (text.startsWith('/')) return { socketPath: text };
  if (text.startsWith('unix://')) return { socketPath: text.slice('unix://'.length) };
  const match = /^(?:tcp|http):\/\/(\[[^\]]+\]|[^:/]+)(?::(\d+))?\/?$/.exec(text);
  if (match === null) throw new EngineError(`not a Docker address: "${text}" (use unix:///path or tcp://host:port)`);
  return { host: match[1]!.replace(/^\[(.*)\]$/, '$1'), port: Number(match[2] ?? 2375) };
}

/** The highest version both sides know. */
export function negotiate(offered: string | undefined): string {
  if (offered === undefined || !/^\d+\.\d+$/.test(offered)) return API_OLDEST;
  return minor(offered) < minor(API_NEWEST) ? offered : API_NEWEST;
}

function minor(version: string): number {
  const [major, rest] = version.split('.');
  return Number(major) * 1_000 + Number(rest);
}

export class DockerEngine {
  readonly #address: EngineAddress;
  readonly #callTimeoutMs: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: INSPECTIONS_MAX });
  #version = API_OLDEST;

  constructor(address: EngineAddress, callTimeoutMs = CALL_TIMEOUT_MS) {
    this.#address = address;
    this.#callTimeoutMs = callTimeoutMs;
  }

  /** Agrees on the API version; resolves with the engine's clock in whole seconds, if it tells. */
  async ping(signal: AbortSignal): Promise<number | undefined> {
    const { response } = await this.#call('/_ping', signal, false);
    this.#version = negotiate(response.headers['api-version']?.toString());
    const seconds = Math.floor(Date.parse(response.headers.date ?? '') / 1000);
    return Number.isNaN(seconds) ? undefined : seconds;
  }

  /** Containers that run or are paused. */
  async list(signal: AbortSignal): Promise<ContainerSummary[]> {
    const { body } = await this.#call(`/v${this.#version}/containers/json`, signal, false);
    const list = parseJson(body);
    if (!Array.isArray(list)) throw new EngineError('the list of containers is not a list');
    return list as ContainerSummary[];
  }

  /** One container, or undefined when the engine does not know it. */
  async inspect(id: string, signal: AbortSignal): Promise<ContainerInspect | undefined> {
    const path = `/v${this.#version}/containers/${encodeURIComponent(id)}/json`;
    try {
      const { body } = await this.#call(path, signal, true);
      const container = parseJson(body) as Partial<ContainerInspect> | null;
      if (
        typeof container?.Id !== 'string' ||
        typeof container.Name !== 'string' ||
        !container.State ||
        !container.Config
      ) {
        throw new EngineError('the description of the container is incomplete');
      }
      return container as ContainerInspect;
    } catch (error) {
      if (error instanceof EngineError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Subscribes; resolves when the engine has begun to answer. Events since `sinceSeconds` are replayed. */
  async events(
    filters: Readonly<Record<string, readonly string[]>>,
    sinceSeconds: number | undefined,
    onEvent: (event: EngineEvent) => void,
    signal: AbortSignal,
  ): Promise<EventStream> {
    const query = new URLSearchParams({ filters: JSON.stringify(filters) });
    if (sinceSeconds !== undefined) query.set('since', String(sinceSeconds));
    const { call, response } = await this.#open(`/v${this.#version}/events?${query}`, signal, false);
    if (response.statusCode !== 200) {
      const body = await readBody(response);
      throw new EngineError(`events: ${response.statusCode} ${body.slice(0, 200).trim()}`, response.statusCode);
    }
    const ended = readLines(response, (line) => {
      const event = tryParseJson(line);
      if (event === undefined) call.destroy(new EngineError('an event that is not JSON'));
      else onEvent(event as EngineEvent);
    });
    return { ended: ended.finally(() => call.destroy()), close: () => call.destroy() };
  }

  close(): void {
    this.#agent.destroy();
  }

  async #call(
    path: string,
    signal: AbortSignal,
    pooled: boolean,
  ): Promise<{ response: IncomingMessage; body: string }> {
    const { call, response } = await this.#open(path, signal, pooled);
    const timer = setTimeout(() => call.destroy(new EngineError(`${path}: no answer in time`)), this.#callTimeoutMs);
    try {
      const body = await readBody(response);
      if (response.statusCode !== 200) {
        throw new EngineError(`${path}: ${response.statusCode} ${body.slice(0, 200).trim()}`, response.statusCode);
      }
      return { response, body };
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a GET and resolves with the head of the answer. */
  #open(
    path: string,
    signal: AbortSignal,
    pooled: boolean,
  ): Promise<{ call: ClientRequest; response: IncomingMessage }> {
    return new Promise((resolve, reject) => {
      const options: RequestOptions = {
        ...this.#address,
        path,
        signal,
        agent: pooled ? this.#agent : false,
        headers: { host: 'docker' },
      };
      const call = request(options);
      const timer = setTimeout(() => call.destroy(new EngineError(`${path}: no answer in time`)), this.#callTimeoutMs);
      call.on('error', (error) => {
        clearTimeout(timer);
        reject(error instanceof EngineError ? error : new EngineError(`${path}: ${error.message}`));
      });
      call.once('response', (response) => {
        clearTimeout(timer);
        resolve({ call, response });
      });
      call.end();
    });
  }
}

function tryParseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function parseJson(text: string): unknown {
  const value = tryParseJson(text);
  if (value === undefined) throw new EngineError(`not JSON: ${text.slice(0, 80)}`);
  return value;
}

async function readBody(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > BODY_BYTES_MAX) throw new EngineError(`an answer of more than ${BODY_BYTES_MAX} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof EngineError ? error : new EngineError(`answer cut off: ${(error as Error).message}`);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Feeds whole lines to `onLine` until the stream ends; resolves with the reason it ended. */
function readLines(response: IncomingMessage, onLine: (line: string) => void): Promise<string> {
  return new Promise((resolve) => {
    let rest = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      if (lines.some((line) => line.length > EVENT_CHARS_MAX)) {
        response.destroy(new Error(`an event of more than ${EVENT_CHARS_MAX} characters`));
        return;
      }
      rest = lines.pop()!;
      for (const line of lines) if (line.trim() !== '') onLine(line);
    });
    response.on('error', (error) => resolve(error.message));
    response.on('close', () => resolve('the engine closed the event stream'));
  });
}
