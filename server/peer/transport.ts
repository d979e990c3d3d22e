/**
 * The sending side of the traffic between members: two connections to each, one for snapshots, one for the rest. Owns
 * who is known and where; a message to anybody else is dropped. Receiving is server.ts.
 */
import { laneOf, type PeerMessage } from '../../core/node/peer-message.ts';
import type { Pace, Transport } from '../../core/node/world.ts';
import { assert } from '../../core/util/assert.ts';
import type { Logger } from '../config/log.ts';
import type { Identity } from '../rpc/context.ts';
import type { Tls } from '../tls/tls.ts';
import { type Lane, removedText } from './handshake.ts';
import { type PeerLimits, peerLimits } from './limits.ts';
import { encodeFrame, isUrgent } from './peer-frame.ts';
import { PeerLink } from './peer-link.ts';

/** A member as the transport knows it. */
export interface PeerAddress {
  readonly id: bigint;
  /** Tried in turn. */
  readonly peerUrls: readonly string[];
}

export interface PeerTransportOptions {
  readonly identity: Identity;
  /** For https:// URLs. */
  readonly tls?: Tls | undefined;
  readonly log: Logger;
  /**
   * Messages to the member have been or are being lost: Raft should probe it. At most once per turn of the event loop and
   * connection, and never from within `send`. About snapshots' contents nothing is said: who waits for them asks again.
   */
  readonly onUnreachable: (id: bigint) => void;
  /** The cluster says that this member has been removed from it: the server should stop, with this text. Called once. */
  readonly onRemoved: (text: string) => void;
  readonly limits?: Partial<PeerLimits>;
}

/** What went to one member, since it has been known. */
export interface SentCounters {
  /** Given to a socket. */
  sentMessages: number;
  sentBytes: number;
  /** Messages that were dropped for want of a connection or of room. */
  sendFailures: number;
  dialsFailed: number;
  disconnects: number;
  /** Messages and bytes waiting. */
  waitingMessages: number;
  waitingBytes: number;
  /** Open connections: 0 to 2. */
  connections: number;
  /** Between ping and pong, the last time; 0 before. */
  roundTripMs: number;
}

type Peer = Readonly<Record<Lane, PeerLink>>;

export class PeerTransport implements Transport {
  readonly #options: PeerTransportOptions;
  readonly #limits: PeerLimits;
  readonly #peers = new Map<bigint, Peer>();
  readonly #ending = new Set<Promise<unknown>>();
  readonly #ticker: NodeJS.Timeout;
  #removed = false;
  #closed = false;

  constructor(options: PeerTransportOptions) {
    this.#options = options;
    this.#limits = peerLimits(options.limits);
    this.#ticker = setInterval(() => this.#tick(), this.#limits.pingIntervalMs);
  }

  /**
   * All members of the cluster, from now on. New ones are dialed, those with other URLs reached there, connections to those
   * that are gone ended; this member itself is passed over.
   */
  setMembers(members: readonly PeerAddress[]): void {
    if (this.#closed) return;
    const others = new Map(
      members.filter(({ id }) => id !== this.#options.identity.memberId).map((one) => [one.id, one]),
    );
    for (const [id, peer] of this.#peers) {
      if (others.has(id)) continue;
      this.#peers.delete(id);
      const ending: Promise<unknown> = Promise.all([peer.stream.close(), peer.bulk.close()]);
      this.#ending.add(ending);
      void ending.then(() => this.#ending.delete(ending));
    }
    for (const { id, peerUrls } of others.values()) {
      const peer = this.#peers.get(id);
      if (peer === undefined) this.#peers.set(id, this.#connect(id, peerUrls));
      else for (const link of [peer.stream, peer.bulk]) link.setUrls(peerUrls);
    }
  }

  /** Never fails and never calls back from within: what cannot be sent is lost, as {@link Transport} allows. */
  send(messages: readonly PeerMessage[], pace: Pace = 'soon'): void {
    for (const message of messages) {
      assert(message.from === this.#options.identity.memberId, 'a message says whose it is');
      const link = this.#peers.get(message.to)?.[laneOf(message)];
      link?.send(encodeFrame(message), isUrgent(message), pace);
    }
  }

  /** Since when messages reach the member without a break, on the clock of `performance.now()`; `undefined`: they do not. */
  activeSince(id: bigint): number | undefined {
    return this.#peers.get(id)?.stream.openSinceMs;
  }

  /** By member. */
  counters(): Map<bigint, SentCounters> {
    return new Map([...this.#peers].map(([id, peer]) => [id, countersOf(peer)]));
  }

  /** Sends what the connections take at once, ends them, and waits for that, not for long. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#ticker);
    const links = [...this.#peers.values()].flatMap(({ stream, bulk }) => [stream, bulk]);
    await Promise.all([...this.#ending, ...links.map((link) => link.close())]);
    this.#peers.clear();
  }

  #tick(): void {
    const nowMs = performance.now();
    for (const { stream, bulk } of this.#peers.values()) {
      stream.tick(nowMs);
      bulk.tick(nowMs);
    }
  }

  #connect(to: bigint, urls: readonly string[]): Peer {
    const { identity, tls, log, onUnreachable } = this.#options;
    const link = (lane: Lane) => {
      const onLoss = lane === 'stream' ? () => onUnreachable(to) : () => {};
      const onRemoved = () => this.#onRemoved();
      return new PeerLink({ identity, tls, limits: this.#limits, log, to, lane, onLoss, onRemoved }, urls);
    };
    return { stream: link('stream'), bulk: link('bulk') };
  }

  #onRemoved(): void {
    if (this.#removed || this.#closed) return;
    this.#removed = true;
    this.#options.onRemoved(removedText(this.#options.identity.memberId));
  }
}

function countersOf({ stream, bulk }: Peer): SentCounters {
  return {
    sentMessages: stream.sentMessages + bulk.sentMessages,
    sentBytes: stream.sentBytes + bulk.sentBytes,
    sendFailures: stream.dropped + bulk.dropped,
    dialsFailed: stream.dialsFailed + bulk.dialsFailed,
    disconnects: stream.disconnects + bulk.disconnects,
    waitingMessages: stream.waiting.messages + bulk.waiting.messages,
    waitingBytes: stream.waiting.bytes + bulk.waiting.bytes,
    connections: [stream, bulk].filter((link) => link.openSinceMs !== undefined).length,
    roundTripMs: stream.roundTripMs,
  };
}
