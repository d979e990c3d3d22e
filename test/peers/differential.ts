/**
 * Sends one sequence of operations to etcd and to Roster, one at a time and to both at once, and throws at the first
 * answer that is not the same. What may differ is in canonical.ts (what the API leaves open) and differences.ts (what
 * changed after the etcd at hand); nothing else is let through.
 */
import { isDeepStrictEqual } from 'node:util';
import type * as m from '../../core/wire/messages.ts';
import { startEtcd } from '../support/etcd.ts';
import { startRoster } from '../support/roster.ts';
import { methodOf } from './auth-methods.ts';
import { AuthSession } from './auth-session.ts';
import { plain } from './canonical.ts';
import { Comparison } from './comparison.ts';
import { type Difference, differences } from './differences.ts';
import { resolved } from './names.ts';
import {
  type Caller,
  LEASE_IDS,
  type Operation,
  SHORT_LEASE_ID,
  type Symbolic,
  TXN_OPS_MAX,
  type UnaryOperation,
} from './operations.ts';
import { ANSWER_LIMIT_MS, type Answer, Side, type Transport, type WatchRecorder } from './side.ts';
import { StreamPair } from './stream-pair.ts';
import { coursesOf, type Happened, lastDue, watchOf } from './watch-log.ts';

/** What a shorter lease could run out in the middle of a sequence, and is therefore revoked at once. */
const SHORT_TTL_SECONDS = 600;
/** How long, and how often, Roster is asked for progress before that counts as no answer. */
const PROGRESS_ASK_MS = 500;
const PROGRESS_ASKS_MAX = 20;
const ENDS_WATCHES: ReadonlySet<string> = new Set<UnaryOperation['op']>([
  'authEnable',
  'authDisable',
  'userChangePassword',
]);
const NO_WATCH = -1n;
const PERMISSION_DENIED = 7;
const UNKNOWN_WATCH = 12_345n;

export class Differential {
  readonly etcd: Side;
  readonly roster: Side;
  readonly transport: Transport;
  readonly #comparison: Comparison;
  /** Operations by kind. */
  readonly ran = new Map<string, number>();
  #revision = 1;
  #compacted = -1;
  #start = 1;
  /** Everything that has happened since the servers started. */
  readonly #history: Happened[] = [];
  #streams = new Map<number, StreamPair>();
  #halfClosed: StreamPair[] = [];
  /** A watch of everything. */
  #observer: StreamPair;
  /** The revision after which it began. */
  #observedFrom = 1;
  readonly #auth: AuthSession;
  /** A large value was sent in this sequence. */
  #large = false;
  /** A watch of history was created and may still be behind. */
  #lagging = false;

  static async start(etcdBinary: string, transport: Transport): Promise<Differential> {
    const flags = ['--max-txn-ops', String(TXN_OPS_MAX), '--bcrypt-cost', '4'];
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
    this.#auth = new AuthSession([etcd, roster]);
    this.#comparison = new Comparison(etcd, roster);
    this.#observer = this.#open();
  }

  /** How often each entry of the table explained a difference. */
  get explained(): ReadonlyMap<string, number> {
    return this.#comparison.explained;
  }

  /** Runs the operations, then removes what they left and compares what the watches have told. */
  async run(operations: readonly Operation[]): Promise<void> {
    this.#start = this.#revision;
    for (const [index, operation] of operations.entries()) {
      try {
        const kind = operation.by === undefined ? operation.op : `${operation.op} by a user`;
        this.ran.set(kind, (this.ran.get(kind) ?? 0) + 1);
        await this.#step(operation);
      } catch (error) {
        throw new Error(`operation ${index} (${operation.op}): ${(error as Error).message}`);
      }
    }
    await this.#finish();
  }

