/**
 * A connection that another member has opened to this one: frames in, messages out, each checked to be from that member
 * and for this one. Owns its socket. Never sends anything but pongs and the end.
 */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { RosterError } from '../../core/errors.ts';
import type { PeerMessage } from '../../core/node/peer-message.ts';
import type { Logger } from '../config/log.ts';
import { type Accepted, hexId, type Lane } from './handshake.ts';
import type { PeerLimits } from './limits.ts';
import { decodeFrame } from './peer-frame.ts';

/** What came from one member, since the start. */
export interface ReceivedCounters {
  receivedMessages: number;
  receivedBytes: number;
  /** Frames that were none, or of somebody else. Each has ended its connection. */
  receiveFailures: number;
}

export interface IncomingOptions {
  readonly self: bigint;
  readonly counters: ReceivedCounters;
  readonly limits: PeerLimits;
  readonly log: Logger;
  readonly onMessage: (message: PeerMessage) => void;
}

/** RFC 6455, 7.4.1; from 4000 on they are Roster's. */
export const CloseCode = {
  GOING_AWAY: 1001,
  UNSUPPORTED: 1003,
  INVALID: 1007,
  POLICY: 1008,
  REPLACED: 4009,
  REMOVED: 4010,
} as const;

export class IncomingConnection {
  readonly from: bigint;
  readonly lane: Lane;
  readonly #options: IncomingOptions;
  readonly #socket: WebSocket;
  readonly #raw: Socket;
  /** Bytes read at the last tick, and the ticks since they were fewer. */
  #bytesRead = 0;
  #intervalsSilent = 0;
  #ending: NodeJS.Timeout | undefined;

  constructor(accepted: Accepted, socket: WebSocket, raw: Socket, options: IncomingOptions) {
    this.from = accepted.from;
    this.lane = accepted.lane;
    this.#socket = socket;
    this.#raw = raw;
    this.#options = options;
    socket.on('message', (data, isBinary) => this.#frame(data as Buffer, isBinary));
    // What is no WebSocket frame at all, or too long a one: ws has said so to the other side.
    socket.on('error', (error) => this.#refuse(CloseCode.INVALID, error.message));
    socket.once('close', () => clearTimeout(this.#ending));
  }

  /** Calls `closed` when nothing comes any more. */
  onClose(closed: () => void): void {
    this.#socket.once('close', closed);
  }

  /** To be called every `pingIntervalMs`: the dialing side pings as often. */
  tick(): void {
    const { bytesRead } = this.#raw;
    this.#intervalsSilent = bytesRead === this.#bytesRead ? this.#intervalsSilent + 1 : 0;
    this.#bytesRead = bytesRead;
    if (this.#intervalsSilent < this.#options.limits.silentIntervalsMax) return;
    this.#options.log.warn({ member: hexId(this.from), lane: this.lane }, 'a member is silent: cutting its connection');
    this.#socket.terminate();
  }

  /** Takes no more frames and says why; cuts the connection when that takes longer than `closeGraceMs`. */
  end(code: number, reason: string): void {
    if (this.#ending !== undefined) return;
    this.#ending = setTimeout(() => this.#socket.terminate(), this.#options.limits.closeGraceMs);
    this.#socket.close(code, reason);
  }

  #frame(data: Buffer, isBinary: boolean): void {
    if (this.#ending !== undefined) return;
    if (!isBinary) {
      this.#refuse(CloseCode.UNSUPPORTED, 'a text frame');
      return;
    }
    let messages: PeerMessage[];
    try {
      messages = decodeFrame(data, this.#options.limits.frameMessagesMax);
    } catch (error) {
      if (!(error instanceof RosterError)) throw error;
      this.#refuse(CloseCode.INVALID, error.message);
      return;
    }
    const { counters, onMessage } = this.#options;
    counters.receivedBytes += data.length;
    for (const message of messages) {
      if (!this.#isProper(message)) {
        this.#refuse(CloseCode.POLICY, 'a message of another member, or for another one');
        return;
      }
      counters.receivedMessages++;
      onMessage(message);
    }
  }

  #isProper({ from, to, raft }: PeerMessage): boolean {
    if (from !== this.from || to !== this.#options.self) return false;
    return raft === undefined || (raft.from === from && raft.to === to);
  }

  #refuse(code: number, reason: string): void {
    if (this.#ending !== undefined) return;
    const { counters, log } = this.#options;
    counters.receiveFailures++;
    log.warn(
      { member: hexId(this.from), lane: this.lane, reason },
      'a member sent what cannot be: closing its connection',
    );
    this.end(code, reason.slice(0, 100));
  }
}
