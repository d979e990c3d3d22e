/**
 * Sends one sequence of operations to etcd and to Roster, one at a time and to both at once, and throws at the first
 * answer that is not the same. What may differ is in canonical.ts (what the API leaves open) and differences.ts (what
 * changed after the etcd at hand); nothing else is let through.
 */
import { isDeepStrictEqual } from 'node:util';
import { methods } from '../../client/methods.ts';
import type * as m from '../../core/wire/messages.ts';
import { startEtcd } from '../support/etcd.ts';
import { startRoster } from '../support/roster.ts';
import { plain, settleLeases, settleTies, settleTimeToLive, settleTxn } from './canonical.ts';
import { differences, type PlainAnswer, type PlainEvent } from './differences.ts';
import { LEASE_IDS, NO_LEASE, type Operation, type Symbolic, TXN_OPS_MAX, type UnaryOperation } from './operations.ts';
import { type Answer, Side, type Transport, type WatchRecorder } from './side.ts';
import { coursesOf, type Happened, lastDue, type Watch, watchOf } from './watch-log.ts';

/** What a shorter lease could run out in the middle of a sequence, and is therefore revoked at once. */
const SHORT_TTL_SECONDS = 600;
/** How long, and how often, Roster is asked for progress before that counts as no answer. */
const PROGRESS_ASK_MS = 500;
const PROGRESS_ASKS_MAX = 20;
const NO_WATCH = -1n;
const UNKNOWN_WATCH = 12_345n;

/** One watch stream, opened on both servers. */
interface Stream {
  etcd: WatchRecorder;
  roster: WatchRecorder;
  /** By id, those that were not cancelled. */
  live: Map<bigint, Watch>;
  /** Every creation that succeeded, in order. */
  all: Watch[];
  /** Progress answers that were asked for. */
  progress: number;
}

export class Differential {
  readonly etcd: Side;
  readonly roster: Side;
  readonly transport: Transport;
  /** How often each entry of the table explained a difference. */
  readonly explained = new Map<string, number>();
  #revision = 1;
  #compacted = -1;
  #start = 1;
  /** Everything that has happened since the servers started. */
  readonly #history: Happened[] = [];
  #streams = new Map<number, Stream>();
  #halfClosed: Stream[] = [];
  /** A watch of everything. */
  readonly #observer: Stream;
  /** A large value was sent in this sequence. */
  #large = false;
  /** A watch of history was created and may still be behind. */
  #lagging = false;

  static async start(etcdBinary: string, transport: Transport): Promise<Differential> {
    const flags = ['--max-txn-ops', String(TXN_OPS_MAX)];
    const etcd = new Side('etcd', await startEtcd(etcdBinary, flags));
    try {
      const differential = new Differential(etcd, new Side('roster', await startRoster(flags)), transport);
      await differential.#observe();
      return differential;
    } catch (error) {
      await etcd.close();
      throw error;
    }
  }

  private constructor(etcd: Side, roster: Side, transport: Transport) {
    this.etcd = etcd;
    this.roster = roster;
    this.transport = transport;
    this.#observer = this.#open();
  }

  /** Runs the operations, then removes what they left and compares what the watches have told. */
  async run(operations: readonly Operation[]): Promise<void> {
    this.#start = this.#revision;
    for (const [index, operation] of operations.entries()) {
      try {
        await this.#step(operation);
      } catch (error) {
        throw new Error(`operation ${index} (${operation.op}): ${(error as Error).message}`);
      }
    }
    await this.#finish();
  }

