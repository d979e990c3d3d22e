/**
 * Watching clients: each follows a range of keys on one member's hub, and when that member dies, or just so, goes on by
 * revision on another. What it was sent is judged by watch-check.ts.
 */
import type { Prng } from '../../core/util/prng.ts';
import type { WatchStream } from '../../core/watch/watch-stream.ts';
import { defaults } from '../../core/wire/binary.ts';
import { WatchCreateRequest, type WatchResponse } from '../../core/wire/messages.ts';
import type { Host } from './host.ts';
import type { Member } from './member.ts';
import { WatchLog } from './watch-check.ts';

const WIRE_MS = 2;
const LOOK_MS = 150;
const SLOW_MS = 200;

export class Watching {
  readonly log: WatchLog;
  readonly #host: Host;
  readonly #prng: Prng;
  #member: Member | undefined;
  #node: Member['node'];
  #stream: WatchStream | undefined;
  /** Answers of earlier streams are not heard any more. */
  #session = 0;
  calm = false;
  /** Who can be expected to tell everything; undefined: whoever there is. */
  #settledOn: readonly Member[] | undefined;

  constructor(number: number, host: Host, prng: Prng) {
    this.#host = host;
    this.#prng = prng;
    const [key, end] = number % 2 === 0 ? ['\0', '\0'] : ['k0', prng.int(2) === 0 ? '' : 'k3'];
    this.log = new WatchLog(`watcher ${number}`, key!, end!, 1 + prng.int(3));
  }

  start(): void {
    this.#host.time.after(this.#prng.float() * LOOK_MS, () => {
      this.#look();
      this.start();
    });
  }

  /**
   * From now on it stays with members of the cluster: one that was removed while it was down, or was to join and never was
   * told, has nothing to say, and a client would be told that it knows no leader.
   */
  settle(members: readonly Member[]): void {
    this.#settledOn = members;
  }

  /** Now and then: is the member still there, shall it be another, how far has it got? */
  #look(): void {
    const outside = this.#member !== undefined && this.#settledOn?.includes(this.#member) === false;
    const gone = outside || this.#node === undefined || this.#member?.node !== this.#node;
    if (gone || (!this.calm && this.#prng.int(30) === 0)) {
      this.#host.tally.count('watchResumed');
      this.#follow();
    } else if (this.#prng.int(4) === 0) this.#member?.enter(() => this.#stream?.requestProgress());
  }

  #follow(): void {
    const session = ++this.#session;
    const { log } = this;
    const [stream, old] = [this.#stream, this.#member];
    if (stream !== undefined) old?.enter(() => stream.close());
    this.#stream = undefined;
    const members = this.#settledOn ?? this.#host.members;
    const member = members[this.#prng.int(members.length)]!;
    this.#member = member;
    this.#node = member.node;
    member.enter(() => {
      if (member.machine === undefined || session !== this.#session) return;
      let told = false;
      const opened = member.machine.hub.stream({
        send: (response) => {
          told ||= response.created;
          member.later(WIRE_MS, () => session === this.#session && this.#took(response, opened));
          if (!told || this.calm || this.#prng.float() >= this.#host.settings.slowReader) return true;
          this.#host.tally.count('watcherSlow');
          member.later(SLOW_MS, () => opened.drained());
          return false;
        },
      });
      this.#stream = opened;
      const start_revision = log.next + (this.#host.bug.resumeSkips ?? 0);
      opened.create({ ...defaults(WatchCreateRequest), key: log.key, range_end: log.rangeEnd, start_revision });
    });
  }

  #took(response: WatchResponse, stream: WatchStream): void {
    if (this.#host.bug.watchResponse?.(response) === false) return;
    if (response.created) return;
    if (response.canceled) {
      stream.close();
      this.#member = undefined;
      if (response.compact_revision > 0) this.log.compacted(response.compact_revision);
      this.#host.tally.count('watchCompacted');
      return;
    }
    this.#host.tally.count(response.events.length > 0 ? 'watchEvents' : 'watchProgress');
    this.log.took(response);
  }
}
