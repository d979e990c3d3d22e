/**
 * Who runs the cluster: adds members as learners or voters, promotes, removes and replaces them, through any member, and
 * starts and stops the processes that belong to them. Acts on what the cluster says, not on what a checker knows, but for
 * the processes: those follow the configuration.
 */
import { RosterError } from '../../core/errors.ts';
import type { ApplyResult } from '../../core/node/machine.ts';
import type { Node } from '../../core/node/node.ts';
import { changed, confChangeOf } from '../../core/raft/conf-change.ts';
import type { ConfState } from '../../core/raft/messages.ts';
import type { Prng } from '../../core/util/prng.ts';
import { defaults } from '../../core/wire/binary.ts';
import { Member as MemberRow } from '../../core/wire/messages.ts';
import type { MemberChange } from '../../core/wire/stored.ts';
import type { Host } from './host.ts';
import { type Member, peerUrl } from './member.ts';

/** Processes at a time, those of removed members included. */
const PROCESSES_MAX = 8;
const VOTERS_MAX = 5;
/** Asked for at the same time; the cluster makes one after the other. */
const CHANGES_MAX = 2;
/** A removed member that does not notice is stopped after this at most: until then it is a ghost. */
const GHOST_MS_MAX = 8_000;
const LOOK_MS = 250;
/** A change that was not answered may wait for so long in a member that stands still. */
const OPEN_MS = 20_000;
const FIRST_NEW_ID = 11n;

export class Operator {
  readonly #host: Host;
  readonly #prng: Prng;
  #nextId = FIRST_NEW_ID;
  /** Changes that are under way. */
  #busy = 0;
  #over = false;
  /** Members that are being added; what came of it is not known yet. */
  readonly #adding = new Set<bigint>();
  readonly #ghosts = new Set<Member>();
  /** Changes asked for of which nobody knows whether they will be made. */
  readonly open = new Set<Omit<MemberChange, 'id'>>();

  constructor(host: Host, prng: Prng) {
    this.#host = host;
    this.#prng = prng;
  }

