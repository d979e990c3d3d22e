/**
 * The TCP gateway: each connection goes to one remote and is carried both ways, whatever is spoken on it. Owns the
 * listening socket and the pairs of sockets; who is tried next is remotes.ts's business.
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { GrpcStatus, otherError } from '../../core/errors.ts';
import type { Logger } from '../config/log.ts';
import { DIAL_TIMEOUT_MS, type Remote, type Remotes } from './remotes.ts';

export interface GatewayOptions {
  readonly remotes: Remotes;
  readonly log: Logger;
  /** Between two looks at the dead remotes. */
  readonly retryDelayMs: number;
  /** Connections of clients at once; one more is closed as soon as it is accepted. */
  readonly connectionsMax: number;
}

/** The same refusal is told again after so long. */
const REFUSALS_INTERVAL_MS = 60_000;

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #retry: NodeJS.Timeout | undefined;
  #refusedToldAt = Number.NEGATIVE_INFINITY;
  #refused = 0;

  constructor(options: GatewayOptions) {
    this.#options = options;
    // Who has said all it has to say still wants the answer.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => {
      void this.#serve(socket);
    });
    this.#server.maxConnections = options.connectionsMax;
    this.#server.on('drop', () => this.#dropped());
  }

  /** Client connections that are open. */
  get sockets(): number {
    return this.#sockets.size;
  }

  /** Resolves with the address once connections are taken. RosterError: it cannot be listened on. */
  async listen(host: string, port: number): Promise<AddressInfo> {
    await this.#options.remotes.revive();
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) => {
        reject(otherError(GrpcStatus.UNAVAILABLE, `cannot listen on ${host}:${port}: ${error.message}`));
      });
      this.#server.listen(port, host, resolve);
    });
    this.#retry = setInterval(() => void this.#options.remotes.revive(), this.#options.retryDelayMs);
    return this.#server.address() as AddressInfo;
  }

  /** Cuts all connections: what is spoken on them has no end that a gateway could wait for. */
  async close(): Promise<void> {
    clearInterval(this.#retry);
    const closed = new Promise<void>((resolve) => void this.#server.close(() => resolve()));
    for (const socket of [...this.#sockets]) socket.destroy();
    await closed;
  }

  async #serve(client: Socket): Promise<void> {
    this.#own(client);
    const { remotes, log } = this.#options;
    const tried = new Set<Remote>();
    for (let remote = remotes.next(tried); remote !== undefined; remote = remotes.next(tried)) {
      tried.add(remote);
      const upstream = await dial(remote);
      if (client.destroyed) {
        if (!(upstream instanceof Error)) upstream.destroy();
        return;
      }
      if (upstream instanceof Error) remotes.heard(remote, upstream);
      else {
        remotes.heard(remote);
        this.#own(upstream);
        carry(client, upstream);
        return;
      }
    }
    log.warn({ tried: [...tried].map(({ name }) => name) }, 'closed a connection: no endpoint can be reached');
    client.destroy();
  }

  #own(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setKeepAlive(true);
    socket.once('close', () => this.#sockets.delete(socket));
    // Whatever it is, the socket closes after it.
    socket.on('error', () => {});
  }

  #dropped(): void {
    this.#refused++;
    if (performance.now() - this.#refusedToldAt < REFUSALS_INTERVAL_MS) return;
    const fields = { 'max-connections': this.#options.connectionsMax, refused: this.#refused };
    this.#options.log.warn(fields, 'refused connections: as many as may be are open');
    this.#refusedToldAt = performance.now();
    this.#refused = 0;
  }
}

/** Connected, or why not. */
function dial({ host, port }: Remote): Promise<Socket | Error> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
    const timer = setTimeout(() => socket.destroy(new Error('it does not answer')), DIAL_TIMEOUT_MS);
    const failed = (error: Error) => {
      clearTimeout(timer);
      resolve(error);
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', failed);
      resolve(socket);
    });
  });
}

/** Both ways, each with its own end, no faster than the other side reads. An end that is no end (a reset) cuts both. */
function carry(one: Socket, other: Socket): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.pipe(to);
    from.once('error', () => to.resetAndDestroy());
    from.once('close', () => {
      // In order when both ends were said; otherwise the other side hears of it now.
      if (!to.writableEnded) to.destroy();
    });
  }
}
