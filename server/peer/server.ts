/**
 * The receiving side of the traffic between members: listens on the peer URLs, lets in who belongs to the cluster, hands
 * on what they say. Owns the accepted connections: one for each member and lane. Sending is transport.ts.
 */
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { WebSocketServer } from 'ws';
import type { PeerMessage } from '../../core/node/peer-message.ts';
import type { Logger } from '../config/log.ts';
import type { Identity } from '../rpc/context.ts';
import type { Tls } from '../tls/tls.ts';
import { type Accepted, hexId, judge, type Refused, removedText } from './handshake.ts';
import { CloseCode, IncomingConnection, type ReceivedCounters } from './incoming.ts';
import { type PeerLimits, peerLimits } from './limits.ts';
import { createPeerApp, type PeerAnswers } from './peer-app.ts';
import { PeerListener } from './peer-listener.ts';

export interface PeerServerOptions extends PeerAnswers {
  readonly identity: Identity;
  /** For https:// URLs. */
  readonly tls?: Tls | undefined;
  readonly log: Logger;
  /**
   * A message for this member. Its `bytes` are views into the memory of the frame it came in, which nobody changes. An
   * exception is not caught.
   */
  readonly onMessage: (message: PeerMessage) => void;
  readonly limits?: Partial<PeerLimits>;
}

export class PeerServer {
  readonly #options: PeerServerOptions;
  readonly #limits: PeerLimits;
  readonly #upgrades: WebSocketServer;
  readonly #sockets = new Set<Socket>();
  readonly #listeners: PeerListener[] = [];
  /** By lane and member. */
  readonly #connections = new Map<string, IncomingConnection>();
  readonly #counters = new Map<bigint, ReceivedCounters>();
  readonly #removed = new Set<bigint>();
  #members: ReadonlySet<bigint> = new Set();
  #ticker: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: PeerServerOptions) {
    this.#options = options;
    this.#limits = peerLimits(options.limits);
    this.#upgrades = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: this.#limits.messageBytesMax,
    });
  }

  /** The URLs listened on, with the ports they got. */
  get urls(): readonly string[] {
    return this.#listeners.map(({ url }) => url);
  }

  /** Rejects with a RosterError that names the URL that could not be listened on; then it must be closed. */
  async listen(urls: readonly string[]): Promise<void> {
    const { identity, tls, log } = this.#options;
    const app = createPeerApp(identity, this.#options, (error) => log.error({ error }, 'a request of a member failed'));
    const handle = getRequestListener(app.fetch, { overrideGlobalObjects: false });
    this.#ticker ??= setInterval(() => {
      for (const connection of this.#connections.values()) connection.tick();
    }, this.#limits.pingIntervalMs);
    for (const url of urls) {
      const listener = new PeerListener(url, {
        tls,
        log,
        limits: this.#limits,
        sockets: this.#sockets,
        onRequest: (request, response) => {
          void handle(request, response);
        },
        onUpgrade: (request, socket, head) => this.#upgrade(request, socket, head),
      });
      await listener.listen();
      this.#listeners.push(listener);
    }
  }

  /**
   * The ids of all members of the cluster, from now on, and of those that have been removed, ever (more may be added,
   * none forgotten). A removed one is told so and its server stops, so being absent from `members` is not enough.
   */
  setMembers(members: Iterable<bigint>, removed: Iterable<bigint>): void {
    this.#members = new Set(members);
    for (const id of removed) this.#removed.add(id);
    for (const id of this.#counters.keys()) this.#forgetStranger(id);
    for (const connection of this.#connections.values()) {
      // It dials again, and hears the same as the reason of its refusal.
      if (this.#removed.has(connection.from)) connection.end(CloseCode.REMOVED, removedText(connection.from));
    }
  }

  /** By member; of one that is unknown, only while it is connected. */
  counters(): Map<bigint, Readonly<ReceivedCounters>> {
    return new Map(this.#counters);
  }

  /** Open sockets, whatever is said on them. */
  get sockets(): number {
    return this.#sockets.size;
  }

  /** Stops listening, tells the members that it goes, and waits for the end of all connections, not for long. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const connection of this.#connections.values()) connection.end(CloseCode.GOING_AWAY, 'going away');
    const timer = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, this.#limits.closeGraceMs);
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    for (const socket of this.#sockets) await new Promise((resolve) => socket.once('close', resolve));
    clearTimeout(timer);
    clearInterval(this.#ticker);
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const verdict = this.#judge(request);
    if (!('from' in verdict)) {
      refuse(socket, verdict);
      const { status, text } = verdict;
      this.#options.log.debug({ remote: request.socket.remoteAddress, status, reason: text }, 'refused a connection');
      return;
    }
    this.#upgrades.handleUpgrade(request, socket, head, (websocket) => {
      const { log, onMessage, identity } = this.#options;
      const connection = new IncomingConnection(verdict, websocket, socket, {
        self: identity.memberId,
        counters: this.#countersOf(verdict.from),
        limits: this.#limits,
        log,
        onMessage,
      });
      this.#add(connection);
    });
  }

  #judge(request: IncomingMessage): Accepted | Refused {
    if (this.#closing !== undefined) return { status: 503, text: 'this member is stopping' };
    const { url, headers } = request;
    const verdict = judge(url, headers, this.#options.identity, (id) => this.#removed.has(id));
    if (!('from' in verdict) || this.#members.has(verdict.from)) return verdict;
    const strangers = [...this.#connections.values()].filter(({ from }) => !this.#members.has(from));
    if (strangers.length < this.#limits.strangersMax || this.#connections.has(keyOf(verdict))) return verdict;
    return { status: 503, text: 'too many connections of members that this one does not know' };
  }

  #add(connection: IncomingConnection): void {
    const { log } = this.#options;
    const key = keyOf(connection);
    const fields = { member: hexId(connection.from), lane: connection.lane };
    const older = this.#connections.get(key);
    if (older !== undefined) {
      log.info(fields, 'a member has connected anew: closing its older connection');
      older.end(CloseCode.REPLACED, 'a newer connection has replaced this one');
    }
    this.#connections.set(key, connection);
    log.debug(fields, 'a member has connected');
    connection.onClose(() => {
      if (this.#connections.get(key) === connection) this.#connections.delete(key);
      this.#forgetStranger(connection.from);
    });
  }

  /** Anybody can think of ids. */
  #forgetStranger(id: bigint): void {
    if (this.#members.has(id)) return;
    if ([...this.#connections.values()].every(({ from }) => from !== id)) this.#counters.delete(id);
  }

  #countersOf(id: bigint): ReceivedCounters {
    let counters = this.#counters.get(id);
    if (counters === undefined) {
      counters = { receivedMessages: 0, receivedBytes: 0, receiveFailures: 0 };
      this.#counters.set(id, counters);
    }
    return counters;
  }
}

function keyOf({ from, lane }: Accepted): string {
  return `${lane} ${hexId(from)}`;
}

/** Answers a request for a WebSocket with a reason instead. */
function refuse(socket: Socket, { status, text, headers }: Refused): void {
  const body = `${text}\n`;
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Connection: close',
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...Object.entries(headers ?? {}).map(([name, value]) => `${name}: ${value}`),
  ];
  socket.once('finish', () => socket.destroy());
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
}
