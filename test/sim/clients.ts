/**
 * The clients: each does one thing after another through any member, goes elsewhere when told that nothing happened, and
 * gives up waiting after a while, which leaves the outcome open. Owns the history.
 */
import { RosterError } from '../../core/errors.ts';
import type { ProposedRequest } from '../../core/node/node.ts';
import type { Prng } from '../../core/util/prng.ts';
import { resultText } from './digest.ts';
import type { Operation } from './history.ts';
import type { Host } from './host.ts';
import type { Leases } from './lease-check.ts';
import type { Member } from './member.ts';
import { MISSING } from './replay.ts';
import { casOf, deleteOf, pastOf, putOf, readAll } from './requests.ts';

const WIRE_MS = 2;
const RETRY_MS = 60;
const LEASE_TTL_SECONDS = [1, 2, 4, 9];
/** Refusals after which nothing has happened. */
const HARMLESS: readonly string[] = ['NotLeader', 'NoLeader', 'LeaderChanged', 'RequestTooManyRequests'];
/** Answers that leave the outcome open. */
const OPEN: readonly string[] = ['Timeout', 'Stopped'];

export interface Ledger {
  readonly operations: Operation[];
  /** Moments counted so far. */
  moment: number;
}

/** What an operation asks: a request to replicate, or a read. */
interface Ask {
  what: string;
  request?: ProposedRequest;
  local?: boolean;
  keys?: readonly string[];
  /** Gives the lease its time again, or asks how much it has. */
  lease?: { id: bigint; renew: boolean };
}

/** Sends an answer on its way: the code of a refusal, and what to do with it when it has arrived. */
type Reply = (refusal: string, take: () => void) => void;

export class Client {
  readonly #number: number;
  readonly #host: Host;
  readonly #prng: Prng;
  readonly #ledger: Ledger;
  readonly #leases: Leases;
  readonly #keys: readonly string[];
  /** What it believes of each key. */
  readonly #known = new Map<string, string | undefined>();
  #ownLeases: bigint[] = [];
  #target: Member;
  /** Asks another member each time; the others stay with one for as long as it answers. */
  readonly #roams: boolean;
  #newestRevision = 1;
  /** Rises with every operation and every answer taken, so that late answers are told apart. */
  #turn = 0;
  stopped = false;

  constructor(number: number, host: Host, ledger: Ledger, leases: Leases, prng: Prng) {
    this.#number = number;
    this.#host = host;
    this.#ledger = ledger;
    this.#leases = leases;
    this.#prng = prng;
    this.#keys = Array.from({ length: host.settings.keys }, (_, i) => `k${i}`);
    this.#target = this.#pick();
    this.#roams = prng.int(2) === 0;
  }

  #pick(): Member {
    const { members } = this.#host;
    return members[this.#prng.int(members.length)]!;
  }

  start(): void {
    this.#host.time.after(this.#prng.float() * this.#host.settings.thinkMs, () => this.#next());
  }