  async close(): Promise<void> {
    for (const stream of [this.#observer, ...this.#streams.values(), ...this.#halfClosed]) close(stream);
    await this.etcd.close();
    await this.roster.close();
  }

  // ---- one operation

  async #step(operation: Operation): Promise<void> {
    switch (operation.op) {
      case 'watch': {
        const { start_revision: start = 0 } = this.#resolve<m.WatchCreateRequest>(this.etcd, operation.request);
        if (start < 0) return this.#watchNegative(operation.request);
        return this.#watch(this.#stream(operation.stream), operation.request);
      }
      case 'cancelWatch': {
        const stream = this.#stream(operation.stream);
        const ids = [...stream.live.keys()];
        return this.#cancel(stream, ids[operation.nth % ids.length] ?? UNKNOWN_WATCH);
      }
      case 'cancelUnknown':
        return this.#cancel(this.#stream(operation.stream), operation.id);
      case 'progress':
        return this.#progress(this.#stream(operation.stream));
      case 'halfClose': {
        const stream = this.#stream(operation.stream);
        stream.etcd.halfClose();
        stream.roster.halfClose();
        this.#halfClosed.push(stream);
        this.#streams.delete(operation.stream);
        return;
      }
      case 'closeStream': {
        const stream = this.#stream(operation.stream);
        await this.#settle();
        this.#compareStream(stream);
        close(stream);
        this.#streams.delete(operation.stream);
        return;
      }
      case 'leaseKeepAlive': {
        const [etcd, roster] = await Promise.all([
          this.etcd.keepAlive(this.#resolve<m.LeaseKeepAliveRequest>(this.etcd, operation.request)),
          this.roster.keepAlive(this.#resolve<m.LeaseKeepAliveRequest>(this.roster, operation.request)),
        ]);
        return this.#same(operation.op, {}, { message: etcd }, { message: roster });
      }
      default:
        return this.#unary(operation);
    }
  }

  async #unary(operation: UnaryOperation): Promise<void> {
    switch (operation.op) {
      case 'leaseGrant':
        return this.#grant(operation.slot, operation.ttlSeconds);
      case 'leaseLeases':
        return this.#call('leaseLeases', {});
      case 'compact': {
        // A compaction ends the watches that are behind it.
        await this.#passCatchUp();
        await this.#settle();
        const revision = this.#resolve<m.CompactionRequest>(this.etcd, operation.request).revision ?? 0;
        await this.#call('compact', operation.request, () => {
          this.#compacted = revision;
        });
        return;
      }
      default:
        return this.#call(operation.op, operation.request);
    }
  }

