/**
 * This member among the others: both sides of the peer transport, kept on the members that the state knows. Owns the
 * peer listeners and connections; what is said on them is the node's.
 */
import type { StateMachine } from '../core/apply/state-machine.ts';
import { RosterError } from '../core/errors.ts';
import type { Node } from '../core/node/node.ts';
import type { PeerMessage } from '../core/node/peer-message.ts';
import type { Pace, Transport } from '../core/node/world.ts';
import type { Logger } from './config/log.ts';
import { DEFAULT_PEER_URL, type ServeFlags } from './config/serve-flags.ts';
import type { KeysHash, PeerAnswers } from './peer/peer-app.ts';
import { fetchHash, fetchVersion } from './peer/peer-client.ts';
import { PeerServer } from './peer/server.ts';
import { PeerTransport, type SentCounters } from './peer/transport.ts';
import type { Identity } from './rpc/context.ts';
import type { Tls } from './tls/tls.ts';

export interface PeersOptions extends PeerAnswers {
  readonly flags: ServeFlags;
  /** For https:// URLs. */
  readonly tls: Tls | undefined;
  readonly identity: Identity;
  readonly machine: Pick<StateMachine, 'membership'>;
  readonly node: Pick<Node, 'step' | 'unreachable'>;
  readonly log: Logger;
  /** The others say that this member has been removed. */
  readonly onRemoved: () => void;
}

export class Peers implements Transport {
  readonly #options: PeersOptions;
  readonly #tls: Tls | undefined;
  readonly #transport: PeerTransport;
  readonly #server: PeerServer;

  constructor(options: PeersOptions) {
    const { identity, machine, node, log, members, version, health, hashKv } = options;
    this.#options = options;
    this.#tls = options.tls;
    this.#transport = new PeerTransport({
      identity,
      tls: this.#tls,
      log,
      onUnreachable: (id) => node.unreachable(id),
      onRemoved: () => options.onRemoved(),
    });
    this.#server = new PeerServer({
      identity,
      tls: this.#tls,
      log,
      onMessage: (message) => node.step(message),
      members,
      version,
      health,
      ...(hashKv === undefined ? {} : { hashKv }),
    });
    machine.membership.onChange = () => this.#follow();
    this.#follow();
  }

  /**
   * Begins to take connections. Rejects with a RosterError when an URL cannot be listened on; but a sole member, with
   * nothing said about where to listen, goes on without.
   */
  async listen(): Promise<void> {
    const { flags, machine, log } = this.#options;
    const urls = flags['listen-peer-urls'];
    try {
      await this.#server.listen(urls);
    } catch (error) {
      const optional = machine.membership.members.length === 1 && urls.join() === DEFAULT_PEER_URL;
      if (!optional || !(error instanceof RosterError)) throw error;
      log.warn(`${error.message}: no member can be added before this one is started with another --listen-peer-urls`);
    }
  }

  get urls(): readonly string[] {
    return this.#server.urls;
  }

  send(messages: readonly PeerMessage[], pace?: Pace): void {
    this.#transport.send(messages, pace);
  }

  /** Whether messages reach member `id` now. */
  reaches(id: bigint): boolean {
    return this.#transport.activeSince(id) !== undefined;
  }

  /** The version that the member at `peerUrl` tells. */
  async version(peerUrl: string, timeoutMs: number): Promise<string> {
    return (await fetchVersion([peerUrl], { tls: this.#tls, timeoutMs })).etcdserver;
  }

  /** The hash that the member at `peerUrl` has of its keys at `revision`. */
  hash(peerUrl: string, revision: number, timeoutMs: number): Promise<KeysHash> {
    return fetchHash([peerUrl], revision, { tls: this.#tls, timeoutMs });
  }

  sent(): ReadonlyMap<bigint, SentCounters> {
    return this.#transport.counters();
  }

  received(): ReturnType<PeerServer['counters']> {
    return this.#server.counters();
  }

  async close(): Promise<void> {
    await Promise.all([this.#transport.close(), this.#server.close()]);
  }

  #follow(): void {
    const { members, removed } = this.#options.machine.membership;
    this.#transport.setMembers(members.map(({ ID, peerURLs }) => ({ id: ID, peerUrls: peerURLs })));
    this.#server.setMembers(
      members.map(({ ID }) => ID),
      removed,
    );
  }
}
