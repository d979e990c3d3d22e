/**
 * Snapshots on their way to others: what Raft wants sent is offered under a name, and its content is read out for as
 * long as the receiver asks for it (paper section 7). Owns the readers, their number and their end. Content leaves in
 * chunks of bounded size, one per idle moment, each with the checksum of everything up to it.
 */
import type { Message } from '../raft/messages.ts';
import type { Crc32 } from '../util/crc32.ts';
import type { StateReader } from './machine.ts';
import type { Chunk, ChunkRequest, PeerMessage } from './peer-message.ts';
import type { NodeLimits } from './world.ts';

/** Chunks that answer one request. */
export const CHUNKS_PER_REQUEST = 16;
/** Members served at the same time; others wait, and are offered theirs again. */
export const SNAPSHOTS_OUT_MAX = 2;
/** Ticks without a word from the receiver after which it is given up. */
export const SNAPSHOT_IDLE_TICKS = 50;
/** Ticks between two offers that nobody has reacted to. */
const OFFER_AGAIN_TICKS = 5;

/** Of snapshots, in this process. */
export interface TransferCounts {
  succeeded: number;
  failed: number;
}

interface Outgoing {
  readonly to: bigint;
  readonly name: bigint;
  readonly reader: StateReader;
  readonly offer: PeerMessage;
  /** What is still to be read for the last request; `undefined`: nothing. */
  next: { from: string; crc: number; chunksLeft: number } | undefined;
  requested: boolean;
  complete: boolean;
  lastHeardTick: number;
  lastOfferedTick: number;
}

export interface SnapshotSenderWorld {
  /** A durable state that includes at least entry `index`, later; not called when the node ends before. */
  readerAt(index: number, done: (reader: StateReader) => void): void;
  send(message: PeerMessage): void;
  scheduleIdle(run: () => void): void;
  crc32: Crc32;
  /** A name that no snapshot had before. */
  newName(): bigint;
  /** The content will not arrive. */
  failed(to: bigint): void;
  /** Whether the member still waits for a snapshot. */
  isWanted(to: bigint): boolean;
}

export class SnapshotSender {
  readonly #id: bigint;
  readonly #chunkBytes: number;
  readonly #world: SnapshotSenderWorld;
  readonly #outgoing = new Map<bigint, Outgoing>();
  /** Members whose reader is being opened, and what Raft has said to them last. */
  readonly #opening = new Map<bigint, Message>();
  readonly counts: TransferCounts = { succeeded: 0, failed: 0 };
  #tick = 0;
  #workScheduled = false;
  #closed = false;

  constructor(id: bigint, { snapshotChunkBytes }: NodeLimits, world: SnapshotSenderWorld) {
    this.#id = id;
    this.#chunkBytes = snapshotChunkBytes;
    this.#world = world;
  }

  /** Members that a snapshot is being sent to. */
  get inFlight(): number {
    return this.#outgoing.size;
  }

  /** Entries after this one are needed by somebody who is receiving a snapshot; Infinity: by nobody. */
  get floorIndex(): number {
    let floor = Number.POSITIVE_INFINITY;
    for (const { reader } of this.#outgoing.values()) floor = Math.min(floor, reader.point.index);
    return floor;
  }

  /** Raft's SNAPSHOT message: offers the state as it is at the message's place or later. */
  offer(message: Message): void {
    const { to } = message;
    this.#end(to);
    const isOpening = this.#opening.has(to);
    if (!isOpening && this.#outgoing.size + this.#opening.size >= SNAPSHOTS_OUT_MAX) {
      this.#world.failed(to);
      return;
    }
    this.#opening.set(to, message);
    if (isOpening) return;
    this.#world.readerAt(message.snapshot!.index, (reader) => {
      const latest = this.#opening.get(to)!;
      this.#opening.delete(to);
      if (this.#closed || !this.#world.isWanted(to)) {
        reader.close();
        this.#world.failed(to);
        return;
      }
      const { index, term, conf } = reader.point;
      const name = this.#world.newName();
      const raft = { ...latest, snapshot: { index, term, conf_state: conf } };
      const offer: PeerMessage = { from: this.#id, to, raft, snapshot: name };
      const [lastHeardTick, lastOfferedTick] = [this.#tick, this.#tick];
      const base = { to, name, reader, offer, next: undefined, requested: false, complete: false };
      this.#outgoing.set(to, { ...base, lastHeardTick, lastOfferedTick });
      this.#world.send(offer);
    });
  }

  /** The receiver wants more, or has a word about what it has. */
  requested(from: bigint, request: ChunkRequest): void {
    const outgoing = this.#outgoing.get(from);
    if (outgoing?.name !== request.snapshot) {
      const gone = { snapshot: request.snapshot, from: '', rows: new Uint8Array(0), next: '', last: false, crc: 0 };
      if (!request.abandoned)
        this.#world.send({ from: this.#id, to: from, snapshot: 0n, chunk: { ...gone, gone: true } });
      return;
    }
    outgoing.requested = true;
    outgoing.lastHeardTick = this.#tick;
    if (request.abandoned) this.#fail(from);
    else if (request.complete) this.#complete(outgoing);
    else if (!request.paused) {
      outgoing.next = { from: request.from, crc: request.crc, chunksLeft: CHUNKS_PER_REQUEST };
      this.#scheduleWork();
    }
  }

  tick(): void {
    this.#tick++;
    for (const outgoing of this.#outgoing.values()) {
      const { to, offer } = outgoing;
      if (!this.#world.isWanted(to)) this.#end(to);
      else if (this.#tick - outgoing.lastHeardTick >= SNAPSHOT_IDLE_TICKS) this.#fail(to);
      else if (!outgoing.requested && this.#tick - outgoing.lastOfferedTick >= OFFER_AGAIN_TICKS) {
        outgoing.lastOfferedTick = this.#tick;
        this.#world.send(offer);
      }
    }
  }

  /** This node no longer leads, or ends. Raft knows. */
  clear(): void {
    for (const to of this.#outgoing.keys()) this.#end(to);
  }

  close(): void {
    this.#closed = true;
    this.clear();
  }

  /** It is told again and again, until Raft says that it is in force. */
  #complete(outgoing: Outgoing): void {
    if (!outgoing.complete) this.counts.succeeded++;
    outgoing.complete = true;
  }

  #fail(to: bigint): void {
    this.counts.failed++;
    this.#end(to);
    this.#world.failed(to);
  }

  #end(to: bigint): void {
    this.#outgoing.get(to)?.reader.close();
    this.#outgoing.delete(to);
  }

  #scheduleWork(): void {
    if (this.#workScheduled) return;
    this.#workScheduled = true;
    this.#world.scheduleIdle(() => {
      this.#workScheduled = false;
      let more = false;
      for (const outgoing of this.#outgoing.values()) {
        this.#sendChunk(outgoing);
        more ||= outgoing.next !== undefined;
      }
      if (more) this.#scheduleWork();
    });
  }

  #sendChunk(outgoing: Outgoing): void {
    const { next, name, to, reader } = outgoing;
    if (next === undefined) return;
    const read = reader.read(next.from, this.#chunkBytes);
    const crc = this.#world.crc32(read.rows, next.crc);
    const last = read.next === undefined;
    const chunk: Chunk = {
      snapshot: name,
      from: next.from,
      rows: read.rows,
      next: read.next ?? '',
      last,
      crc,
      gone: false,
    };
    this.#world.send({ from: this.#id, to, snapshot: 0n, chunk });
    const chunksLeft = next.chunksLeft - 1;
    outgoing.next = last || chunksLeft === 0 ? undefined : { from: read.next!, crc, chunksLeft };
  }
}
