/** One watch stream, opened on both servers: what lives on it, and waiting until both have said something. */
import type * as m from '../../core/wire/messages.ts';
import type { Side, WatchRecorder } from './side.ts';
import type { Watch } from './watch-log.ts';

export class StreamPair {
  readonly etcd: WatchRecorder;
  readonly roster: WatchRecorder;
  /** By id, those that were not cancelled. */
  readonly live = new Map<bigint, Watch>();
  /** Every creation that succeeded, in order. */
  readonly all: Watch[] = [];
  /** Progress answers that were asked for. */
  progress = 0;

  /** `token`: with which to present oneself to a server. */
  constructor(etcd: Side, roster: Side, token: (side: Side) => string | undefined) {
    this.etcd = etcd.watch(token(etcd));
    this.roster = roster.watch(token(roster));
  }

  get recorders(): readonly WatchRecorder[] {
    return [this.etcd, this.roster];
  }

  /** Sends `message` on both and waits for what must follow. */
  async both(
    what: string,
    message: m.WatchRequest | undefined,
    condition: (recorder: WatchRecorder) => boolean,
  ): Promise<void> {
    const arrivals = this.recorders.map(async (recorder) => {
      if (message !== undefined) recorder.send(message);
      if (await recorder.until(() => condition(recorder))) return;
      throw new Error(`${recorder.side} has not sent ${what}: ${recorder.failure?.message ?? 'silence'}`);
    });
    await Promise.all(arrivals);
  }

  close(): void {
    for (const recorder of this.recorders) recorder.close();
  }
}