  #next(): void {
    if (this.stopped) return;
    const ask = this.#choose();
    if (this.#roams) this.#target = this.#pick();
    const operation: Operation = {
      id: this.#ledger.operations.length,
      client: this.#number,
      what: ask.what,
      calledAt: ++this.#ledger.moment,
      returnedAt: Number.POSITIVE_INFINITY,
      calledMs: this.#host.time.nowMs,
      request: ask.request,
      local: ask.local === true,
      requestIds: [],
      result: '',
      revision: 0,
      seen: undefined,
    };
    if (ask.lease === undefined) this.#ledger.operations.push(operation);
    const turn = ++this.#turn;
    this.#host.time.after(this.#host.settings.clientTimeoutMs, () => {
      if (turn === this.#turn) this.#finish('clientTimeout');
    });
    this.#attempt(operation, ask, turn);
  }

  #choose(): Ask {
    const { settings } = this.#host;
    const key = this.#keys[this.#prng.int(this.#keys.length)]!;
    const value = `${this.#number}.${this.#ledger.operations.length}`;
    if (this.#prng.float() < settings.compactions) {
      const revision = Math.max(1, this.#newestRevision - this.#prng.int(20));
      return { what: `compact ${revision}`, request: { compaction: { revision, physical: false } } };
    }
    if (this.#prng.float() < settings.leases) return this.#chooseLease(value);
    const dice = this.#prng.int(100);
    if (dice < 30) return { what: `put ${key}=${value}`, request: { put: putOf(key, value) } };
    if (dice < 38) return { what: `delete ${key}`, request: { delete_range: deleteOf(key) } };
    if (dice < 65) {
      const other = this.#keys[this.#prng.int(this.#keys.length)]!;
      const keys = dice < 50 || other === key ? [key] : [key, other];
      const expected = this.#known.get(key);
      return { what: `cas ${keys} ${expected}->${value}`, request: { txn: casOf(keys, expected, value) }, keys };
    }
    if (dice < 70) {
      const revision = Math.max(1, this.#newestRevision - this.#prng.int(30));
      return { what: `past ${key}@${revision} ${value}`, request: { txn: pastOf(key, revision, value) } };
    }
    return { what: dice < 95 ? 'read' : 'local read', local: dice >= 95 };
  }

  #chooseLease(value: string): Ask {
    const lease = this.#ownLeases[0];
    const dice = this.#prng.int(10);
    if (lease === undefined || dice === 0) {
      const ID = this.#prng.bigint63();
      const TTL = BigInt(LEASE_TTL_SECONDS[this.#prng.int(LEASE_TTL_SECONDS.length)]!);
      this.#ownLeases = [ID, ...this.#ownLeases].slice(0, 2);
      return { what: `grant ${ID} ${TTL}`, request: { lease_grant: { ID, TTL } } };
    }
    if (dice === 1) {
      this.#ownLeases.shift();
      this.#leases.revoking(lease);
      return { what: `revoke ${lease}`, request: { lease_revoke: { ID: lease } } };
    }
    if (dice < 6) return { what: `renew ${lease}`, lease: { id: lease, renew: dice > 2 } };
    const key = `l${this.#number}`;
    return { what: `put ${key} on ${lease}`, request: { put: putOf(key, value, lease) } };
  }

  #attempt(operation: Operation, ask: Ask, turn: number): void {
    const member = this.#target;
    this.#host.time.after(WIRE_MS, () => {
      if (turn !== this.#turn) return;
      // A learner serves nothing but local reads: etcd's clients are told so.
      const serves = member.node !== undefined && (operation.local || !member.node.status().isLearner);
      if (!member.alive || !serves) this.#elsewhere(operation, ask, turn);
      else member.enter(() => this.#ask(member, operation, ask, turn));
    });
  }

  #elsewhere(operation: Operation, ask: Ask, turn: number): void {
    this.#target = this.#pick();
    this.#host.time.after(RETRY_MS, () => {
      if (turn === this.#turn) this.#attempt(operation, ask, turn);
    });
  }

  /** Runs on the member. Its answer travels back, unless the member dies meanwhile. */
  #ask(member: Member, operation: Operation, ask: Ask, turn: number): void {
    const reply: Reply = (text, take) => {
      member.later(WIRE_MS, () => {
        if (turn !== this.#turn) return;
        if (HARMLESS.includes(text)) this.#elsewhere(operation, ask, turn);
        else take();
      });
    };
    if (ask.lease !== undefined) this.#askLease(member, operation, ask.lease, reply);
    else if (ask.request === undefined) this.#read(member, operation, reply);
    else this.#write(member, operation, ask.request, reply);
  }

  #write(member: Member, operation: Operation, request: ProposedRequest, reply: Reply): void {
    for (let copy = 0; copy < (this.#host.bug.proposals ?? 1); copy++) {
      const own = { ...request };
      member.node!.propose(own, (result) => {
        const refusal = result instanceof RosterError ? result.code : '';
        reply(refusal, () => {
          if (OPEN.includes(refusal)) this.#finish(refusal);
          else this.#written(operation, resultText(result));
        });
      });
      const { id } = own as { id?: bigint };
      if (id !== undefined) operation.requestIds.push(id);
    }
  }

  #read(member: Member, operation: Operation, reply: Reply): void {
    const answer = (error?: RosterError) => {
      if (error !== undefined) {
        reply(error.code, () => this.#finish(error.code));
        return;
      }
      const { seen, revision } = readAll(member);
      reply('', () => this.#saw(operation, seen, revision));
    };
    const node = member.node!;
    if (operation.local) answer();
    else if (this.#host.bug.read !== undefined) this.#host.bug.read(answer);
    else node.linearizableRead(answer);
  }

  #askLease(
    member: Member,
    { calledMs }: Operation,
    { id, renew }: { id: bigint; renew: boolean },
    reply: Reply,
  ): void {
    const told = (seconds: number | RosterError) => {
      reply(seconds instanceof RosterError ? seconds.code : '', () => {
        if (seconds instanceof RosterError) return this.#finish(seconds.code);
        if (seconds > 0) this.#leases.promised(id, calledMs, seconds, renew);
        this.#finish(renew ? 'renew' : 'timeToLive');
      });
    };
    if (renew) member.node!.renewLease(id, told);
    else member.node!.leaseTimeToLive(id, false, (life) => told(life instanceof RosterError ? life : Number(life.TTL)));
  }

  #saw(operation: Operation, seen: Map<string, string>, revision: number): void {
    for (const key of this.#keys) {
      this.#known.set(key, seen.get(key));
      if (!seen.has(key)) seen.set(key, MISSING);
    }
    operation.seen = seen;
    operation.revision = revision;
    operation.returnedAt = ++this.#ledger.moment;
    this.#newestRevision = Math.max(this.#newestRevision, revision);
    this.#finish(operation.local ? 'localRead' : 'read');
  }

  #written(operation: Operation, result: string): void {
    operation.result = result;
    operation.returnedAt = ++this.#ledger.moment;
    const answer = JSON.parse(result) as { header?: { revision: number }; refused?: string };
    operation.revision = answer.header?.revision ?? 0;
    this.#newestRevision = Math.max(this.#newestRevision, operation.revision);
    const { put } = operation.request!;
    if (put !== undefined && answer.refused === undefined) this.#known.set(put.key, Buffer.from(put.value).toString());
    this.#finish(`done ${operation.what.split(' ')[0]}${answer.refused === undefined ? '' : ` ${answer.refused}`}`);
  }

  #finish(outcome: string): void {
    this.#turn++;
    this.#host.tally.count(outcome);
    this.#host.tally.note(this.#host.time.nowMs, 100 + this.#number, `${outcome} @${this.#target.id}`);
    // Who gets no answer tries another member.
    if (outcome === 'clientTimeout' || OPEN.includes(outcome)) this.#target = this.#pick();
    this.start();
  }
}
