/**
 * All watches of a client on one stream: creates them, tells their responses apart by id, creates them again after a
 * break. Knows nothing of queues and revisions: those are each watch's.
 */
import { errorFromText, GrpcStatus, otherError, type RosterError } from '../core/errors.ts';
import type { WatchRequest, WatchResponse } from '../core/wire/messages.ts';
import type { EndpointSet } from './endpoint-set.ts';
import { LastingStream } from './lasting-stream.ts';
import type { Login } from './login.ts';
import { methods } from './methods.ts';
import type { Watch, WatchHost } from './watch.ts';

/** Watches at once per client: each costs the server memory for as long as it lives. */
export const WATCHES_MAX = 10_000;

/** The id in an answer about all watches of a stream. */
const ALL_WATCHES = -1n;

/** The server's last word: asking again would not change it. */
const FINAL: ReadonlySet<number> = new Set([
  GrpcStatus.UNIMPLEMENTED,
  GrpcStatus.PERMISSION_DENIED,
  GrpcStatus.UNAUTHENTICATED,
  GrpcStatus.INVALID_ARGUMENT,
]);

export class WatchHub implements WatchHost {
  readonly #stream: LastingStream<WatchRequest, WatchResponse>;
  readonly #login: Login;
  readonly #watches = new Set<Watch>();
  /** Asked for on the present stream and not yet answered: the server answers in order. Undefined: no longer wanted. */
  #creating: (Watch | undefined)[] = [];
  #byId = new Map<bigint, Watch>();
  #ids = new Map<Watch, bigint>();
  #open = false;

  constructor(endpoints: EndpointSet) {
    this.#login = endpoints.login;
    this.#stream = new LastingStream(
      endpoints,
      methods.watch,
      {
        opened: () => this.#opened(),
        message: (response) => this.#received(response),
        broken: (error) => this.#broken(error),
      },
      { requireLeader: true },
    );
  }

  /** Creates a new watch, and keeps it created. RESOURCE_EXHAUSTED when there are too many. */
  add(watch: Watch): void {
    if (this.#watches.size >= WATCHES_MAX) {
      throw otherError(GrpcStatus.RESOURCE_EXHAUSTED, `a client holds at most ${WATCHES_MAX} watches`);
    }
    this.#watches.add(watch);
    this.#stream.start();
    this.create(watch);
  }

  /** Without a stream there is nothing to ask: watches that are created later begin where they are. */
  requestProgress(): void {
    this.#stream.send({ progress_request: {} });
  }

  close(): void {
    for (const watch of [...this.#watches]) watch.end();
  }

  create(watch: Watch): void {
    if (!this.#open) return;
    this.#creating.push(watch);
    this.#stream.send({ create_request: watch.createRequest() });
  }

  release(watch: Watch): void {
    const place = this.#creating.indexOf(watch);
    if (place !== -1) this.#creating[place] = undefined;
    const id = this.#ids.get(watch);
    if (id === undefined) return;
    this.#byId.delete(id);
    this.#ids.delete(watch);
    if (this.#open) this.#stream.send({ cancel_request: { watch_id: id } });
  }

  remove(watch: Watch): void {
    this.release(watch);
    this.#watches.delete(watch);
    if (this.#watches.size > 0) return;
    this.#forgetStream();
    this.#stream.stop();
  }

  #opened(): void {
    this.#forgetStream();
    this.#open = true;
    for (const watch of this.#watches) if (!watch.released) this.create(watch);
  }

  #received(response: WatchResponse): void {
    if (response.created) {
      const watch = this.#creating.shift();
      if (watch === undefined) {
        if (!response.canceled) this.#stream.send({ cancel_request: { watch_id: response.watch_id } });
        return;
      }
      if (response.canceled && this.#tokenIsOld(response)) return;
      if (!response.canceled) {
        this.#byId.set(response.watch_id, watch);
        this.#ids.set(watch, response.watch_id);
      }
      watch.receive(response);
      return;
    }
    if (response.watch_id === ALL_WATCHES) {
      for (const watch of this.#byId.values()) watch.receiveAnswer(response.header?.revision ?? 0);
      return;
    }
    const watch = this.#byId.get(response.watch_id);
    if (watch === undefined) return;
    if (response.canceled && response.compact_revision === 0) {
      // The server has dropped it already; nothing to cancel when the watch ends. Not so after a compaction: etcd still
      // counts the watch as one that is behind, and answers no progress on this stream until it is cancelled.
      this.#byId.delete(response.watch_id);
      this.#ids.delete(watch);
    }
    watch.receive(response);
  }

  /** Whether a new login will help: the stream is opened again then, with all its watches. */
  #tokenIsOld({ cancel_reason }: WatchResponse): boolean {
    const error = errorFromText(
      GrpcStatus.UNAUTHENTICATED,
      cancel_reason.replace(/^rpc error: code = \w+ desc = /, ''),
    );
    if (!this.#login.renewable(error)) return false;
    this.#stream.restart();
    return true;
  }

  #broken(error: RosterError): void {
    this.#forgetStream();
    if (FINAL.has(error.status)) for (const watch of [...this.#watches]) watch.end(error);
  }

  #forgetStream(): void {
    this.#open = false;
    this.#creating = [];
    this.#byId.clear();
    this.#ids.clear();
  }
}
