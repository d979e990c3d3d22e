/**
 * One gRPC call on one HTTP/2 stream: what both kinds share. Owns the way from DATA frames to messages, the deadline, the
 * cancellation and the one reply that ends it. Never knows what a method does.
 */
import { type GrpcStatus, RosterError, GrpcStatus as Status } from '../../core/errors.ts';
import { AssertionError } from '../../core/util/assert.ts';
import type { CloseReason, Http2Stream, StreamEvents } from '../http2/stream.ts';
import type { Admission, CallContext } from '../rpc/service.ts';
import { type Deadlines, Timed } from './deadlines.ts';
import { type AssemblyMemory, MessageReader, type MessageSink, PREFIX_BYTES } from './message-reader.ts';
import { trailers, trailersOnly } from './status.ts';

/** What all calls of a server share. */
export interface CallEnvironment {
  readonly maxRequestBytes: number;
  readonly memory: AssemblyMemory;
  readonly deadlines: Deadlines;
  readonly onBug: (error: unknown) => void;
}

export abstract class Call extends Timed implements StreamEvents, CallContext, MessageSink {
  protected readonly environment: CallEnvironment;
  protected readonly stream: Http2Stream;
  /** The status is sent, or cannot be sent any more. */
  protected over = false;
  cancelled = false;
  admission: Admission | undefined = undefined;
  #listeners: (() => void)[] | undefined;
  #reader: MessageReader | undefined;

  constructor(environment: CallEnvironment, stream: Http2Stream) {
    super();
    this.environment = environment;
    this.stream = stream;
  }

  // ---- CallContext

  metadata(name: string): string | undefined {
    return this.stream.headers.get(name);
  }

  get remote(): string {
    return this.stream.remote;
  }

  get commonName(): string | undefined {
    return this.stream.commonName;
  }

  onCancel(listener: () => void): void {
    if (this.cancelled) listener();
    else if (this.#listeners === undefined) this.#listeners = [listener];
    else this.#listeners.push(listener);
  }

  // ---- StreamEvents

  data(bytes: Buffer, start: number, end: number): void {
    this.stream.consumed(end - start);
    if (this.over) return;
    // Nearly always one frame is one message; then there is nothing to put together.
    if (this.#reader === undefined && end - start >= PREFIX_BYTES && bytes[start] === 0) {
      const announced = bytes.readUInt32BE(start + 1);
      if (announced === end - start - PREFIX_BYTES && announced <= this.environment.maxRequestBytes) {
        this.#guarded(bytes, start + PREFIX_BYTES, end, true);
        return;
      }
    }
    this.#guarded(bytes, start, end, false);
  }

  /** Runs what may refuse the request or be wrong, and answers accordingly. */
  #guarded(bytes: Buffer, start: number, end: number, whole: boolean): void {
    try {
      if (whole) this.message(bytes, start, end);
      else this.#assembler().push(bytes, start, end);
    } catch (error) {
      if (error instanceof RosterError) this.fail(error.status, error.message);
      else this.bug(error);
    }
  }

  #assembler(): MessageReader {
    const { maxRequestBytes, memory } = this.environment;
    this.#reader ??= new MessageReader(this, maxRequestBytes, memory, this.metadata('grpc-encoding'));
    return this.#reader;
  }

  end(): void {
    if (this.over) return;
    if (this.#reader?.midMessage === true) this.fail(Status.INTERNAL, 'unexpected EOF');
    else this.halfClosed();
  }

  close(reason: CloseReason): void {
    this.#reader?.release();
    this.environment.deadlines.clear(this);
    if (this.over || reason.by === 'complete') return;
    this.over = true;
    this.#cancel();
  }

  abstract drain(): void;
  abstract message(bytes: Uint8Array, start: number, end: number): boolean;
  /** The client has finished, and no message is cut short. */
  protected abstract halfClosed(): void;
  /** The method is to let go of the call. */
  protected abstract release(): void;

  // ---- ends

  /** The deadline is over. */
  expire(): void {
    this.fail(Status.DEADLINE_EXCEEDED, 'context deadline exceeded');
  }

  /** Ends the call with a status, for a reason the method does not know of. */
  fail(status: GrpcStatus, message: string): void {
    if (this.over) return;
    this.finish(status, message);
    this.#cancel();
  }

  /** Sends the status. */
  protected finish(status: GrpcStatus, message: string): void {
    this.over = true;
    const { stream } = this;
    if (stream.headersSent) stream.sendTrailers(trailers(status, message));
    else stream.sendHeaders(trailersOnly(status, message), true);
  }

  /**
   * A method has thrown. The client is told INTERNAL, the owner of the process everything; after a failed assertion
   * nothing is said to anyone but the owner, because nothing can be relied on.
   */
  protected bug(error: unknown): void {
    if (!(error instanceof AssertionError)) this.fail(Status.INTERNAL, 'internal error');
    this.environment.onBug(error);
  }

  #cancel(): void {
    this.cancelled = true;
    this.release();
    const listeners = this.#listeners;
    this.#listeners = undefined;
    if (listeners !== undefined) for (const listener of listeners) listener();
  }
}

/** Fills in the prefix for which `encode` has left room. Returns `bytes`. */
export function prefixed(bytes: Uint8Array): Uint8Array {
  const length = bytes.length - PREFIX_BYTES;
  bytes[0] = 0;
  bytes[1] = length >>> 24;
  bytes[2] = length >>> 16;
  bytes[3] = length >>> 8;
  bytes[4] = length;
  return bytes;
}
