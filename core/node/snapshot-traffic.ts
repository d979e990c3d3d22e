/**
 * Snapshots between Raft, which wants them sent and installed, and those who move their content: when one is needed, whose
 * content has arrived, and how much log must be kept meanwhile. Never puts one in force (log-writer.ts does).
 */
import { type Message, MessageType } from '../raft/messages.ts';
import type { Raft } from '../raft/raft.ts';
import type { StateReader, StateWriter } from './machine.ts';
import type { Chunk, ChunkRequest, PeerMessage } from './peer-message.ts';
import { type ReceivedSnapshot, SnapshotReceiver } from './snapshot-receiver.ts';
import { SnapshotSender, type TransferCounts } from './snapshot-sender.ts';
import type { NodeConfig, World } from './world.ts';

/** For metrics. */
export interface SnapshotCounts {
  readonly sent: TransferCounts & { readonly underWay: number };
  readonly received: TransferCounts & { readonly underWay: number };
  /** 1 while one is being put in force. */
  readonly installing: number;
}

export interface SnapshotTrafficWorld extends Pick<World, 'machine' | 'transport' | 'crc32'> {
  /** Calls `done` later, when the state up to entry `index` is durable; not once the node has ended. */
  whenDurable(index: number, done: () => void): void;
  scheduleIdle(run: () => void): void;
  newId(): bigint;
  isActive(id: bigint): boolean;
}

export class SnapshotTraffic {
  readonly #raft: Raft;
  readonly #world: SnapshotTrafficWorld;
  readonly #sender: SnapshotSender;
  readonly #receiver: SnapshotReceiver;
  /** Of the snapshot that Raft has been given and not handed out yet. */
  #content: StateWriter | undefined;
  #closed = false;

  constructor({ id, limits }: Pick<NodeConfig, 'id' | 'limits'>, raft: Raft, world: SnapshotTrafficWorld) {
    this.#raft = raft;
    this.#world = world;
    const send = (message: PeerMessage) => world.transport.send([message]);
    this.#sender = new SnapshotSender(id, limits, {
      readerAt: (index: number, done: (reader: StateReader) => void) =>
        world.whenDurable(index, () => done(world.machine.read())),
      send,
      scheduleIdle: (run) => world.scheduleIdle(run),
      crc32: world.crc32,
      newName: () => world.newId(),
      failed: (to) => raft.reportSnapshot(to, false),
      isWanted: (to) => raft.progress(to)?.state === 'snapshotting',
    });
    this.#receiver = new SnapshotReceiver({
      receive: () => world.machine.receive(),
      send,
      crc32: world.crc32,
      complete: (received) => this.#received(received),
    });
  }

  /** A SNAPSHOT that Raft wants to be sent. */
  offer(message: Message): void {
    if (!this.#closed) this.#sender.offer(message);
  }

  /** A message of Raft has come; with a SNAPSHOT, the name of its content. Raft gets that one when its content is here. */
  step(message: Message, name: bigint): void {
    const { snapshot, type, term } = message;
    if (type !== MessageType.values.SNAPSHOT || snapshot === undefined) {
      this.#raft.step(message);
      return;
    }
    const { committed, log } = this.#raft;
    const isNeeded = snapshot.index > committed && log.term(snapshot.index) !== snapshot.term;
    // If it is not needed, or of an old term, Raft says so at once; but not while one is on its way to the disk.
    if (!isNeeded || term < this.#raft.term) {
      if (!this.#receiver.isComplete) this.#raft.step(message);
    } else if (!this.#closed) this.#receiver.offered(name, message);
  }

  get counts(): SnapshotCounts {
    return {
      sent: { ...this.#sender.counts, underWay: this.#sender.inFlight },
      received: { ...this.#receiver.counts, underWay: this.#receiver.isUnderWay ? 1 : 0 },
      installing: this.#receiver.isComplete ? 1 : 0,
    };
  }

  requested(from: bigint, request: ChunkRequest): void {
    this.#sender.requested(from, request);
  }

  chunk(chunk: Chunk): void {
    this.#receiver.chunk(chunk);
  }

  #received({ message, writer }: ReceivedSnapshot): void {
    this.#raft.step(message);
    if (this.#raft.log.hasPendingSnapshot) this.#content = writer;
    else {
      writer.discard();
      this.#receiver.done();
    }
  }

  /** The content of the snapshot that Raft now wants installed, once. */
  takeContent(): StateWriter | undefined {
    const content = this.#content;
    this.#content = undefined;
    return content;
  }

  installed(): void {
    this.#receiver.done();
  }

  /** Entries after this one may still be asked for by a member that is alive. */
  get floorIndex(): number {
    let floor = this.#sender.floorIndex;
    if (this.#raft.role !== 'leader') return floor;
    const { voters, learners } = this.#raft.confState;
    for (const id of [...voters, ...learners]) {
      const progress = this.#raft.progress(id);
      if (progress !== undefined && progress.state !== 'snapshotting' && this.#world.isActive(id))
        floor = Math.min(floor, progress.match);
    }
    return floor;
  }

  tick(): void {
    this.#receiver.tick();
    this.#sender.tick();
  }

  /** This node began or ceased to lead: what was being sent is no longer wanted so. */
  roleChanged(): void {
    this.#sender.clear();
  }

  /** Sends and receives nothing any more. What is complete is still being installed. */
  close(): void {
    this.#closed = true;
    this.#sender.close();
    this.#receiver.abandon();
  }
}
