/**
 * Where the gateway's connections may go, and which is next: the lowest priority that is alive, in turn by weight. Owns who
 * counts as alive; opens no connection but to find that out.
 */
import { connect as connectTcp, isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';

export interface RemoteAddress {
  readonly host: string;
  readonly port: number;
  /** The lowest is used for as long as one of it is alive. */
  readonly priority: number;
  /** The share among those of the same priority; 0: next to nothing where others have more. */
  readonly weight: number;
}

/** What must be seen before a remote is used: a certificate that `ca` has signed for `serverName`, or for its host. */
export interface Proof {
  /** PEM; undefined: the system's authorities. */
  readonly ca: string | undefined;
  readonly serverName: string | undefined;
}

export interface Remote extends RemoteAddress {
  readonly name: string;
  alive: boolean;
  /** For the turns by weight. */
  credit: number;
}

/** How long an attempt to connect may take. */
export const DIAL_TIMEOUT_MS = 5000;
/** What a weight counts beside one of 0. */
const WEIGHT_UNIT = 100;

export class Remotes {
  readonly all: readonly Remote[];
  readonly #proof: Proof | undefined;
  readonly #onChange: (remote: Remote, error: Error | undefined) => void;

  /** With `proof`, none is used before it was given. */
  constructor(
    addresses: readonly RemoteAddress[],
    proof: Proof | undefined,
    onChange: (remote: Remote, error: Error | undefined) => void,
  ) {
    this.all = addresses.map((address) => ({
      ...address,
      name: `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`,
      alive: proof === undefined,
      credit: 0,
    }));
    this.#proof = proof;
    this.#onChange = onChange;
  }

  /** The next to try that is not among those tried. What is dead comes last; with proof, never. */
  next(tried: ReadonlySet<Remote>): Remote | undefined {
    const left = this.all.filter((remote) => !tried.has(remote));
    const alive = left.filter((remote) => remote.alive);
    if (alive.length > 0) return turn(alive);
    return this.#proof === undefined ? turn(left) : undefined;
  }

  /** It could not be reached, with the reason; or, without one, it was. */
  heard(remote: Remote, error?: Error): void {
    const alive = error === undefined;
    if (remote.alive === alive) return;
    remote.alive = alive;
    this.#onChange(remote, error);
  }

  /** Looks at the dead ones. Never rejects. */
  async revive(): Promise<void> {
    const dead = this.all.filter((remote) => !remote.alive);
    await Promise.all(
      dead.map(async (remote) => {
        const error = await this.#probe(remote);
        if (error === undefined) this.heard(remote);
        else if (this.#proof !== undefined) this.#onChange(remote, error);
      }),
    );
  }

  #probe({ host, port }: Remote): Promise<Error | undefined> {
    const proof = this.#proof;
    return new Promise((resolve) => {
      const socket =
        proof === undefined
          ? connectTcp({ host, port })
          : connectTls({
              host,
              port,
              ...(proof.ca === undefined ? {} : { ca: proof.ca }),
              ...serverName(proof.serverName ?? host),
            });
      const settle = (error?: Error) => {
        resolve(error);
        socket.destroy();
      };
      socket.setTimeout(DIAL_TIMEOUT_MS, () => settle(new Error('it does not answer')));
      socket.once(proof === undefined ? 'connect' : 'secureConnect', () => settle());
      socket.on('error', settle);
    });
  }
}

/** No server name goes out for an address (RFC 6066); then the certificate must name the address. */
function serverName(name: string): { servername?: string } {
  return isIP(name) === 0 ? { servername: name } : {};
}

/** Smooth weighted round robin over the best priority: each gets its share, spread as evenly as can be. */
function turn(remotes: readonly Remote[]): Remote | undefined {
  if (remotes.length === 0) return undefined;
  const best = Math.min(...remotes.map(({ priority }) => priority));
  const candidates = remotes.filter(({ priority }) => priority === best);
  let total = 0;
  let chosen = candidates[0]!;
  for (const remote of candidates) {
    const share = remote.weight * WEIGHT_UNIT || 1;
    remote.credit += share;
    total += share;
    if (remote.credit > chosen.credit) chosen = remote;
  }
  chosen.credit -= total;
  return chosen;
}
