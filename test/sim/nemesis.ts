/** The one who breaks things, every now and then, in the ways this run has; and who ends it all. */
import type { Prng } from '../../core/util/prng.ts';
import type { Host } from './host.ts';
import type { Member } from './member.ts';
import type { Network } from './network.ts';
import { CRASH_POINTS } from './observed.ts';
import type { Fault } from './settings.ts';

const RESTART_MS = 2_000;

export class Nemesis {
  readonly #host: Host;
  readonly #network: Network;
  readonly #members: readonly Member[];
  readonly #prng: Prng;
  #mends: (() => void)[] = [];
  #over = false;
  /** Members that are to stay dead, once it is over. */
  readonly staysDead = new Set<Member>();
  /** Each is given a member picked by chance. */
  readonly #strokes: Readonly<Record<Fault, (member: Member) => void>> = {
    split: () => this.#split(),
    cutPair: (member) => this.#cut([member], [this.#pick()], 'both'),
    cutOneWay: (member) => this.#cut([member], this.#others(member), this.#coin() ? 'there' : 'back'),
    isolateLeader: () => {
      const leader = this.#leader();
      this.#cut([leader], this.#others(leader), 'both');
    },
    powerLoss: (member) => member.crash(true),
    kill: (member) => member.crash(false),
    crashInTurn: (member) => {
      member.crashAt = CRASH_POINTS[this.#prng.int(CRASH_POINTS.length)];
    },
    crashLeader: () => this.#leader().crash(this.#coin()),
    crashAll: () => {
      for (const member of this.#members) member.crash(true);
    },
    pause: (member) => this.#pause(member),
    pauseLeader: () => this.#pause(this.#leader()),
    syncError: (member) => member.failSync(),
  };

  constructor(host: Host, network: Network, members: readonly Member[], prng: Prng) {
    this.#host = host;
    this.#network = network;
    this.#members = members;
    this.#prng = prng;
  }

  start(): void {
    const { faults, strokeMs } = this.#host.settings;
    if (faults.length === 0) return;
    this.#host.time.after(this.#prng.float() * 2 * strokeMs, () => {
      if (this.#over) return;
      this.#strike(faults[this.#prng.int(faults.length)]!);
      this.start();
    });
  }

  /** All faults end; a minority stays dead. */
  end(): void {
    this.#over = true;
    for (const mend of this.#mends.splice(0)) mend();
    this.#network.calm = true;
    for (let i = 0; i < this.#host.settings.staysDead; i++) this.staysDead.add(this.#pick());
    for (const member of this.#members) {
      member.crashAt = undefined;
      if (member.paused) member.resume();
      if (this.staysDead.has(member)) member.crash(this.#coin());
      else member.start();
    }
  }

  /** A member has died: somebody will start it again. */
  crashed(member: Member): void {
    if (this.staysDead.has(member)) return;
    this.#host.time.after(this.#prng.float() * RESTART_MS, () => {
      if (!this.staysDead.has(member)) member.start();
    });
  }

  #coin(): boolean {
    return this.#prng.int(2) === 0;
  }

  #pick(): Member {
    return this.#members[this.#prng.int(this.#members.length)]!;
  }

  #leader(): Member {
    return this.#members.find((member) => member.node?.status().isLeader === true) ?? this.#pick();
  }

  #strike(fault: Fault): void {
    this.#host.tally.count(`nemesis:${fault}`);
    this.#host.tally.note(this.#host.time.nowMs, 0, fault);
    this.#strokes[fault](this.#pick());
  }

  #others(member: Member): Member[] {
    return this.#members.filter((other) => other !== member);
  }

  #split(): void {
    const one = this.#members.filter(() => this.#coin());
    const other = this.#members.filter((member) => !one.includes(member));
    this.#cut(one, other, 'both');
  }

  #lasting(): number {
    return this.#prng.float() * this.#host.settings.lastingMs;
  }

  #cut(from: readonly Member[], to: readonly Member[], ways: 'there' | 'back' | 'both'): void {
    const mends: (() => void)[] = [];
    for (const a of from) {
      for (const b of to) {
        if (a === b) continue;
        if (ways !== 'back') mends.push(this.#network.cut(a.id, b.id));
        if (ways !== 'there') mends.push(this.#network.cut(b.id, a.id));
      }
    }
    const mend = () => {
      for (const each of mends) each();
    };
    this.#mends.push(mend);
    this.#host.time.after(this.#lasting(), mend);
  }

  #pause(member: Member): void {
    if (!member.alive || member.paused) return;
    member.pause();
    this.#host.time.after(this.#lasting(), () => member.paused && member.resume());
  }
}
