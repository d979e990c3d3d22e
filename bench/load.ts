/**
 * Unary load. Closed loop: each logical client has one call under way, and sends the next when the answer is there. Open
 * loop: calls leave at a fixed rate whether or not others have been answered, so that a server that stands still is seen
 * in the latency of all that were due meanwhile. With several members the calls go round them, as etcd's Go client does.
 */
import { callHeaders, GrpcConnection } from './grpc-connection.ts';
import { Histogram } from './histogram.ts';

/** One RPC with requests of one sort. */
export interface CallKind {
  readonly path: string;
  /** The next request's bytes; `client` counts from 0. */
  readonly request: (client: number) => Uint8Array;
  /** A shorter reply is an error: the server has not done what was asked. Default 0. */
  readonly replyBytesMin?: number;
  /** How often, beside the others. Default 1. */
  readonly weight?: number;
}

export interface LoadOptions {
  /** Of the members that are called, each equally often. */
  readonly ports: readonly number[];
  /** Logical clients. */
  readonly clients: number;
  /** Connections they share, in all; at least one to each member. */
  readonly connections: number;
  /** With several, each call is one of them by chance. */
  readonly kinds: readonly [CallKind, ...CallKind[]];
}

export interface RunOptions {
  /** Open loop with so many calls a second; without it, closed loop. */
  readonly perSecond?: number;
  /** A run in which nothing is answered for so long ends with an error. Default: a minute. */
  readonly stallMs?: number;
  /** Whether this failure ends the run in order; all others end it with an error. */
  readonly endsAt?: (status: number, text: string) => boolean;
}

export interface LoadResult {
  perSecond: number;
  latencyMs: Histogram;
  /** Of one core, that this process used. */
  generatorCpuPart: number;
  /** See `endsAt`. */
  ended?: { readonly status: number; readonly text: string };
}

interface Lane {
  readonly connection: GrpcConnection;
  /** By kind. */
  readonly headers: readonly Buffer[];
}

/** Calls without an answer, in an open loop. Beyond, the server is given up: it does not keep up with the rate. */
const UNANSWERED_MAX = 50_000;
const TICK_MS = 1;
const STALL_MS = 60_000;
/** A timer is late by so much even when nothing else is to be done. What is later counts as latency. */
const TIMER_COARSENESS_MS = 2;

/** Runs the load for so long; a call that fails ends the run with an error. */
export async function runLoad(options: LoadOptions & { seconds: number } & RunOptions): Promise<LoadResult> {
  const load = await Load.open(options);
  try {
    return await load.run(options.seconds * 1000, options);
  } finally {
    load.close();
  }
}

/** Connections that are kept over several runs. */
export class Load {
  readonly #options: LoadOptions;
  /** By member. */
  readonly #lanes: readonly (readonly Lane[])[];
  /** Each kind's index, as often as its weight says. */
  readonly #lots: readonly number[];

  private constructor(options: LoadOptions, lanes: readonly (readonly Lane[])[]) {
    this.#options = options;
    this.#lanes = lanes;
    this.#lots = options.kinds.flatMap(({ weight = 1 }, kind) => new Array<number>(weight).fill(kind));
  }

  static async open(options: LoadOptions): Promise<Load> {
    const { ports, kinds } = options;
    const each = Math.ceil(Math.min(options.connections, options.clients) / ports.length);
    const lanes: Lane[][] = [];
    for (const port of ports) {
      const headers = kinds.map(({ path }) => callHeaders(path, `127.0.0.1:${port}`));
      const opening = Array.from({ length: each }, () => GrpcConnection.open(port));
      lanes.push((await Promise.all(opening)).map((connection) => ({ connection, headers })));
    }
    return new Load(options, lanes);
  }

