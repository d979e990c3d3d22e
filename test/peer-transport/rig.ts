/**
 * Members that only talk: real servers and transports on 127.0.0.1, what they received and reported, and things to put
 * in their way. Everything made here is closed by `closeAll`.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { Writable } from 'node:stream';
import pino from 'pino';
import { WebSocket, WebSocketServer } from 'ws';
import { Chunk, PeerMessage } from '../../core/node/peer-message.ts';
import { Message, MessageType } from '../../core/raft/messages.ts';
import { defaults } from '../../core/wire/binary.ts';
import type { Member } from '../../core/wire/messages.ts';
import { greeting, LANE_PATHS, type Lane } from '../../server/peer/handshake.ts';
import type { PeerLimits } from '../../server/peer/limits.ts';
import type { PeerAnswers } from '../../server/peer/peer-app.ts';
import { decodeFrame, encodeFrame } from '../../server/peer/peer-frame.ts';
import { PeerServer } from '../../server/peer/server.ts';
import { PeerTransport } from '../../server/peer/transport.ts';
import type { Tls } from '../../server/tls/tls.ts';

export const CLUSTER = 0xc1a5n;
const HOST = '127.0.0.1';

/** Quick enough for a test, slow enough for a busy machine where the test does not wait for them. */
const QUICK: Partial<PeerLimits> = { redialMinMs: 5, redialMaxMs: 20, stableMs: 0, closeGraceMs: 200 };

const open: (() => unknown)[] = [];

