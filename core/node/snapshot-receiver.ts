/**
 * A snapshot on its way to this node: asks for its content piece by piece, from where it stands, whatever was lost on
 * the way, and hands it over when it is whole. Takes one at a time. Never puts anything in force.
 */
import type { RosterError } from '../errors.ts';
import type { Message } from '../raft/messages.ts';
import type { Crc32 } from '../util/crc32.ts';
import type { StateWriter } from './machine.ts';
import type { Chunk, ChunkRequest, PeerMessage } from './peer-message.ts';
import { CHUNKS_PER_REQUEST, type TransferCounts } from './snapshot-sender.ts';

/** Ticks without a chunk after which it is asked for again. */
const ASK_AGAIN_TICKS = 3;
/** Ticks without a chunk after which the sender is taken for gone. */
export const SNAPSHOT_SILENT_TICKS = 50;

interface Incoming {
  readonly name: bigint;
  readonly message: Message;
  readonly writer: StateWriter;
  from: string;
  crc: number;
  lastChunkTick: number;
  lastAskedTick: number;
  /** Chunks that the last request still brings. */
  expected: number;
  complete: boolean;
}

/** A snapshot whose content is all here. */
export interface ReceivedSnapshot {
  readonly message: Message;
  readonly writer: StateWriter;
}

export interface SnapshotReceiverWorld {
  receive(): StateWriter;
  send(message: PeerMessage): void;
  crc32: Crc32;
  /** Everything has arrived: from now on it is the caller's. */
  complete(received: ReceivedSnapshot): void;
}

export class SnapshotReceiver {
  readonly #world: SnapshotReceiverWorld;
  #incoming: Incoming | undefined;
  #tick = 0;
  readonly counts: TransferCounts = { succeeded: 0, failed: 0 };

  constructor(world: SnapshotReceiverWorld) {
    this.#world = world;
  }

  /** One is being received, or put in force. */
  get isUnderWay(): boolean {
    return this.#incoming !== undefined;
  }

  /** All of the content is here, and it is being put in force. */
  get isComplete(): boolean {
    return this.#incoming?.complete === true;
  }

  /** The leader offers a snapshot that this node needs. A later offer takes the place of what is under way. */
  offered(name: bigint, message: Message): void {
    const current = this.#incoming;
    if (current !== undefined) {
      if (current.complete || !isLater(name, message, current)) return;
      this.abandon();
    }
    const writer = this.#world.receive();
    const [lastChunkTick, lastAskedTick] = [this.#tick, this.#tick];
    const progress = { from: '', crc: 0, expected: 0, complete: false, lastChunkTick, lastAskedTick };
    this.#incoming = { name, message, writer, ...progress };
    this.#ask();
  }

  chunk(chunk: Chunk): void {
    const incoming = this.#incoming;
    if (incoming === undefined || incoming.complete || chunk.snapshot !== incoming.name) return;
    if (chunk.gone) {
      this.abandon();
      return;
    }
    // Another copy, or one from before a repeated request.
    if (chunk.from !== incoming.from) return;
    incoming.lastChunkTick = this.#tick;
    if (this.#world.crc32(chunk.rows, incoming.crc) !== chunk.crc) {
      this.#ask();
      return;
    }
    const refusal: RosterError | undefined = incoming.writer.write(chunk.rows);
    if (refusal !== undefined) {
      this.abandon();
      return;
    }
    incoming.crc = chunk.crc;
    incoming.from = chunk.next;
    incoming.expected--;
    if (chunk.last) {
      incoming.complete = true;
      this.counts.succeeded++;
      this.#send({ complete: true });
      this.#world.complete({ message: incoming.message, writer: incoming.writer });
    } else if (incoming.expected === 0) this.#ask();
  }

  tick(): void {
    this.#tick++;
    const incoming = this.#incoming;
    if (incoming === undefined) return;
    if (incoming.complete) this.#send({ complete: true });
    else if (incoming.writer.congested) {
      incoming.lastChunkTick = this.#tick;
      this.#send({ paused: true });
    } else if (this.#tick - incoming.lastChunkTick >= SNAPSHOT_SILENT_TICKS) this.abandon();
    else if (incoming.expected <= 0 || this.#tick - incoming.lastChunkTick >= ASK_AGAIN_TICKS) this.#askAgain();
  }

  /** What was received is in force, or not wanted. The sender sees the former by what Raft answers. */
  done(): void {
    this.#incoming = undefined;
  }

  /** Gives up what is under way, and says so. Not once it is complete. */
  abandon(): void {
    const incoming = this.#incoming;
    if (incoming === undefined || incoming.complete) return;
    this.counts.failed++;
    this.#send({ abandoned: true });
    incoming.writer.discard();
    this.#incoming = undefined;
  }

  #askAgain(): void {
    if (this.#tick - this.#incoming!.lastAskedTick >= ASK_AGAIN_TICKS || this.#incoming!.expected <= 0) this.#ask();
  }

  /** Unless the disk is behind: then the next tick asks. */
  #ask(): void {
    const incoming = this.#incoming!;
    if (incoming.writer.congested) {
      incoming.expected = 0;
      return;
    }
    incoming.lastAskedTick = this.#tick;
    incoming.expected = CHUNKS_PER_REQUEST;
    this.#send({});
  }

  #send(changes: Partial<ChunkRequest>): void {
    const { name, message, from, crc } = this.#incoming!;
    const chunk_request = { snapshot: name, from, crc, complete: false, abandoned: false, paused: false, ...changes };
    this.#world.send({ from: message.to, to: message.from, snapshot: 0n, chunk_request });
  }
}

/** One leader's names go up; it may have been overtaken by its own earlier offer. */
function isLater(name: bigint, { term }: Message, current: Incoming): boolean {
  return term > current.message.term || (term === current.message.term && name > current.name);
}
