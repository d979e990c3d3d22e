/**
 * Cuts a stream of bytes into the JSON objects it consists of, with or without white space between them. Finds where
 * each ends; whether it is valid JSON is for the parser to say.
 */
import { isUtf8 } from 'node:buffer';
import { GrpcStatus, otherError } from '../../core/errors.ts';
import { endOfScalar } from '../../core/wire/json-text.ts';

const OPEN = 0x7b;
const CLOSE = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

export class JsonSequence {
  readonly #bytesMax: number;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;

  /** `bytesMax`: the largest single object. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /**
   * Complete objects that end in this chunk, as text, one by one. Throws RosterError where an object is over the limit or
   * the text is no object; what came before has been yielded then.
   */
  *push(chunk: Uint8Array): Generator<string, void> {
    let start = 0;
    for (let i = 0; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (this.#depth === 0) {
        if (byte === OPEN) {
          this.#depth = 1;
          start = i;
        } else if (byte > 0x20) throw noObject(chunk.subarray(i));
      } else if (this.#step(byte)) {
        this.#keep(chunk.subarray(start, i + 1));
        yield this.#take();
      }
    }
    if (this.#depth > 0) this.#keep(chunk.slice(start));
  }

  /** The input has ended. Throws when it ended inside an object. */
  end(): void {
    if (this.#depth > 0) throw invalid('unexpected EOF');
  }

  /** Advances by one byte inside an object; true when it closes the outermost. */
  #step(byte: number): boolean {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) this.#inString = false;
      return false;
    }
    if (byte === QUOTE) this.#inString = true;
    else if (byte === OPEN || byte === OPEN_LIST) this.#depth++;
    else if (byte === CLOSE || byte === CLOSE_LIST) return --this.#depth === 0;
    return false;
  }

  #keep(part: Uint8Array): void {
    this.#bytes += part.length;
    if (this.#bytes > this.#bytesMax) {
      throw otherError(
        GrpcStatus.RESOURCE_EXHAUSTED,
        `request body larger than max (${this.#bytes} vs. ${this.#bytesMax})`,
      );
    }
    this.#parts.push(part);
  }

  #take(): string {
    const whole = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    if (!isUtf8(whole)) throw invalid('proto: syntax error: invalid UTF-8 in string');
    return whole.toString('utf8');
  }
}

function invalid(what: string) {
  return otherError(GrpcStatus.INVALID_ARGUMENT, what);
}

/** In the words of Go's decoders, like whatever else is wrong with a request. */
function noObject(bytes: Uint8Array) {
  const text = Buffer.from(bytes).toString('utf8');
  const token = text.startsWith('[') ? '[' : text.slice(0, endOfScalar(text, 0));
  return invalid(`proto: syntax error (line 1:1): unexpected token ${token}`);
}
