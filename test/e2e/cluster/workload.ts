/**
 * Clients of a cluster under test: some write keys of their own, on and on, into a ledger; some read and write shared
 * keys; watchers follow it all. Each goes to any member, one call after another; errors leave outcomes open.
 */
import { type CallTarget, Client } from '../../../client/client.ts';
import { sleep } from '../../../client/wait.ts';
import { RosterError } from '../../../core/errors.ts';
import { Prng } from '../../../core/util/prng.ts';
import { defaults } from '../../../core/wire/binary.ts';
import {
  Compare,
  CompareResult,
  CompareTarget,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  type TxnResponse,
} from '../../../core/wire/messages.ts';
import { Ledger } from '../../support/ledger.ts';
import type { Cluster } from './cluster.ts';
import { Happened, WatchPlace } from './happened.ts';
import { History, type Operation, type Reply } from './history.ts';
import type { Member } from './processes.ts';
import { watchOn } from './watcher.ts';

export interface WorkloadOptions {
  seed: number;
  /** Clients that write keys of their own. */
  writers: number;
  /** Clients that share keys. */
  sharers: number;
  watchers: number;
  /** Longest pause of a client between two calls. */
  pauseMsMax: number;
}

export const PREFIX = '/chaos/';
const SHARED_PREFIX = `${PREFIX}shared/`;
const CALL_TIMEOUT_MS = 1_500;
const DIAL_TIMEOUT_MS = 200;
/** gRPC connections to each member. */
const CLIENTS = 3;
/** Shared keys at a time, and operations on each before another takes its place: the search for an order is exponential. */
const SHARED_KEYS = 4;
const OPERATIONS_PER_KEY = 60;
/** Keys of a writer, in turn. */
const OWN_KEYS = 10;
const COMPACT_EVERY_MS = 4_000;
/** Revisions left to whoever is behind. */
const COMPACT_BEHIND = 2_000;
const BULK_BYTES = 256 * 1024;
const BULK_KEYS = 20;
const SETTLE_TIMEOUT_MS = 60_000;

export class Workload {
  readonly ledger = new Ledger();
  readonly history = new History();
  readonly happened = new Happened();
  readonly places: WatchPlace[];
  streams = 0;
  compactions = 0;
  /** Acknowledged writes so far. */
  acknowledged = 0;
  readonly #cluster: Cluster;
  readonly #options: WorkloadOptions;
  readonly #clients: Client[];
  readonly #prng: Prng;
  readonly #writing = new AbortController();
  readonly #watching = new AbortController();
  #writers: Promise<void>[] = [];
  #watchers: Promise<void>[] = [];
  #sharedOperations = 0;
  #failure: unknown;

  constructor(cluster: Cluster, options: WorkloadOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#prng = new Prng(options.seed);
    const endpoints = cluster.endpoints;
    this.#clients = Array.from({ length: CLIENTS }, () => new Client({ endpoints, dialTimeoutMs: DIAL_TIMEOUT_MS }));
    this.places = Array.from({ length: options.watchers }, (_, i) => new WatchPlace(`watcher ${i}`, this.happened));
  }