  /**
   * `end`: milliseconds, or what is asked before each call whether to go on; what it throws ends the run. Calls under way
   * are waited for.
   */
  run(end: number | ((calls: number) => boolean), options: RunOptions = {}): Promise<LoadResult> {
    const latencyMs = new Histogram();
    const cpu = process.cpuUsage();
    const { stallMs = STALL_MS } = options;
    let watchdog: NodeJS.Timeout | undefined;
    const running = new Promise<LoadResult>((resolve, reject) => {
      const startMs = performance.now();
      let seen = 0;
      watchdog = setInterval(() => {
        if (latencyMs.count === seen) reject(new Error(`nothing has been answered for ${stallMs} ms`));
        seen = latencyMs.count;
      }, stallMs);
      let ended: LoadResult['ended'];
      const run: Run = {
        latencyMs,
        goesOn: (calls) => {
          if (ended !== undefined) return false;
          if (typeof end === 'number') return performance.now() < startMs + end;
          try {
            return end(calls);
          } catch (error) {
            reject(error);
            return false;
          }
        },
        failed: (error, status, text = '') => {
          if (status === undefined || options.endsAt?.(status, text) !== true) reject(error);
          else ended ??= { status, text };
        },
        over: () => {
          const seconds = (performance.now() - startMs) / 1000;
          const { user, system } = process.cpuUsage(cpu);
          const generatorCpuPart = (user + system) / 1e6 / seconds;
          const result = { perSecond: latencyMs.count / seconds, latencyMs, generatorCpuPart };
          resolve(ended === undefined ? result : { ...result, ended });
        },
      };
      for (const { connection } of this.#lanes.flat()) connection.onError = reject;
      if (options.perSecond === undefined) this.#closedLoop(run);
      else this.#openLoop(run, startMs, options.perSecond);
    });
    return running.finally(() => clearInterval(watchdog));
  }

  close(): void {
    for (const { connection } of this.#lanes.flat()) connection.close();
  }

  #closedLoop(run: Run): void {
    const { clients } = this.#options;
    let running = clients;
    let calls = 0;
    const next = (client: number, call: number): void => {
      if (!run.goesOn(calls)) {
        if (--running === 0) run.over();
        return;
      }
      calls++;
      this.#call(run, client, call, performance.now(), () => next(client, call + 1));
    };
    for (let client = 0; client < clients; client++) next(client, 0);
  }

  #openLoop(run: Run, startMs: number, perSecond: number): void {
    const { clients } = this.#options;
    let calls = 0;
    let answered = 0;
    let due = true;
    const tick = (): void => {
      for (;;) {
        const dueMs = startMs + (calls * 1000) / perSecond;
        const nowMs = performance.now();
        if (dueMs > nowMs) break;
        due = run.goesOn(calls);
        if (!due) break;
        if (calls - answered >= UNANSWERED_MAX) {
          run.failed(new Error(`${UNANSWERED_MAX} calls without an answer at ${perSecond}/s`));
          return;
        }
        const sentMs = nowMs - dueMs < TIMER_COARSENESS_MS ? nowMs : dueMs;
        this.#call(run, calls % clients, Math.floor(calls / clients), sentMs, () => {
          answered++;
          if (!due && answered === calls) run.over();
        });
        calls++;
      }
      if (due) setTimeout(tick, TICK_MS);
      else if (answered === calls) run.over();
    };
    tick();
  }

  #call(run: Run, client: number, call: number, sentMs: number, done: () => void): void {
    const lots = this.#lots;
    const kind = lots.length === 1 ? 0 : lots[Math.floor(Math.random() * lots.length)]!;
    const { request, path, replyBytesMin = 0 } = this.#options.kinds[kind]!;
    const lanes = this.#lanes[(client + call) % this.#lanes.length]!;
    const { connection, headers } = lanes[client % lanes.length]!;
    connection.callCounted(headers[kind]!, request(client), (status, replyBytes, text) => {
      if (status !== 0) run.failed(new Error(`${path} answered gRPC status ${status}: ${text}`), status, text);
      else if (replyBytes < replyBytesMin)
        run.failed(new Error(`${path} answered ${replyBytes} bytes, not ${replyBytesMin} or more`));
      else run.latencyMs.record(performance.now() - sentMs);
      done();
    });
  }
}

interface Run {
  readonly latencyMs: Histogram;
  goesOn(calls: number): boolean;
  failed(error: Error, status?: number, text?: string): void;
  over(): void;
}
