/** What becomes of the bytes that come on a call's stream: counted, kept whole, or cut into messages. */

/** One byte of flags and the message's length. */
export const GRPC_PREFIX_BYTES = 5;

/** `data` may keep views of the bytes. */
export interface StreamSink {
  data(bytes: Buffer, start: number, end: number): void;
  end(status: number, text: string): void;
}

/** A unary reply, whole. */
export class UnaryReply implements StreamSink {
  readonly #done: (status: number, reply: Buffer | undefined, text: string) => void;
  #parts: Buffer[] = [];

  constructor(done: (status: number, reply: Buffer | undefined, text: string) => void) {
    this.#done = done;
  }

  data(bytes: Buffer, start: number, end: number): void {
    this.#parts.push(bytes.subarray(start, end));
  }

  end(status: number, text: string): void {
    const parts = this.#parts;
    const whole = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    this.#done(status, whole.length >= GRPC_PREFIX_BYTES ? whole.subarray(GRPC_PREFIX_BYTES) : undefined, text);
  }
}

/** A unary reply's length. */
export class UnaryReplyBytes implements StreamSink {
  readonly #done: (status: number, replyBytes: number, text: string) => void;
  #bytes = 0;

  constructor(done: (status: number, replyBytes: number, text: string) => void) {
    this.#done = done;
  }

  data(_bytes: Buffer, start: number, end: number): void {
    this.#bytes += end - start;
  }

  end(status: number, text: string): void {
    this.#done(status, Math.max(0, this.#bytes - GRPC_PREFIX_BYTES), text);
  }
}

/** Messages of a stream, one by one. */
export class MessageCutter implements StreamSink {
  readonly #message: (bytes: Buffer, start: number, end: number) => void;
  readonly #end: (status: number, text: string) => void;
  /** What came of a message that is not whole yet. */
  #rest: Buffer | undefined;

  constructor(
    message: (bytes: Buffer, start: number, end: number) => void,
    end: (status: number, text: string) => void,
  ) {
    this.#message = message;
    this.#end = end;
  }

  data(bytes: Buffer, start: number, end: number): void {
    if (this.#rest !== undefined) {
      bytes = Buffer.concat([this.#rest, bytes.subarray(start, end)]);
      this.#rest = undefined;
      start = 0;
      end = bytes.length;
    }
    while (end - start >= GRPC_PREFIX_BYTES) {
      const next = start + GRPC_PREFIX_BYTES + bytes.readUInt32BE(start + 1);
      if (next > end) break;
      this.#message(bytes, start + GRPC_PREFIX_BYTES, next);
      start = next;
    }
    if (start < end) this.#rest = bytes.subarray(start, end);
  }

  end(status: number, text: string): void {
    this.#end(status, text);
  }
}