  start(): void {
    const { writers, sharers } = this.#options;
    const run = (work: Promise<unknown>): Promise<void> =>
      work.then(
        () => {},
        (error: unknown) => {
          this.#failure ??= error;
        },
      );
    this.#writers = [
      ...Array.from({ length: writers }, (_, i) => run(this.#write(i))),
      ...Array.from({ length: sharers }, (_, i) => run(this.#share(i))),
      run(this.#compact()),
    ];
    this.#watchers = this.places.map((place) => run(this.#watch(place)));
  }

  /** Resolves when another write has been acknowledged through each running member. */
  async progress(timeoutMs: number): Promise<void> {
    const client = this.#clients[0]!;
    const deadline = Date.now() + timeoutMs;
    const waiting = new Set(this.#cluster.members.filter((member) => member.running && !member.paused));
    for (let n = 0; waiting.size > 0; n++) {
      for (const member of waiting) {
        try {
          await client.put('/progress', `${n}`, { endpoint: member.endpoint, timeoutMs: CALL_TIMEOUT_MS });
          waiting.delete(member);
        } catch (error) {
          if (Date.now() < deadline) continue;
          const names = [...waiting].map(({ name }) => name).join();
          throw new Error(`no write through ${names} for ${timeoutMs} ms: ${error}\n${this.#cluster.tails()}`, {
            cause: error,
          });
        }
      }
      if (waiting.size > 0) await sleep(20);
    }
  }

  /** Large values through any member, over and over, until `signal` fires. */
  async bulk(signal: AbortSignal): Promise<void> {
    const value = Buffer.alloc(BULK_BYTES, 'b');
    for (let n = 0; !signal.aborted; n++) {
      await this.#clients[n % CLIENTS]!.put(`/bulk/${n % BULK_KEYS}`, value, this.#anywhere()).catch(() => sleep(10));
    }
  }

  /** Ends the writing, and waits until every watcher has been told of everything. Throws when that does not come. */
  async settle(): Promise<number> {
    this.#writing.abort();
    await Promise.all(this.#writers);
    const deadline = Date.now() + SETTLE_TIMEOUT_MS;
    for (;;) {
      this.#throwFailure();
      // The last event of all: whatever was still under way came before it, or never will.
      const { revision } = await this.#sentinel(deadline);
      while (this.places.some(({ last }) => last < revision) && Date.now() < deadline) await sleep(20);
      const { header } = await this.#clients[0]!.range({ key: PREFIX }, { timeoutMs: CALL_TIMEOUT_MS });
      if (header!.revision === revision && this.places.every(({ last }) => last === revision)) return revision;
      if (Date.now() > deadline) {
        const lasts = this.places.map(({ last }) => last).join();
        throw new Error(`watchers stand at ${lasts}, the store at ${header!.revision}\n${this.#cluster.tails()}`);
      }
    }
  }

  /** Resolves when `member` itself has come as far as `revision`. */
  async caughtUp(member: Member, revision: number): Promise<void> {
    const deadline = Date.now() + SETTLE_TIMEOUT_MS;
    const to = { endpoint: member.endpoint, timeoutMs: CALL_TIMEOUT_MS };
    for (;;) {
      const request = { key: PREFIX, serializable: true, count_only: true };
      const found = await this.#clients[0]!.range(request, to).catch(() => undefined);
      if (found !== undefined && found.header!.revision >= revision) return;
      if (Date.now() > deadline) {
        throw new Error(`${member.name} is at ${found?.header?.revision}, not ${revision}\n${this.#cluster.tails()}`);
      }
      await sleep(50);
    }
  }

  async stop(): Promise<void> {
    this.#writing.abort();
    this.#watching.abort();
    await Promise.all([...this.#writers, ...this.#watchers]);
    for (const client of this.#clients) client.close();
  }

  /** What is left to find at the end: every acknowledged write, on every watcher, in an order that explains all answers. */
  judge(): { problems: string[]; keys: number; undecided: number } {
    const judgement = this.history.judge(this.happened, (key) => key.startsWith(SHARED_PREFIX));
    for (const { name, seen } of this.places) {
      if (seen !== this.happened.size) {
        judgement.problems.push(`${name} was told of ${seen} revisions of ${this.happened.size}`);
      }
    }
    return judgement;
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #anywhere(): CallTarget {
    const { members } = this.#cluster;
    return { endpoint: members[this.#prng.int(members.length)]!.endpoint, timeoutMs: CALL_TIMEOUT_MS };
  }

  async #sentinel(deadline: number): Promise<{ revision: number }> {
    for (let n = 0; ; n++) {
      const value = `sentinel#${n}.${Date.now()}`;
      const operation = this.history.call(`${PREFIX}sentinel`, { kind: 'put', value });
      try {
        const { header } = await this.#clients[0]!.put(operation.key, value, this.#anywhere());
        this.history.return(operation, { revision: header!.revision });
        return { revision: header!.revision };
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await sleep(50);
      }
    }
  }

  async #pause(): Promise<void> {
    await sleep(this.#prng.int(this.#options.pauseMsMax) + 1, this.#writing.signal);
  }

  /** Does one operation; a RosterError leaves its outcome open. */
  async #attempt(operation: Operation, call: () => Promise<Reply>): Promise<boolean> {
    try {
      this.history.return(operation, await call());
      if (operation.request.kind !== 'read') this.acknowledged++;
      return true;
    } catch (error) {
      if (!(error instanceof RosterError)) throw error;
      return false;
    }
  }

  async #write(number: number): Promise<void> {
    const client = this.#clients[number % CLIENTS]!;
    for (let n = 0; !this.#writing.signal.aborted; n++) {
      const key = `${PREFIX}own/${number}/${n % OWN_KEYS}`;
      const value = `own${number}#${n}`;
      this.ledger.attempt(key, value);
      const operation = this.history.call(key, { kind: 'put', value });
      await this.#attempt(operation, async () => {
        const { header } = await client.put(key, value, this.#anywhere());
        this.ledger.acknowledge(key, value, header!.revision);
        return { revision: header!.revision };
      });
      await this.#pause();
    }
  }

  async #share(number: number): Promise<void> {
    /** What this client believes the keys hold. */
    const beliefs = new Map<string, string | undefined>();
    for (let n = 0; !this.#writing.signal.aborted; n++) {
      const era = Math.floor(this.#sharedOperations++ / (OPERATIONS_PER_KEY * SHARED_KEYS));
      const key = `${SHARED_PREFIX}${era}/${this.#prng.int(SHARED_KEYS)}`;
      if (!beliefs.has(key) && beliefs.size >= SHARED_KEYS) beliefs.clear();
      await this.#shareOnce(this.#clients[number % CLIENTS]!, key, `shared${number}#${n}`, beliefs);
      await this.#pause();
    }
  }

  async #shareOnce(
    client: Client,
    key: string,
    value: string,
    beliefs: Map<string, string | undefined>,
  ): Promise<void> {
    const to = this.#anywhere();
    const dice = this.#prng.int(100);
    if (dice < 40) {
      const local = dice < 8;
      await this.#attempt(this.history.call(key, { kind: 'read', local }), async () => {
        const { header, kvs } = await client.range({ key, serializable: local }, to);
        const seen = textOf(kvs[0]?.value);
        beliefs.set(key, seen);
        return { revision: header!.revision, seen };
      });
    } else if (dice < 60) {
      await this.#attempt(this.history.call(key, { kind: 'put', value }), async () => {
        const { header } = await client.put(key, value, to);
        beliefs.set(key, value);
        return { revision: header!.revision };
      });
    } else if (dice < 92) {
      const expected = beliefs.get(key);
      await this.#attempt(this.history.call(key, { kind: 'cas', expected, value }), async () => {
        const reply = casReply(await compareAndPut(client, key, expected, value, to));
        beliefs.set(key, reply.done ? value : reply.seen);
        return reply;
      });
    } else {
      await this.#attempt(this.history.call(key, { kind: 'delete', value }), async () => {
        const request_put = putOf(`${PREFIX}mark/${value.split('#')[0]}`, value);
        const success = [{ request_delete_range: { ...defaults(DeleteRangeRequest), key } }, { request_put }];
        const { header, responses } = await client.txn({ success }, to);
        beliefs.set(key, undefined);
        return { revision: header!.revision, done: responses[0]!.response_delete_range!.deleted > 0 };
      });
    }
  }

  async #watch(place: WatchPlace): Promise<void> {
    await watchOn({
      prefix: PREFIX,
      place,
      prng: new Prng(this.#prng.nextUint32()),
      endpoints: () => this.#cluster.endpoints,
      onStream: () => {
        this.streams++;
      },
      onRevision: (revision) => this.history.observed(revision),
      // etcd 3.4.23 promises progress ahead of events (its issue 15220).
      progress: this.#cluster.kind === 'roster',
      signal: this.#watching.signal,
    });
  }

  async #compact(): Promise<void> {
    const { signal } = this.#writing;
    while (!signal.aborted) {
      await sleep(COMPACT_EVERY_MS, signal);
      const revision = Math.min(...this.places.map(({ last }) => last)) - COMPACT_BEHIND;
      if (revision <= 0 || signal.aborted) continue;
      try {
        await this.#clients[0]!.compact(revision, this.#anywhere());
        this.compactions++;
      } catch (error) {
        if (!(error instanceof RosterError)) throw error;
      }
    }
  }
}

function textOf(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : Buffer.from(value).toString('utf8');
}

function putOf(key: string, value: string): PutRequest {
  return { ...defaults(PutRequest), key, value: Buffer.from(value) };
}

function compareAndPut(
  client: Client,
  key: string,
  expected: string | undefined,
  value: string,
  to: CallTarget,
): Promise<TxnResponse> {
  const compare: Compare = { ...defaults(Compare), key, result: CompareResult.values.EQUAL };
  if (expected === undefined) Object.assign(compare, { target: CompareTarget.values.VERSION, version: 0 });
  else Object.assign(compare, { target: CompareTarget.values.VALUE, value: Buffer.from(expected) });
  const request_range = { ...defaults(RangeRequest), key };
  return client.txn(
    { compare: [compare], success: [{ request_put: putOf(key, value) }], failure: [{ request_range }] },
    to,
  );
}

function casReply({ header, succeeded, responses }: TxnResponse): Reply {
  if (succeeded) return { revision: header!.revision, done: true };
  const seen = textOf(responses[0]!.response_range!.kvs[0]?.value);
  return { revision: header!.revision, done: false, seen };
}
