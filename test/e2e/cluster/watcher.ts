/**
 * A watcher that trusts nobody: raw streams to one member after another, each taken up where the last one ended. What
 * comes is judged as it comes; nothing is hidden by a client library.
 */
import { Endpoint } from '../../../client/endpoint.ts';
import { prefixRange } from '../../../client/key.ts';
import { methods } from '../../../client/methods.ts';
import { sleep } from '../../../client/wait.ts';
import type { Prng } from '../../../core/util/prng.ts';
import { defaults } from '../../../core/wire/binary.ts';
import { WatchCreateRequest, type WatchResponse } from '../../../core/wire/messages.ts';
import type { WatchPlace } from './happened.ts';

const CONNECT_MS = 300;
/** How long it stays with a member, at least and at most, before it moves on of its own will. */
const STAY_MIN_MS = 1_000;
const STAY_MAX_MS = 6_000;
const PROGRESS_EVERY_MS = 250;

export interface WatcherOptions {
  prefix: string;
  place: WatchPlace;
  prng: Prng;
  /** Endpoints there are now. */
  endpoints: () => readonly string[];
  onStream: () => void;
  onRevision: (revision: number) => void;
  /** Ask for progress now and then, and hold the answers against what comes later. */
  progress: boolean;
  signal: AbortSignal;
}

/** Watches until `signal` fires. Rejects when history was compacted away under it. */
export async function watchOn(options: WatcherOptions): Promise<void> {
  const { prng, signal } = options;
  while (!signal.aborted) {
    const names = options.endpoints();
    const endpoint = new Endpoint(names[prng.int(names.length)]!, undefined);
    try {
      if (!(await endpoint.connect(Date.now() + CONNECT_MS, signal))) continue;
      options.onStream();
      await stay(endpoint, options, STAY_MIN_MS + prng.int(STAY_MAX_MS - STAY_MIN_MS));
    } finally {
      endpoint.close();
      await sleep(10, signal);
    }
  }
}

/** One stream to its end, its error, or `forMs`. */
function stay(endpoint: Endpoint, options: WatcherOptions, forMs: number): Promise<void> {
  const { place, prefix, signal } = options;
  const stream = endpoint.stream(methods.watch, { requireLeader: true });
  return new Promise((resolve, reject) => {
    let over = false;
    const end = (failure?: Error): void => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      clearInterval(asking);
      signal.removeEventListener('abort', stop);
      stream.cancel();
      if (failure === undefined) resolve();
      else reject(failure);
    };
    const stop = (): void => end();
    const timer = setTimeout(stop, forMs);
    const asking = setInterval(() => options.progress && stream.write({ progress_request: {} }), PROGRESS_EVERY_MS);
    signal.addEventListener('abort', stop);
    stream.on('error', stop);
    stream.on('end', stop);
    stream.on('data', (response: WatchResponse) => {
      // What was on its way when the watch was given up counts as not told: it comes again.
      if (over) return;
      const { events, header } = response;
      if (response.compact_revision > 0) end(new Error(`${place.name} at ${place.next}: compacted`));
      else if (response.canceled) end();
      else if (events.length > 0) {
        place.take(events);
        options.onRevision(place.last);
      } else if (!response.created && options.progress) place.progress(header!.revision);
    });
    stream.write({
      create_request: { ...defaults(WatchCreateRequest), ...prefixRange(prefix), start_revision: place.next },
    });
    if (signal.aborted) end();
  });
}
