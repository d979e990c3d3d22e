/**
 * The network between members: a TCP proxy in front of each member's peer port. It knows who dialled, so each direction
 * between each two members can be stalled, slowed or cut on its own. Never looks into what it carries.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { steadyPort } from './ports.ts';
import { socketOwner } from './socket-owner.ts';

/** What one direction between two members does with bytes. */
export type LinkState =
  | { readonly kind: 'open' }
  /** Nothing arrives and nobody is told: no reset, no end of stream, and connecting still works. */
  | { readonly kind: 'stalled' }
  /** Each piece takes this long, and then so many bytes a second. */
  | { readonly kind: 'slow'; readonly delayMs: number; readonly bytesPerSecond: number };

const OPEN: LinkState = { kind: 'open' };

/** One direction: from a member to another. */
class Link {
  state: LinkState = OPEN;
  #waiting: (() => void)[] = [];

  set(state: LinkState): void {
    this.state = state;
    if (state.kind !== 'stalled') for (const resume of this.#waiting.splice(0)) resume();
  }

  /** Resolves when `bytes` may arrive. */
  async carry(bytes: number): Promise<void> {
    if (this.state.kind === 'slow') {
      const { delayMs, bytesPerSecond } = this.state;
      await new Promise((resolve) => setTimeout(resolve, delayMs + (bytes / bytesPerSecond) * 1000));
    }
    await this.passable();
  }

  async passable(): Promise<void> {
    while (this.state.kind === 'stalled') await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

/** A connection in flight: whose it is, and both ends of it here. */
interface Carried {
  readonly from: string;
  readonly to: string;
  readonly near: Socket;
  readonly far: Socket;
}

export class Links {
  readonly #links = new Map<string, Link>();
  readonly #servers = new Map<string, Server>();
  readonly #carried = new Set<Carried>();
  /** Connections that have not been given to anyone yet. */
  readonly #arriving = new Set<Socket>();
  readonly #refused = new Set<string>();
  readonly #pidsByName: () => ReadonlyMap<string, number>;
  #closed = false;

  /** `pidsByName`: the members that run now. */
  constructor(pidsByName: () => ReadonlyMap<string, number>) {
    this.#pidsByName = pidsByName;
  }

  /** Puts a proxy in front of a member; resolves with the port under which the others know it. */
  async add(name: string, peerPort: number): Promise<number> {
    const port = await steadyPort();
    const server = createServer({ pauseOnConnect: true }, (socket) => void this.#accept(socket, name, port, peerPort));
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    this.#servers.set(name, server);
    return port;
  }

  /** A member that is gone for good. */
  remove(name: string): void {
    this.#servers.get(name)?.close();
    this.#servers.delete(name);
    this.#drop((carried) => carried.from === name || carried.to === name);
  }

  /** What `from` says to `to`, on connections of either's making. */
  set(from: string, to: string, state: LinkState): void {
    this.#link(from, to).set(state);
  }

  /** Resets what there is between two members and refuses new connections, until `restore`. */
  cut(one: string, other: string): void {
    this.#refused.add(pair(one, other));
    this.reset(one, other);
  }

  /** Resets what there is between two members; they may connect anew. */
  reset(one: string, other: string): void {
    this.#drop(({ from, to }) => pair(from, to) === pair(one, other));
  }

  restore(one: string, other: string): void {
    this.#refused.delete(pair(one, other));
    for (const link of [this.#link(one, other), this.#link(other, one)]) link.set(OPEN);
  }

  close(): void {
    this.#closed = true;
    for (const server of this.#servers.values()) server.close();
    this.#drop(() => true);
    for (const socket of this.#arriving) socket.destroy();
    // Whatever still waits may go to its end.
    for (const link of this.#links.values()) link.set(OPEN);
  }

  #link(from: string, to: string): Link {
    const key = `${from}>${to}`;
    const link = this.#links.get(key) ?? new Link();
    this.#links.set(key, link);
    return link;
  }

  #drop(which: (carried: Carried) => boolean): void {
    for (const carried of this.#carried) {
      if (!which(carried)) continue;
      this.#carried.delete(carried);
      for (const socket of [carried.near, carried.far]) {
        if (!socket.destroyed) socket.resetAndDestroy();
      }
    }
  }

  async #accept(near: Socket, to: string, port: number, peerPort: number): Promise<void> {
    near.on('error', () => near.destroy());
    this.#arriving.add(near);
    const pids = this.#pidsByName();
    const pid = await socketOwner(near.remotePort ?? 0, port, [...pids.values()]);
    this.#arriving.delete(near);
    const from = [...pids].find(([, known]) => known === pid)?.[0];
    // Dialled by a process that has been killed since, or by nobody we know.
    if (from === undefined || this.#closed || this.#refused.has(pair(from, to))) {
      if (!near.destroyed) near.resetAndDestroy();
      return;
    }
    const far = connect({ port: peerPort, host: '127.0.0.1', noDelay: true });
    near.setNoDelay(true);
    const carried = { from, to, near, far };
    this.#carried.add(carried);
    far.on('error', () => far.destroy());
    await Promise.all([this.#pump(near, far, this.#link(from, to)), this.#pump(far, near, this.#link(to, from))]);
    this.#carried.delete(carried);
  }

  /** Moves bytes from one end to the other at the pace of the link, and then the end of the stream. */
  async #pump(source: Socket, sink: Socket, link: Link): Promise<void> {
    try {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        if (link.state.kind !== 'open') await link.carry(chunk.length);
        if (sink.destroyed) break;
        if (!sink.write(chunk)) await drained(sink);
      }
    } catch {
      // A reset is told on like an end, when the link lets it through.
    }
    await link.passable();
    if (source.errored === null) sink.end();
    else sink.destroy();
  }
}

/** Resolves when the socket takes more, or takes nothing ever again. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}

function pair(one: string, other: string): string {
  return [one, other].sort().join('-');
}