  /** Sends the same request to both; `accepted` is called when both took it. */
  async #call(
    op: UnaryOperation['op'],
    request: object,
    accepted: (etcd: object, roster: object) => void = () => {},
  ): Promise<void> {
    const method = methods[op];
    const requests = [this.#resolve(this.etcd, request), this.#resolve(this.roster, request)] as const;
    const [etcd, roster] = await Promise.all([
      this.etcd.call<object, object>(this.transport, method, requests[0]),
      this.roster.call<object, object>(this.transport, method, requests[1]),
    ]);
    if ('message' in etcd && 'message' in roster) accepted(etcd.message, roster.message);
    this.#same(op, requests[1], etcd, roster, requests[0]);
  }

  async #grant(slot: number, ttlSeconds: bigint): Promise<void> {
    const wanted = LEASE_IDS[slot]!;
    // A lease whose id nobody knows any more would stay for ever.
    if (wanted === 0n && this.etcd.leaseIds.has(slot)) await this.#call('leaseRevoke', { ID: { leaseIn: slot } });
    let granted = 0;
    await this.#call('leaseGrant', { ID: wanted, TTL: ttlSeconds }, (etcd, roster) => {
      const [ours, theirs] = [etcd, roster] as [m.LeaseGrantResponse, m.LeaseGrantResponse];
      granted = ours.TTL;
      if (wanted === 0n && (ours.ID <= 0n || theirs.ID <= 0n)) throw new Error('a lease id that is not positive');
      for (const [side, id] of [
        [this.etcd, ours.ID],
        [this.roster, theirs.ID],
      ] as const) {
        side.leaseIds.set(slot, id);
        if (wanted === 0n) side.leaseNames.set(id, `lease ${side.leaseNames.size}`);
      }
    });
    if (granted > 0 && granted < SHORT_TTL_SECONDS) await this.#call('leaseRevoke', { ID: { leaseIn: slot } });
  }

  /** Throws when the answers differ and no entry of the table says why; takes over the revision that they tell. */
  #same(op: Operation['op'], request: object, etcd: Answer, roster: Answer, forEtcd = request): void {
    const found = {
      op,
      request: plain(this.roster, request) as Record<string, unknown>,
      etcd: this.#settled(this.etcd, op, forEtcd, etcd),
      roster: this.#settled(this.roster, op, request, roster),
    };
    if (!isDeepStrictEqual(found.etcd, found.roster)) {
      const difference = differences.find((entry) => entry.answer?.(found));
      if (difference === undefined) {
        throw new Error(
          `${JSON.stringify(found.request)}\n  etcd:   ${JSON.stringify(found.etcd)}\n  roster: ${JSON.stringify(found.roster)}`,
        );
      }
      this.#explain(difference.name);
    }
    const { header } = ('message' in etcd ? etcd.message : {}) as { header?: m.ResponseHeader };
    this.#revision = Math.max(this.#revision, header?.revision ?? 0);
  }

  #settled(side: Side, op: Operation['op'], request: object, answer: Answer): PlainAnswer {
    if ('refusal' in answer) return answer;
    let message = answer.message;
    if (op === 'range') message = settleTies(request, message as m.RangeResponse);
    if (op === 'txn') message = settleTxn(request, message as m.TxnResponse);
    if (op === 'leaseTimeToLive') message = settleTimeToLive(message as m.LeaseTimeToLiveResponse);
    const result = plain(side, message) as Record<string, unknown>;
    if (op === 'leaseLeases') result.leases = settleLeases(result.leases as unknown[]);
    return { message: result };
  }

  // ---- watches

  #open(): Stream {
    return {
      etcd: this.etcd.watch(),
      roster: this.roster.watch(),
      live: new Map(),
      all: [],
      progress: 0,
    };
  }

  #stream(slot: number): Stream {
    let stream = this.#streams.get(slot);
    if (stream === undefined) {
      stream = this.#open();
      this.#streams.set(slot, stream);
    }
    return stream;
  }

  #observe(): Promise<void> {
    return this.#watch(this.#observer, { key: '', range_end: '\0', prev_kv: true });
  }

  async #watch(stream: Stream, symbolic: Symbolic<m.WatchCreateRequest>): Promise<void> {
    const request = this.#resolve<m.WatchCreateRequest>(this.etcd, symbolic) as m.WatchCreateRequest;
    const { created: before, ended } = stream.etcd;
    await this.#both(stream, 'an answer to a watch request', { create_request: request }, (r) => r.created > before);
    const [etcd, roster] = [lastCreated(stream.etcd), lastCreated(stream.roster)];
    this.#same('watch', request, { message: etcd }, { message: roster });
    if (etcd.canceled) return;
    const watch = { ...watchOf(request, this.#revision, this.#compacted), id: etcd.watch_id };
    stream.all.push(watch);
    stream.live.set(watch.id, watch);
    if (watch.start <= this.#revision) this.#lagging = true;
    if (!watch.overtaken) return;
    await this.#both(stream, `the end of watch ${watch.id}`, undefined, (r) => r.ended > ended);
  }

  /** On a stream of its own: the servers do not agree on what it begins (differences.ts). */
  async #watchNegative(symbolic: Symbolic<m.WatchCreateRequest>): Promise<void> {
    const stream = this.#open();
    const request = this.#resolve<m.WatchCreateRequest>(this.etcd, symbolic) as m.WatchCreateRequest;
    await this.#both(stream, 'an answer to a watch request', { create_request: request }, (r) => r.created > 0);
    this.#same('watch', request, { message: lastCreated(stream.etcd) }, { message: lastCreated(stream.roster) });
    close(stream);
  }

  async #cancel(stream: Stream, id: bigint): Promise<void> {
    await this.#settle();
    const { ended } = stream.etcd;
    const message = { cancel_request: { watch_id: id } };
    if (!stream.live.delete(id)) {
      stream.etcd.send(message);
      stream.roster.send(message);
      return;
    }
    await this.#both(stream, `the end of watch ${id}`, message, (r) => r.ended > ended);
  }

  async #progress(stream: Stream): Promise<void> {
    await this.#passCatchUp();
    await this.#settle();
    const watches = [...stream.live.values()].filter(({ overtaken }) => !overtaken);
    const found = {
      watches: watches.length,
      future: watches.filter(({ future, start }) => future && start > this.#revision).length,
    };
    const message = { progress_request: {} };
    stream.etcd.send(message);
    const due = stream.etcd.progress + 1;
    if (!(await stream.etcd.until(() => stream.etcd.progress >= due))) throw new Error('etcd tells no progress');
    const difference = differences.find((entry) => entry.progress?.(found));
    if (difference !== undefined) {
      stream.roster.send(message);
      this.#explain(difference.name);
      return;
    }
    const before = stream.roster.progress;
    for (let asks = 0; stream.roster.progress === before; asks++) {
      if (asks === PROGRESS_ASKS_MAX) throw new Error('roster tells no progress');
      stream.roster.send(message);
      await stream.roster.until(() => stream.roster.progress > before, PROGRESS_ASK_MS);
    }
    stream.progress++;
    const [etcd, roster] = [stream.etcd.responses.at(-1)!, stream.roster.responses.at(-1)!];
    this.#same('progress', {}, { message: etcd }, { message: roster });
  }

  /** Sends `message` on both and waits for what must follow. */
  async #both(
    stream: Stream,
    what: string,
    message: m.WatchRequest | undefined,
    condition: (recorder: WatchRecorder) => boolean,
  ): Promise<void> {
    const arrivals = [stream.etcd, stream.roster].map(async (recorder) => {
      if (message !== undefined) recorder.send(message);
      if (await recorder.until(() => condition(recorder))) return;
      throw new Error(`${recorder.side} has not sent ${what}: ${recorder.failure?.message ?? 'silence'}`);
    });
    await Promise.all(arrivals);
  }

  /** Waits until every watch has got everything that has happened, so that what follows meets both in the same state. */
  async #settle(): Promise<void> {
    await this.#both(this.#observer, `the events up to revision ${this.#revision}`, undefined, (recorder) => {
      return (recorder.lastEvent.get(0n) ?? 1) >= this.#revision;
    });
    this.#compareObserver();
    for (const stream of [...this.#streams.values(), ...this.#halfClosed]) {
      for (const watch of stream.live.values()) {
        const what = `the events for watch ${watch.id}`;
        await this.#both(stream, what, undefined, (recorder) => {
          const due = lastDue(watch, this.#history, recorder.side === 'roster');
          return (recorder.lastEvent.get(watch.id) ?? 0) >= due;
        });
      }
    }
  }

  /** etcd catches watches up in rounds. A watch of history created now is served with, or after, all created before. */
  async #passCatchUp(): Promise<void> {
    if (!this.#lagging) return;
    await this.#call('put', { key: 'round' });
    const start_revision = this.#revision;
    const stream = this.#open();
    await this.#both(
      stream,
      'an event that has just happened',
      { create_request: { key: '\0', range_end: '\0', start_revision } as m.WatchCreateRequest },
      (recorder) => recorder.lastEvent.get(0n) === start_revision,
    );
    close(stream);
    this.#lagging = false;
  }

  /**
   * The watch of everything is live from the start, so its responses must be the same one by one - unless large values
   * made Roster wait for the socket: then it sends what came meanwhile as one.
   */
  #compareObserver(): void {
    const [etcd, roster] = [this.#observer.etcd.responses.splice(0), this.#observer.roster.responses.splice(0)];
    const parts = (responses: m.WatchResponse[]) =>
      this.#large ? responses.flatMap(({ events }) => events) : responses;
    const [theirs, ours] = [parts(etcd), parts(roster)];
    for (let i = 0; i < Math.max(theirs.length, ours.length); i++) {
      const [expected, actual] = [plain(this.etcd, theirs[i]), plain(this.roster, ours[i])];
      if (!isDeepStrictEqual(expected, actual)) {
        throw new Error(
          `a watch of everything\n  etcd:   ${JSON.stringify(expected)}\n  roster: ${JSON.stringify(actual)}`,
        );
      }
    }
    for (const { type, kv } of etcd.flatMap(({ events }) => events)) {
      this.#history.push({ revision: kv!.mod_revision, type, key: kv!.key });
    }
  }

  #compareStream(stream: Stream): void {
    for (const recorder of [stream.etcd, stream.roster]) {
      if (recorder.failure !== undefined) throw new Error(`${recorder.side}: ${recorder.failure.message}`);
    }
    if (stream.progress === 0 && stream.roster.progress > 0) throw new Error('roster told progress too early');
    const [etcd, roster] = [coursesOf(stream.etcd), coursesOf(stream.roster)];
    if (etcd.length !== roster.length) throw new Error(`etcd created ${etcd.length} watches, roster ${roster.length}`);
    const watches = stream.all[Symbol.iterator]();
    for (const [index, theirs] of etcd.entries()) {
      const ours = roster[index]!;
      this.#same('watch', {}, { message: theirs.answers }, { message: ours.answers });
      if (theirs.id !== NO_WATCH) this.#compareEvents(watches.next().value!, theirs.events, ours.events);
    }
  }

  #compareEvents(watch: Watch, fromEtcd: m.Event[], fromRoster: m.Event[]): void {
    const etcd = plain(this.etcd, fromEtcd) as PlainEvent[];
    const roster = plain(this.roster, fromRoster) as PlainEvent[];
    if (isDeepStrictEqual(etcd, roster)) return;
    const found = { compacted: watch.compacted, start: watch.start, etcd, roster };
    const difference = differences.find((entry) => entry.watch?.(found));
    if (difference === undefined) {
      throw new Error(
        `events of ${JSON.stringify(watch, (_, value) => (typeof value === 'bigint' ? String(value) : value))}\n  etcd:   ${JSON.stringify(etcd)}\n  roster: ${JSON.stringify(roster)}`,
      );
    }
    this.#explain(difference.name);
  }

  // ---- the end of a sequence

  async #finish(): Promise<void> {
    for (const slot of LEASE_IDS.keys()) {
      if (!this.etcd.leaseIds.has(slot)) continue;
      await this.#call('leaseTimeToLive', { ID: { leaseIn: slot }, keys: true });
      await this.#call('leaseRevoke', { ID: { leaseIn: slot } });
    }
    await this.#call('deleteRange', { key: '\0', range_end: '\0', prev_kv: true });
    if (this.transport === 'json') await this.#compareJsonWatch();
    await this.#settle();
    for (const stream of [...this.#streams.values(), ...this.#halfClosed]) {
      this.#compareStream(stream);
      close(stream);
    }
    this.#streams.clear();
    this.#halfClosed = [];
    this.#large = false;
  }

  /** Everything the sequence did, as the gateway's stream of lines tells it. */
  async #compareJsonWatch(): Promise<void> {
    const start_revision = Math.max(this.#start, this.#compacted) + 1;
    if (start_revision > this.#revision) return;
    const request = { key: '\0', range_end: '\0', start_revision, prev_kv: true };
    const [etcd, roster] = await Promise.all([
      this.etcd.jsonWatch(request, this.#revision),
      this.roster.jsonWatch(request, this.#revision),
    ]);
    this.#same('watch', request, { message: etcd[0]! }, { message: roster[0]! });
    const [theirs, ours] = [etcd, roster].map((lines) => lines.flatMap(({ events }) => events)) as [
      m.Event[],
      m.Event[],
    ];
    this.#compareEvents({ ...watchOf(request, this.#revision, this.#compacted), id: 0n }, theirs, ours);
  }

  // ---- names

  #resolve<T extends object>(side: Side, symbolic: Symbolic<T>): Partial<T> {
    const walk = (value: unknown): unknown => {
      if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
      if (Array.isArray(value)) return value.map(walk);
      if ('fill' in value) {
        this.#large = true;
        return Buffer.alloc(value.fill as number, 'x');
      }
      if ('leaseIn' in value) return side.leaseIds.get(value.leaseIn as number) ?? NO_LEASE;
      if ('revisionOf' in value)
        return this.#base(value.revisionOf as string) + (value as unknown as { plus: number }).plus;
      return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, walk(field)]));
    };
    return walk(symbolic) as Partial<T>;
  }

  #base(name: string): number {
    if (name === 'zero') return 0;
    if (name === 'start') return this.#start;
    return name === 'compacted' ? this.#compacted : this.#revision;
  }

  #explain(name: string): void {
    this.explained.set(name, (this.explained.get(name) ?? 0) + 1);
  }
}

function lastCreated(recorder: WatchRecorder): m.WatchResponse {
  return recorder.responses.findLast(({ created }) => created)!;
}

function close(stream: Stream): void {
  stream.etcd.close();
  stream.roster.close();
}
