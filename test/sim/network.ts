/**
 * The wires between members: loses, doubles, delays and reorders messages, and is cut as the nemesis says. Messages
 * travel encoded, as they do between processes. Keeps no promise about order, and none about delivery.
 */
import { PeerMessage } from '../../core/node/peer-message.ts';
import type { Prng } from '../../core/util/prng.ts';
import { decode, encode } from '../../core/wire/binary.ts';
import type { Settings } from './settings.ts';
import type { Tally } from './tally.ts';
import type { Timeline } from './timeline.ts';

/** Of so many messages into a cut wire one is noticed, as a broken connection is. */
const UNREACHABLE_TOLD = 20;

export class Network {
  /** `from>to` of wires that are cut, with how many cuts lie on them. */
  readonly #cuts = new Map<string, number>();
  readonly #settings: Settings;
  readonly #time: Timeline;
  readonly #tally: Tally;
  readonly #prng: Prng;
  readonly #deliver: (message: PeerMessage) => void;
  /** Told now and then by a sender that its messages do not arrive. */
  onUnreachable: (from: bigint, to: bigint) => void = () => {};
  /** No fault but delay any more. */
  calm = false;
  delivered = 0;

  constructor(settings: Settings, time: Timeline, tally: Tally, prng: Prng, deliver: (message: PeerMessage) => void) {
    this.#settings = settings;
    this.#time = time;
    this.#tally = tally;
    this.#prng = prng;
    this.#deliver = deliver;
  }

  send(message: PeerMessage): void {
    const bytes = encode(PeerMessage, message);
    const { loss, duplication } = this.#settings;
    if (this.isCut(message.from, message.to)) {
      this.#tally.count('messageCut');
      if (this.#prng.int(UNREACHABLE_TOLD) === 0) this.onUnreachable(message.from, message.to);
      return;
    }
    if (!this.calm && this.#prng.float() < loss) {
      this.#tally.count('messageLost');
      return;
    }
    this.#post(bytes);
    if (!this.calm && this.#prng.float() < duplication) {
      this.#tally.count('messageDoubled');
      this.#post(bytes);
    }
  }

  #post(bytes: Uint8Array): void {
    const { delayMs, jitterMs, spike, spikeMs } = this.#settings;
    let delay = delayMs + this.#prng.float() * (this.calm ? 0 : jitterMs);
    if (!this.calm && this.#prng.float() < spike) {
      this.#tally.count('messageLate');
      delay += this.#prng.float() * spikeMs;
    }
    this.#time.after(delay, () => {
      const message = decode(PeerMessage, bytes);
      // What was under way when the wire was cut is lost with it.
      if (this.isCut(message.from, message.to)) this.#tally.count('messageCut');
      else {
        this.delivered++;
        this.#deliver(message);
      }
    });
  }

  isCut(from: bigint, to: bigint): boolean {
    return (this.#cuts.get(`${from}>${to}`) ?? 0) > 0;
  }

  /** Cuts the wire in this direction; the returned function mends this cut. */
  cut(from: bigint, to: bigint): () => void {
    const wire = `${from}>${to}`;
    this.#cuts.set(wire, (this.#cuts.get(wire) ?? 0) + 1);
    let mended = false;
    return () => {
      if (!mended) this.#cuts.set(wire, (this.#cuts.get(wire) ?? 1) - 1);
      mended = true;
    };
  }
}