export async function closeAll(): Promise<void> {
  await Promise.all(
    open
      .splice(0)
      .reverse()
      .map((close) => close()),
  );
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export interface MemberOptions {
  clusterId?: bigint;
  tls?: Tls;
  /** Listen URL; the host is kept for dialing. */
  url?: string;
  limits?: Partial<PeerLimits>;
  members?: () => readonly Member[];
  hashKv?: NonNullable<PeerAnswers['hashKv']>;
  health?: () => Promise<string>;
}

export interface TestMember {
  readonly id: bigint;
  readonly transport: PeerTransport;
  readonly server: PeerServer;
  readonly url: string;
  readonly received: PeerMessage[];
  readonly unreachable: bigint[];
  readonly removed: string[];
  /** Messages of the log with their fields. */
  readonly log: Record<string, unknown>[];
  address(): { id: bigint; peerUrls: string[] };
}

export async function startMember(id: bigint, options: MemberOptions = {}): Promise<TestMember> {
  const identity = { clusterId: options.clusterId ?? CLUSTER, memberId: id };
  const received: PeerMessage[] = [];
  const unreachable: bigint[] = [];
  const removed: string[] = [];
  const log: Record<string, unknown>[] = [];
  const lines = new Writable({
    write: (line: Buffer, _encoding, done) => {
      log.push(JSON.parse(line.toString()));
      done();
    },
  });
  const shared = {
    identity,
    tls: options.tls,
    log: pino({ base: null, level: 'debug' }, lines),
    limits: { ...QUICK, ...options.limits },
  };
  const transport = new PeerTransport({
    ...shared,
    onUnreachable: (member) => unreachable.push(member),
    onRemoved: (text) => removed.push(text),
  });
  open.push(() => transport.close());
  const server = new PeerServer({
    ...shared,
    onMessage: (message) => received.push(message),
    members: options.members ?? (() => []),
    version: () => ({ etcdserver: '3.7.1', etcdcluster: '3.7.0', storage: '3.7.0' }),
    health: options.health ?? (() => Promise.resolve('')),
    ...(options.hashKv === undefined ? {} : { hashKv: options.hashKv }),
  });
  open.push(() => server.close());
  await server.listen([options.url ?? `http://${HOST}:0`]);
  const url = server.urls[0]!;
  return {
    id,
    transport,
    server,
    url,
    received,
    unreachable,
    removed,
    log,
    address: () => ({ id, peerUrls: [url] }),
  };
}

/** `from` has both its connections to `to`, and `to` knows it. */
export async function connected(from: TestMember, to: { id: bigint }): Promise<void> {
  await until(() => from.transport.counters().get(to.id)?.connections === 2);
}

export function raft(type: keyof typeof MessageType.values, from: bigint, to: bigint, change: Partial<Message> = {}) {
  const message = { ...defaults(Message), type: MessageType.values[type], from, to, ...change };
  return { ...defaults(PeerMessage), from, to, raft: message } satisfies PeerMessage;
}

export function heartbeat(from: bigint, to: bigint, context = 0): PeerMessage {
  return raft('HEARTBEAT', from, to, { context });
}

export function append(from: bigint, to: bigint, index: number, bytes = 10): PeerMessage {
  return raft('APPEND', from, to, {
    index,
    entries: [{ type: 0, term: 1, index: index + 1, data: Buffer.alloc(bytes) }],
  });
}

export function chunk(from: bigint, to: bigint, snapshot: bigint, bytes = 10): PeerMessage {
  return { ...defaults(PeerMessage), from, to, chunk: { ...defaults(Chunk), snapshot, rows: Buffer.alloc(bytes) } };
}

export interface RawConnection {
  readonly lane: Lane;
  readonly socket: WebSocket;
  /** One list of messages for each frame. */
  readonly frames: PeerMessage[][];
}

/** The receiving end as a bare WebSocket server, which shows frames and can stop to read. */
export async function startRawMember(id: bigint, options: { paused?: boolean } = {}) {
  const connections: RawConnection[] = [];
  const server = new WebSocketServer({ host: HOST, port: 0, perMessageDeflate: false });
  open.push(() => {
    for (const socket of server.clients) socket.terminate();
    return new Promise((resolve) => server.close(resolve));
  });
  server.on('connection', (socket, request) => {
    const lane: Lane = request.url === LANE_PATHS.bulk ? 'bulk' : 'stream';
    const frames: PeerMessage[][] = [];
    connections.push({ lane, socket, frames });
    socket.on('message', (data) => frames.push(decodeFrame(data as Buffer, 100_000)));
    socket.on('error', () => {});
    if (options.paused === true) socket.pause();
  });
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  const of = (lane: Lane): RawConnection => {
    const found = connections.findLast((one) => one.lane === lane);
    if (found === undefined) throw new Error(`nobody has connected for ${lane}`);
    return found;
  };
  return { id, connections, of, address: () => ({ id, peerUrls: [`http://${HOST}:${port}`] }) };
}

export interface Dialed {
  readonly socket: WebSocket;
  /** Settles with how the connection ended; a refusal is its status and text. */
  readonly ended: Promise<{ code: number; text: string }>;
  /** Settles when it is open, or has ended. */
  readonly ready: Promise<unknown>;
}

/** Opens a connection to a member by hand. */
export function dialRaw(
  url: string,
  options: { from?: bigint; to?: bigint; lane?: Lane; headers?: Record<string, string> } = {},
): Dialed {
  const identity = { clusterId: CLUSTER, memberId: options.from ?? 2n };
  const headers = { ...greeting(identity, options.to ?? 1n), ...options.headers };
  const socket = new WebSocket(`${url}${LANE_PATHS[options.lane ?? 'stream']}`, { headers, perMessageDeflate: false });
  open.push(() => socket.terminate());
  const ended = new Promise<{ code: number; text: string }>((resolve) => {
    socket.on('unexpected-response', (_request, response) => {
      let text = '';
      response.on('data', (piece) => {
        text += piece;
      });
      response.on('close', () => {
        resolve({ code: response.statusCode!, text: text.trim() });
        socket.terminate();
      });
    });
    socket.on('error', () => {});
    socket.on('close', (code, reason) => resolve({ code, text: reason.toString() }));
  });
  const opened = new Promise((resolve) => socket.once('open', resolve));
  return { socket, ended, ready: Promise.race([opened, ended]) };
}

export function sendFrame(socket: WebSocket, ...messages: PeerMessage[]): void {
  socket.send(Buffer.concat(messages.map(encodeFrame)));
}

/** A TCP connection by hand: what came, and its end. */
export function tcp(url: string): { socket: Socket; text: () => string; closed: Promise<void> } {
  const socket = connect(Number(new URL(url).port), HOST);
  open.push(() => socket.destroy());
  let text = '';
  socket.on('data', (data) => {
    text += data.toString('latin1');
  });
  socket.on('error', () => {});
  return { socket, text: () => text, closed: new Promise((resolve) => socket.once('close', () => resolve())) };
}

/** A listener of any kind, on a port of its own. */
export async function startTcp(onConnection: (socket: Socket) => void): Promise<{ url: string; server: Server }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  open.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://${HOST}:${(server.address() as { port: number }).port}`, server };
}

/** Passes bytes on to `target` until it is told to stop passing, or to cut; nobody hears of the former. */
export async function startProxy(target: string) {
  const pairs = new Set<[Socket, Socket]>();
  let frozen = false;
  const { url } = await startTcp((near) => {
    const far = connect(Number(new URL(target).port), HOST);
    const pair: [Socket, Socket] = [near, far];
    pairs.add(pair);
    for (const [one, other] of [pair, [far, near] as const]) {
      one.on('data', (data) => {
        if (!frozen) other.write(data);
      });
      one.on('error', () => {});
      one.on('close', () => {
        if (!frozen) other.destroy();
      });
    }
    open.push(() => far.destroy());
  });
  return {
    url,
    freeze: () => {
      frozen = true;
    },
    thaw: () => {
      frozen = false;
    },
    cut: () => {
      for (const pair of pairs) for (const socket of pair) socket.destroy();
      pairs.clear();
    },
  };
}
