/** The one who breaks things, every now and then, in the ways this run has; and who ends it all. */
import type { Prng } from '../../core/util/prng.ts';
import type { Host } from './host.ts';
import type { Member } from './member.ts';
import type { Network } from './network.ts';
import { CRASH_POINTS, INSTALL_POINTS } from './observed.ts';
import type { Fault } from './settings.ts';

const RESTART_MS = 2_000;
/** A member that was told to stop and has not is killed then. */
const STOP_MS_MAX = 15_000;

export class Nemesis {
  readonly #host: Host;
  readonly #network: Network;
  readonly #prng: Prng;
  #mends: (() => void)[] = [];
  #over = false;
  /** Members that are to stay dead, once it is over. */
  readonly staysDead = new Set<Member>();
  /** Each is given a member picked by chance, and says whether anything came of it. */
  readonly #strokes: Readonly<Record<Fault, (member: Member) => boolean>> = {
    split: () => this.#split(),
    cutPair: (member) => this.#cut([member], [this.#pick()], 'both'),
    cutOneWay: (member) => this.#cut([member], this.#others(member), this.#coin() ? 'there' : 'back'),
    isolateLeader: () => {
      const leader = this.#leader();
      return this.#cut([leader], this.#others(leader), 'both');
    },
    powerLoss: (member) => member.crash(true),
    kill: (member) => member.crash(false),
    crashInTurn: (member) => member.dieAt(CRASH_POINTS[this.#prng.int(CRASH_POINTS.length)]!),
    crashInInstall: (member) => {
      // Who was away for a while will need one.
      this.#cut([member], this.#others(member), 'both');
      return member.dieAt(INSTALL_POINTS[this.#prng.int(INSTALL_POINTS.length)]!);
    },
    crashLeader: () => this.#leader().crash(this.#coin()),
    crashAll: () => this.#members.map((member) => member.crash(true)).includes(true),
    pause: (member) => this.#pause(member),
    pauseLeader: () => this.#pause(this.#leader()),
    stallLeader: () => this.#stall(this.#leader()),
    syncError: (member) => member.failSync(),
    commitError: (member) => member.failCommit(),
    diskFull: (member) => this.#fill(member),
    diskStall: (member) => this.#stallDisk(member),
    bitRot: (member) => this.#rot(member),
    stop: (member) => this.#stop(this.#coin() ? member : this.#leader()),
    transfer: () => this.#transfer(),
  };

  constructor(host: Host, network: Network, prng: Prng) {
    this.#host = host;
    this.#network = network;
    this.#prng = prng;
  }

  get #members(): readonly Member[] {
    return this.#host.members;
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

  /** All faults end. Of the members, `mayStayDead` says who need not be there; some of those are not. */
  end(mayStayDead: (member: Member, dead: ReadonlySet<Member>) => boolean): void {
    this.#over = true;
    for (const mend of this.#mends.splice(0)) mend();
    this.#network.calm = true;
    for (const member of this.#members.filter(({ disks, refilling }) => disks.rotten && !refilling)) {
      if (mayStayDead(member, this.staysDead)) this.staysDead.add(member);
      else member.disks.restore();
    }
    for (let i = 0; i < this.#host.settings.staysDead; i++) {
      const member = this.#pick();
      if (mayStayDead(member, this.staysDead)) this.staysDead.add(member);
    }
    for (const member of [...this.#members]) {
      member.mend();
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
    return this.#members.find((member) => member.isLeader) ?? this.#pick();
  }

  #strike(fault: Fault): void {
    if (!this.#strokes[fault](this.#pick())) return;
    this.#host.tally.count(`fault:${fault}`);
    this.#host.tally.note(this.#host.time.nowMs, 0, fault);
  }

  #others(member: Member): Member[] {
    return this.#members.filter((other) => other !== member);
  }

  #split(): boolean {
    const one = this.#members.filter(() => this.#coin());
    const other = this.#members.filter((member) => !one.includes(member));
    return this.#cut(one, other, 'both');
  }

  #lasting(): number {
    return this.#prng.float() * this.#host.settings.lastingMs;
  }

  /** Undoes something after a while, or when it is all over. */
  #mendLater(mend: () => void): void {
    this.#mends.push(mend);
    this.#host.time.after(this.#lasting(), mend);
  }

  #cut(from: readonly Member[], to: readonly Member[], ways: 'there' | 'back' | 'both'): boolean {
    const mends: (() => void)[] = [];
    for (const a of from) {
      for (const b of to) {
        if (a === b) continue;
        if (ways !== 'back') mends.push(this.#network.cut(a.id, b.id));
        if (ways !== 'there') mends.push(this.#network.cut(b.id, a.id));
      }
    }
    if (mends.length === 0) return false;
    this.#mendLater(() => {
      for (const each of mends) each();
    });
    return true;
  }

  #pause(member: Member): boolean {
    if (!member.alive || member.paused) return false;
    member.pause();
    this.#mendLater(() => member.paused && member.resume());
    return true;
  }

  /** Wakes up from a pause and hears nobody: for a while it does not know that the others have gone on without it. */
  #stall(member: Member): boolean {
    if (!this.#pause(member)) return false;
    return this.#cut([member], this.#others(member), 'both');
  }

  #fill(member: Member): boolean {
    member.disks.fill();
    this.#mendLater(() => member.disks.free());
    return true;
  }

  #stallDisk(member: Member): boolean {
    member.disks.stallUntil(this.#host.time.nowMs + this.#lasting());
    return true;
  }

  /** The log of a minority may be lost at a time: the others have what was acknowledged. */
  #rot(member: Member): boolean {
    const forGood = this.#mayLoseLog(member);
    member.crash(this.#coin());
    member.disks.rot(forGood);
    return true;
  }

  /** Only one that the others can do without, by every configuration that may come before it is whole again. */
  #mayLoseLog(member: Member): boolean {
    const { members, state } = this.#host;
    if (state.conf === undefined) return false;
    // Who is being added has no process yet.
    const isLost = (id: bigint) => {
      const found = members.find((other) => other.id === id);
      return found === undefined || found === member || found.disks.rotten || found.refilling;
    };
    const isFew = (half: readonly bigint[]) => half.length === 0 || half.filter(isLost).length * 2 < half.length;
    return this.#host.configurations().every((conf) => isFew(conf.voters) && isFew(conf.voters_outgoing));
  }

  #stop(member: Member): boolean {
    if (member.node === undefined || member.paused) return false;
    member.stop();
    const { run } = member;
    this.#host.time.after(STOP_MS_MAX, () => member.run === run && member.crash(false));
    return true;
  }

  #transfer(): boolean {
    const to = this.#pick();
    const leader = this.#members.find((member) => member.isLeader);
    if (leader === undefined || leader === to) return false;
    leader.enter(() =>
      leader.moveLeader(to.id, (error) => this.#host.tally.count(error ? 'transferFailed' : 'transferred')),
    );
    return true;
  }
}
