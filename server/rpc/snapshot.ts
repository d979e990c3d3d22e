/**
 * etcdserverpb.Maintenance/Snapshot: the state of this member as a file, in blobs, under the client's flow control. What has
 * been applied here when the call comes is in it. Owns the calls under way and how long a client may keep one waiting.
 */
import { GrpcStatus, otherError, RosterError, rosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { SnapshotSender } from '../snapshot/sender.ts';
import { ROSTER_VERSION, STORAGE_VERSION } from '../version.ts';
import type { RpcContext } from './context.ts';
import { GiveWay } from './give-way.ts';
import type { Responder, StreamHandler, StreamMethod } from './service.ts';

/** Snapshots under way; each keeps the pages it reads from being used again. */
export const SNAPSHOTS_OPEN_MAX = 16;
/** Blobs sent in one turn of the event loop. */
const TURN_BLOBS = 8;
/** A client that takes nothing for so long is cut off: the database grows for as long as a snapshot is being read. */
export const SNAPSHOT_STALL_MS = 5 * 60_000;

export function snapshotMethod(context: RpcContext): StreamMethod<m.SnapshotRequest, m.SnapshotResponse> {
  const open = new Set<SnapshotCall>();
  return {
    kind: 'stream',
    single: true,
    path: '/etcdserverpb.Maintenance/Snapshot',
    request: m.SnapshotRequest,
    response: m.SnapshotResponse,
    open: (_call, responder) => new SnapshotCall(context, responder, open),
  };
}

class SnapshotCall implements StreamHandler<m.SnapshotRequest> {
  readonly #context: RpcContext;
  readonly #responder: Responder<m.SnapshotResponse>;
  readonly #giveWay: GiveWay;
  readonly #open: Set<SnapshotCall>;
  #begun = false;
  #over = false;
  #sender: SnapshotSender | undefined;
  #stalled: NodeJS.Timeout | undefined;

  constructor(context: RpcContext, responder: Responder<m.SnapshotResponse>, open: Set<SnapshotCall>) {
    this.#context = context;
    this.#responder = responder;
    this.#giveWay = new GiveWay(context);
    this.#open = open;
    responder.onDrain = () => this.#drained();
  }

  message(): void {
    if (this.#begun) return;
    this.#begun = true;
    if (this.#open.size >= SNAPSHOTS_OPEN_MAX) {
      this.#end(rosterError('RequestTooManyRequests'));
      return;
    }
    this.#open.add(this);
    // The view is of the last commit, so there must be one that has everything.
    this.#context.machine.commit((error) => {
      if (this.#over) return;
      if (error !== undefined) this.#end(rosterError('Stopped'));
      else this.#guarded(() => this.#begin());
    });
  }

  halfClose(): void {}

  cancel(): void {
    this.#finish();
  }

  #begin(): void {
    const { clusterId, memberId } = this.#context.identity;
    this.#sender = new SnapshotSender(this.#context.machine.read(), {
      cluster_id: clusterId,
      member_id: memberId,
      server_version: ROSTER_VERSION,
      storage_version: STORAGE_VERSION,
    });
    this.#measure(this.#sender);
  }

  #measure(sender: SnapshotSender): void {
    const measured = sender.measure();
    this.#later(() => (measured ? this.#send(sender) : this.#measure(sender)));
  }

  #send(sender: SnapshotSender): void {
    for (let sent = 0; sent < TURN_BLOBS; sent++) {
      const blob = sender.next();
      if (blob === undefined) {
        this.#end();
        return;
      }
      const { bytes, remainingBytes } = blob;
      if (!this.#responder.send({ remaining_bytes: remainingBytes, blob: bytes, version: STORAGE_VERSION })) {
        this.#stalled = setTimeout(() => this.#end(stalled()), SNAPSHOT_STALL_MS);
        return;
      }
    }
    this.#later(() => this.#send(sender));
  }

  #drained(): void {
    if (this.#stalled === undefined) return;
    clearTimeout(this.#stalled);
    this.#stalled = undefined;
    this.#later(() => this.#send(this.#sender!));
  }

  #later(run: () => void): void {
    this.#giveWay.before(() => {
      if (!this.#over) this.#guarded(run);
    });
  }

  #guarded(run: () => void): void {
    try {
      run();
    } catch (error) {
      if (!(error instanceof RosterError)) throw error;
      this.#end(error);
    }
  }

  #end(error?: RosterError): void {
    if (this.#over) return;
    this.#finish();
    this.#responder.end(error);
  }

  #finish(): void {
    this.#over = true;
    clearTimeout(this.#stalled);
    this.#open.delete(this);
    this.#sender?.close();
    this.#sender = undefined;
  }
}

function stalled(): RosterError {
  const text = `the snapshot was not taken: nothing was read for ${SNAPSHOT_STALL_MS / 1000} seconds`;
  return otherError(GrpcStatus.UNAVAILABLE, text);
}
