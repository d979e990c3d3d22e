/**
 * Length-prefixed messages out of DATA frames (gRPC over HTTP/2: Length-Prefixed-Message). Owns the message that is not
 * whole yet, within a size limit of its own and a memory limit shared by all calls. Decodes no message.
 */
import { gunzipSync } from 'node:zlib';
import { GrpcStatus, otherError, type RosterError } from '../../core/errors.ts';

export const PREFIX_BYTES = 5;
const BUFFER_BYTES_MIN = 16 * 1024;

/** Memory that unfinished messages of all calls share. */
export class AssemblyMemory {
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes in use. */
  get bytes(): number {
    return this.#bytes;
  }

  /** False when there is not that much left. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#bytesMax) return false;
    this.#bytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}

export interface MessageSink {
  /** One message: `bytes[start..end]`, not compressed any more. False: no more are wanted. */
  message(bytes: Uint8Array, start: number, end: number): boolean;
}

export class MessageReader {
  readonly #sink: MessageSink;
  readonly #bytesMax: number;
  readonly #memory: AssemblyMemory;
  /** Value of grpc-encoding. */
  readonly #encoding: string | undefined;
  readonly #prefix = Buffer.alloc(PREFIX_BYTES);
  #prefixBytes = 0;
  #announced = 0;
  #body: Buffer | undefined;
  #bodyBytes = 0;

  constructor(sink: MessageSink, bytesMax: number, memory: AssemblyMemory, encoding: string | undefined) {
    this.#sink = sink;
    this.#bytesMax = bytesMax;
    this.#memory = memory;
    this.#encoding = encoding;
  }

  /** A message has begun and is not whole. */
  get midMessage(): boolean {
    return this.#prefixBytes > 0;
  }

  /** Reads `bytes[at..end]`. Throws the RosterError that ends the call. */
  push(bytes: Buffer, at: number, end: number): void {
    while (at < end) {
      if (this.#prefixBytes < PREFIX_BYTES) {
        const taken = Math.min(PREFIX_BYTES - this.#prefixBytes, end - at);
        bytes.copy(this.#prefix, this.#prefixBytes, at, at + taken);
        this.#prefixBytes += taken;
        at += taken;
        if (this.#prefixBytes < PREFIX_BYTES) return;
        this.#announced = this.#prefix.readUInt32BE(1);
        this.#check();
      }
      const missing = this.#announced - this.#bodyBytes;
      if (this.#bodyBytes === 0 && end - at >= missing) {
        at += missing;
        if (!this.#deliver(bytes, at - missing, at)) return;
        continue;
      }
      if (at === end) return;
      const taken = Math.min(missing, end - at);
      this.#keep(bytes, at, at + taken);
      at += taken;
      if (this.#bodyBytes < this.#announced) return;
      const body = this.#body!;
      this.release();
      if (!this.#deliver(body, 0, this.#announced)) return;
    }
  }

  /** Gives the shared memory back; call it when the call is over. */
  release(): void {
    if (this.#body === undefined) return;
    this.#memory.give(this.#body.length);
    this.#body = undefined;
  }

  #check(): void {
    const compressed = this.#prefix[0]!;
    if (compressed > 1) {
      throw otherError(GrpcStatus.INTERNAL, `grpc: received unexpected payload format ${compressed}`);
    }
    if (compressed === 1 && (this.#encoding === undefined || this.#encoding === 'identity')) {
      throw otherError(GrpcStatus.INTERNAL, 'grpc: compressed flag set with identity or empty encoding');
    }
    if (this.#announced > this.#bytesMax) throw tooLarge(this.#announced, this.#bytesMax);
  }

  #keep(bytes: Buffer, start: number, end: number): void {
    const needed = this.#bodyBytes + end - start;
    if (this.#body === undefined || this.#body.length < needed) {
      // Grown as bytes come, not as announced: five bytes must not make us set aside a whole message.
      const size = Math.min(this.#announced, Math.max(BUFFER_BYTES_MIN, 2 * needed));
      const more = size - (this.#body?.length ?? 0);
      if (!this.#memory.take(more)) {
        throw otherError(GrpcStatus.RESOURCE_EXHAUSTED, 'too many requests are being received at once');
      }
      const larger = Buffer.allocUnsafeSlow(size);
      this.#body?.copy(larger, 0, 0, this.#bodyBytes);
      this.#body = larger;
    }
    bytes.copy(this.#body, this.#bodyBytes, start, end);
    this.#bodyBytes = needed;
  }

  #deliver(bytes: Buffer, start: number, end: number): boolean {
    this.#prefixBytes = 0;
    this.#bodyBytes = 0;
    if (this.#prefix[0] === 0) return this.#sink.message(bytes, start, end);
    const inflated = this.#inflate(bytes.subarray(start, end));
    return this.#sink.message(inflated, 0, inflated.length);
  }

  #inflate(bytes: Buffer): Buffer {
    try {
      return gunzipSync(bytes, { maxOutputLength: Math.max(1, this.#bytesMax) });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
        throw otherError(
          GrpcStatus.RESOURCE_EXHAUSTED,
          `grpc: received message after decompression larger than max ${this.#bytesMax}`,
        );
      }
      const { message } = cause as Error;
      throw otherError(GrpcStatus.INTERNAL, `grpc: failed to decompress the message: ${message}`, { cause });
    }
  }
}

/** grpc-go's refusal of a message beyond the limit. */
export function tooLarge(bytes: number, bytesMax: number): RosterError {
  return otherError(GrpcStatus.RESOURCE_EXHAUSTED, `grpc: received message larger than max (${bytes} vs. ${bytesMax})`);
}