  async close(): Promise<void> {
    for (const stream of [this.#observer, ...this.#streams.values(), ...this.#halfClosed]) stream.close();
    await this.etcd.close();
    await this.roster.close();
  }

  // ---- one operation

  async #step(operation: Operation): Promise<void> {
    switch (operation.op) {
      case 'watch': {
        const { start_revision: start = 0 } = this.#resolve<m.WatchCreateRequest>(this.etcd, operation.request);
        if (operation.by !== undefined) return this.#watchBy(operation.by, operation.request);
        if (start < 0) return this.#watchNegative(operation.request);
        await this.#watch(this.#stream(operation.stream), operation.request);
        return;
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
      case 'watchNothing': {
        const stream = this.#stream(operation.stream);
        for (const recorder of [stream.etcd, stream.roster]) recorder.send({});
        return;
      }
      case 'leaseExpire':
        return this.#expire(operation.keys);
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
        stream.close();
        this.#streams.delete(operation.stream);
        return;
      }
      case 'leaseKeepAlive': {
        const { by } = operation;
        const [etcd, roster] = await Promise.all(
          [this.etcd, this.roster].map(async (side): Promise<Answer> => {
            const request = this.#resolve<m.LeaseKeepAliveRequest>(side, operation.request);
            if (by === undefined) return { message: await side.keepAlive(request) };
            return side.keepAliveOnce(request, this.#auth.token(side, by));
          }),
        );
        this.#same(operation.op, {}, etcd!, roster!, { by });
        return;
      }
      default:
        return this.#unary(operation);
    }
  }

  async #unary(operation: UnaryOperation & { by?: Caller }): Promise<void> {
    switch (operation.op) {
      case 'leaseGrant':
        return this.#grant(operation.slot, operation.ttlSeconds, operation.by);
      case 'leaseLeases':
        return this.#call('leaseLeases', {}, operation);
      case 'compact': {
        // A compaction ends the watches that are behind it.
        await this.#passCatchUp();
        await this.#settle();
        const revision = this.#resolve<m.CompactionRequest>(this.etcd, operation.request).revision ?? 0;
        await this.#call('compact', operation.request, operation, () => {
          this.#compacted = revision;
        });
        return;
      }
      default:
        return this.#call(operation.op, operation.request, operation);
    }
  }

  /** Sends the same request to both; `accepted` is called when both took it. */
  async #call(
    op: UnaryOperation['op'],
    request: object,
    { by }: { by?: Caller } = {},
    accepted: (etcd: object, roster: object) => void = () => {},
  ): Promise<void> {
    const requests = [this.#resolve(this.etcd, request), this.#resolve(this.roster, request)] as const;
    const send = (side: Side, caller: Caller | undefined) =>
      side.call(this.transport, methodOf(op), requests[side === this.etcd ? 0 : 1], this.#auth.token(side, caller));
    // What ends watches must not overtake what they have to tell.
    if (ENDS_WATCHES.has(op)) await this.#settle();
    let [etcd, roster] = await Promise.all([send(this.etcd, by), send(this.roster, by)]);
    if ('message' in etcd && 'message' in roster) accepted(etcd.message, roster.message);
    const redo = this.#same(op, requests[1], etcd, roster, { by, forEtcd: requests[0] })?.redo;
    if (redo !== undefined) {
      // What one has done, both have done then.
      if (redo === 'etcd' || (redo === 'denied' && isDenied(etcd))) etcd = await send(this.etcd, undefined);
      else roster = await send(this.roster, undefined);
      if ('message' in etcd && 'message' in roster) accepted(etcd.message, roster.message);
      this.#same(op, requests[1], etcd, roster, { forEtcd: requests[0] });
    }
    if (!('message' in etcd && 'message' in roster)) return;
    if (await this.#auth.accepted(op, request, [etcd.message, roster.message])) await this.#observe();
  }

  async #grant(slot: number, ttlSeconds: bigint, by?: Caller): Promise<void> {
    const wanted = LEASE_IDS[slot]!;
    // A lease whose id nobody knows any more would stay for ever.
    if (wanted === 0n && this.etcd.leaseIds.has(slot)) await this.#call('leaseRevoke', { ID: { leaseIn: slot } });
    let granted = 0;
    await this.#call('leaseGrant', { ID: wanted, TTL: ttlSeconds }, by === undefined ? {} : { by }, (etcd, roster) => {
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

  /** The end of a lease is an event like any other: nothing else happens while it is awaited. */
  async #expire(keys: readonly string[]): Promise<void> {
    await this.#call('leaseGrant', { ID: SHORT_LEASE_ID, TTL: 1n });
    for (const key of keys) await this.#call('put', { key, lease: SHORT_LEASE_ID });
    const deadline = Date.now() + ANSWER_LIMIT_MS;
    for (const side of [this.etcd, this.roster]) {
      while (await side.hasLease(SHORT_LEASE_ID, this.#auth.token(side, undefined))) {
        if (Date.now() > deadline) throw new Error(`${side.name} does not end a lease that has run out`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    await this.#call('range', { key: '\0', range_end: '\0' });
    await this.#settle();
  }

  /** The entry of the table that says why the answers differ; throws when there is none. Takes over their revision. */
  #same(
    op: Operation['op'],
    request: object,
    etcd: Answer,
    roster: Answer,
    { by, forEtcd = request }: { by?: Caller | undefined; forEtcd?: object } = {},
  ): Difference | undefined {
    const { header } = ('message' in etcd ? etcd.message : {}) as { header?: m.ResponseHeader };
    this.#revision = Math.max(this.#revision, header?.revision ?? 0);
    return this.#comparison.same(op, request, etcd, roster, { by, auth: this.#auth.on, forEtcd });
  }

  // ---- watches

  #open(by?: Caller): StreamPair {
    return new StreamPair(this.etcd, this.roster, (side) => this.#auth.token(side, by));
  }

  #stream(slot: number): StreamPair {
    let stream = this.#streams.get(slot);
    if (stream === undefined) {
      stream = this.#open();
      this.#streams.set(slot, stream);
    }
    return stream;
  }

  /** Again after the administrator's token, or the end of auth, has ended what watched before. */
  async #observe(): Promise<void> {
    this.#observer.close();
    this.#observer = this.#open();
    this.#observedFrom = this.#revision;
    await this.#watch(this.#observer, { key: '', range_end: '\0', prev_kv: true });
  }

  /** False: the servers do not agree on what it begins. */
  async #watch(stream: StreamPair, symbolic: Symbolic<m.WatchCreateRequest>, by?: Caller): Promise<boolean> {
    const request = this.#resolve<m.WatchCreateRequest>(this.etcd, symbolic) as m.WatchCreateRequest;
    const { created: before, ended } = stream.etcd;
    await stream.both('an answer to a watch request', { create_request: request }, (r) => r.created > before);
    const [etcd, roster] = [lastCreated(stream.etcd), lastCreated(stream.roster)];
    const difference = this.#same('watch', request, { message: etcd }, { message: roster }, { by });
    if (difference !== undefined || etcd.canceled) return difference === undefined;
    const watch = { ...watchOf(request, this.#revision, this.#compacted), id: etcd.watch_id };
    stream.all.push(watch);
    stream.live.set(watch.id, watch);
    if (watch.start <= this.#revision) this.#lagging = true;
    if (!watch.overtaken) return true;
    await stream.both(`the end of watch ${watch.id}`, undefined, (r) => r.ended > ended);
    return true;
  }

  /** On a stream of its own, up to an event that has just happened: a change of roles ends it on one server only. */
  async #watchBy(by: Caller, symbolic: Symbolic<m.WatchCreateRequest>): Promise<void> {
    const stream = this.#open(by);
    this.#halfClosed.push(stream);
    const request = this.#resolve<m.WatchCreateRequest>(this.etcd, symbolic);
    if (await this.#watch(stream, { ...request, start_revision: Math.max(request.start_revision ?? 0, 0) }, by)) {
      await this.#call('put', { key: request.key || '\0' });
      await this.#settle();
      this.#compareStream(stream);
    }
    stream.close();
    this.#halfClosed = this.#halfClosed.filter((other) => other !== stream);
  }

  /** On a stream of its own: the servers do not agree on what it begins (differences.ts). */
  async #watchNegative(symbolic: Symbolic<m.WatchCreateRequest>): Promise<void> {
    const stream = this.#open();
    const request = this.#resolve<m.WatchCreateRequest>(this.etcd, symbolic) as m.WatchCreateRequest;
    await stream.both('an answer to a watch request', { create_request: request }, (r) => r.created > 0);
    this.#same('watch', request, { message: lastCreated(stream.etcd) }, { message: lastCreated(stream.roster) });
    stream.close();
  }

  async #cancel(stream: StreamPair, id: bigint): Promise<void> {
    await this.#settle();
    const { ended } = stream.etcd;
    const message = { cancel_request: { watch_id: id } };
    if (!stream.live.delete(id)) {
      stream.etcd.send(message);
      stream.roster.send(message);
      return;
    }
    await stream.both(`the end of watch ${id}`, message, (r) => r.ended > ended);
  }

  async #progress(stream: StreamPair): Promise<void> {
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
      this.#comparison.explain(difference.name);
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

  /** Waits until every watch has got everything that has happened, so that what follows meets both in the same state. */
  async #settle(): Promise<void> {
    await this.#observer.both(`the events up to revision ${this.#revision}`, undefined, (recorder) => {
      return (recorder.lastEvent.get(0n) ?? this.#observedFrom) >= this.#revision;
    });
    this.#compareObserver();
    for (const stream of [...this.#streams.values(), ...this.#halfClosed]) {
      for (const watch of stream.live.values()) {
        const what = `the events for watch ${watch.id}`;
        await stream.both(what, undefined, (recorder) => {
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
    await stream.both(
      'an event that has just happened',
      { create_request: { key: '\0', range_end: '\0', start_revision } as m.WatchCreateRequest },
      (recorder) => recorder.lastEvent.get(0n) === start_revision,
    );
    stream.close();
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

  #compareStream(stream: StreamPair): void {
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
      if (theirs.id !== NO_WATCH) this.#comparison.sameEvents(watches.next().value!, theirs.events, ours.events);
    }
  }

  // ---- the end of a sequence

  async #finish(): Promise<void> {
    await this.#removeUsers();
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
      stream.close();
    }
    this.#streams.clear();
    this.#halfClosed = [];
    this.#large = false;
  }

  async #removeUsers(): Promise<void> {
    if (this.#auth.on) await this.#call('authDisable', {});
    if (!this.#auth.touched) return;
    let [users, roles]: [string[], string[]] = [[], []];
    await this.#call('userList', {}, {}, (answer) => {
      users = (answer as m.AuthUserListResponse).users;
    });
    await this.#call('roleList', {}, {}, (answer) => {
      roles = (answer as m.AuthRoleListResponse).roles;
    });
    for (const name of users) await this.#call('userDelete', { name });
    for (const role of roles) await this.#call('roleDelete', { role });
    this.#auth.forget();
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
    this.#comparison.sameEvents({ ...watchOf(request, this.#revision, this.#compacted), id: 0n }, theirs, ours);
  }

  // ---- names

  #resolve<T extends object>(side: Side, symbolic: Symbolic<T>): Partial<T> {
    return resolved(symbolic, {
      leaseIds: side.leaseIds,
      revision: (name) => this.#base(name),
      onFill: () => {
        this.#large = true;
      },
    });
  }

  #base(name: string): number {
    if (name === 'zero') return 0;
    if (name === 'start') return this.#start;
    return name === 'compacted' ? this.#compacted : this.#revision;
  }
}

function isDenied(answer: Answer): boolean {
  return 'refusal' in answer && answer.refusal.code === PERMISSION_DENIED;
}

function lastCreated(recorder: WatchRecorder): m.WatchResponse {
  return recorder.responses.findLast(({ created }) => created)!;
}