  start(): void {
    if (this.#host.settings.memberChangeMs === 0) return;
    this.#look();
    this.#plan();
  }

  /** Changes nothing more; processes still follow the configuration. */
  end(): void {
    this.#over = true;
    this.#follow();
    for (const ghost of this.#ghosts) if (this.#prng.int(2) === 0) this.#host.discard(ghost);
  }

  /** The last ghosts are gone too. */
  rest(): void {
    for (const ghost of this.#ghosts) this.#host.discard(ghost);
  }

  #plan(): void {
    this.#host.time.after(this.#prng.float() * 2 * this.#host.settings.memberChangeMs, () => {
      if (this.#over) return;
      if (this.#busy < CHANGES_MAX) this.#act();
      this.#plan();
    });
  }

  #look(): void {
    this.#host.time.after(LOOK_MS, () => {
      this.#follow();
      this.#look();
    });
  }

  /** Every member of the configuration has a process, every other process ends sooner or later. */
  #follow(): void {
    const { conf, entries } = this.#host.state;
    if (conf === undefined) return;
    const ids = new Set([...conf.voters, ...conf.voters_outgoing, ...conf.learners, ...conf.learners_next]);
    if (this.#over) for (const id of this.#coming(conf)) ids.add(id);
    for (const id of this.#adding) {
      if (!ids.has(id)) continue;
      this.#adding.delete(id);
      this.#host.newMember(id).start();
    }
    for (const member of this.#host.members) {
      const gone = !ids.has(member.id) && entries.some(({ change }) => change?.remove === member.id);
      if (!gone || this.#ghosts.has(member)) continue;
      this.#ghosts.add(member);
      if (this.#over) continue;
      this.#host.time.after(this.#prng.float() * GHOST_MS_MAX, () => this.#host.discard(member));
    }
  }

  /** Voters that somebody's log has already: without them the change may never be made. */
  #coming(conf: ConfState): bigint[] {
    const { raft, state } = this.#host;
    return raft.changesAfter(state.confIndex).flatMap((entry) => {
      const next = changed(conf, confChangeOf(entry));
      return next instanceof Error ? [] : next.voters;
    });
  }

  #pick<T>(from: readonly T[]): T | undefined {
    return from.length === 0 ? undefined : from[this.#prng.int(from.length)];
  }

  /** One change, as any member knows the cluster. */
  #act(): void {
    const through = this.#pick(this.#host.members.filter(({ node }) => node !== undefined));
    if (through === undefined) return;
    through.enter(() => {
      const { node, machine } = through;
      if (node === undefined || machine === undefined) return;
      const { voters, learners } = machine.confState;
      const change = this.#choose(voters, learners);
      if (change === undefined) {
        this.#update(node, this.#pick([...voters, ...learners])!);
        return;
      }
      this.#busy++;
      this.open.add(change);
      let waits = true;
      const over = () => {
        if (waits) this.#busy--;
        waits = false;
      };
      const { run } = through;
      node.changeMembers(change, (result) => {
        over();
        this.#told(change, result);
      });
      // A process that dies says nothing.
      const look = () => {
        if (through.run !== run) {
          if (waits) this.#forgetLater(change);
          over();
        } else if (waits) this.#host.time.after(LOOK_MS, look);
      };
      look();
    });
  }

  /** What is changed of a member besides its vote, and of the cluster. */
  #update(node: Node, ID: bigint): void {
    const cluster_version = { version: `3.${this.#prng.int(9)}.0` };
    const member_update = { ID, peerURLs: [`http://m${ID}-${this.#prng.int(9)}:2380`] };
    const request = this.#prng.int(2) === 0 ? { cluster_version } : { member_update };
    node.propose(request, (result) => this.#host.tally.count(result instanceof Error ? 'updateFailed' : 'updated'));
  }

  #told(change: Omit<MemberChange, 'id'>, result: ApplyResult): void {
    const what = change.add?.isLearner === true ? 'addLearner' : Object.keys(change)[0]!;
    const outcome = result instanceof RosterError ? `refused:${result.code}` : what;
    this.#host.tally.count(`member:${outcome}`);
    this.#host.tally.note(this.#host.time.nowMs, 0, `member change ${what}: ${outcome}`);
    const isOpen = result instanceof RosterError && (result.code === 'Timeout' || result.code === 'Stopped');
    if (isOpen) this.#forgetLater(change);
    else this.open.delete(change);
  }

  #forgetLater(change: Omit<MemberChange, 'id'>): void {
    this.#host.time.after(OPEN_MS, () => this.open.delete(change));
  }

  #choose(voters: readonly bigint[], learners: readonly bigint[]): Omit<MemberChange, 'id'> | undefined {
    const rotten = this.#host.members.find(({ disks }) => disks.rotten);
    if (rotten !== undefined && voters.includes(rotten.id)) return { remove: rotten.id };
    const dice = this.#prng.int(12);
    if (dice >= 10) return undefined;
    // Nobody changes who votes while a member is fetching its log: that could be one too many (refill.ts).
    const isHurt = this.#host.members.some(({ refilling }) => refilling);
    const room = this.#host.members.length + this.#adding.size < PROCESSES_MAX && voters.length < VOTERS_MAX;
    if (dice < 3 && room) return this.#add(true);
    if (dice < 4 && room) return this.#add(isHurt);
    if (dice < 7 && learners.length > 0 && !isHurt) return { promote: this.#pick(learners)! };
    // It may have become a voter meanwhile.
    if (dice < 8 && learners.length > 0 && !isHurt) return { remove: this.#pick(learners)! };
    if (voters.length > this.#host.settings.votersMin && !isHurt) return { remove: this.#pick(voters)! };
    return room ? this.#add(this.#prng.int(2) === 0 || isHurt) : undefined;
  }

  #add(isLearner: boolean): Omit<MemberChange, 'id'> {
    const ID = this.#nextId++;
    this.#adding.add(ID);
    return { add: { ...defaults(MemberRow), ID, peerURLs: [peerUrl(ID)], isLearner } };
  }
}
