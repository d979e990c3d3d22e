/**
 * The file of a snapshot: who made it and of which entry, then the rows of the state in pieces, each with the checksum of
 * everything up to it, then how many there were. Padded to 512 bytes and followed by its SHA-256, as etcd's are, so that
 * etcd's tools can save it. Owns the bytes; where they go and come from is sender.ts and file.ts.
 */
import { crc32 } from 'node:zlib';
import { GrpcStatus, otherError, RosterError } from '../../core/errors.ts';
import { decode, encode } from '../../core/wire/binary.ts';
import { counter, type Decoded, message, string, uint64 } from '../../core/wire/schema.ts';

/** A byte that no text has, and a line end that a careless copy would change. */
const MAGIC = Buffer.from('\x89ROSTER\n', 'latin1');
/** Of this layout. A file with a higher one was made by a newer Roster. */
export const SNAPSHOT_FORMAT = 1;
const HEADER_BYTES_MAX = 64 * 1024;
/** A piece holds at least one row, whose value may be as large as a request. */
export const PIECE_BYTES_MAX = 128 * 1024 * 1024;
/** Length of a piece, and its checksum. */
export const PIECE_PREFIX_BYTES = 8;
/** After the last piece: a length of 0, a checksum, the number of pieces. */
const END_BYTES = 12;
/** etcd's tools take a file for whole when its size is so many times anything, and a hash. */
const BLOCK_BYTES = 512;
export const HASH_BYTES = 32;

/** What the file says of itself. */
export const SnapshotFacts = message('roster.SnapshotFacts', {
  cluster_id: uint64(1),
  member_id: uint64(2),
  /** The last entry of the log that the state includes, and its term. */
  index: counter(3),
  term: counter(4),
  /** Of Roster. */
  server_version: string(5),
  /** In etcd's terms. */
  storage_version: string(6),
});
export type SnapshotFacts = Decoded<typeof SnapshotFacts>;

/** Makes the bytes of a file in order: {@link head}, each {@link prefix} before its piece, {@link tail}. */
export class SnapshotEncoder {
  #crc = 0;
  #pieces = 0;
  #bytes = 0;

  head(facts: SnapshotFacts): Buffer {
    const body = encode(SnapshotFacts, facts);
    const head = Buffer.alloc(MAGIC.length + 8 + body.length + 4);
    MAGIC.copy(head);
    head.writeUInt32BE(SNAPSHOT_FORMAT, MAGIC.length);
    head.writeUInt32BE(body.length, MAGIC.length + 4);
    head.set(body, MAGIC.length + 8);
    this.#crc = crc32(head.subarray(0, -4));
    head.writeUInt32BE(this.#crc, head.length - 4);
    this.#bytes = head.length;
    return head;
  }

  /** What stands before `rows`. */
  prefix(rows: Uint8Array): Buffer {
    this.#crc = crc32(rows, this.#crc);
    this.#pieces++;
    this.#bytes += PIECE_PREFIX_BYTES + rows.length;
    const prefix = Buffer.alloc(PIECE_PREFIX_BYTES);
    prefix.writeUInt32BE(rows.length);
    prefix.writeUInt32BE(this.#crc, 4);
    return prefix;
  }

  tail(): Buffer {
    const tail = Buffer.alloc(tailBytes(this.#bytes));
    tail.writeUInt32BE(this.#pieces, 8);
    tail.writeUInt32BE(crc32(tail.subarray(8, END_BYTES), this.#crc), 4);
    return tail;
  }
}

/** Bytes of a whole file, without its hash, whose head and pieces (with their prefixes) take `bytes`. */
export function paddedBytes(bytes: number): number {
  return bytes + tailBytes(bytes);
}

function tailBytes(bytes: number): number {
  return Math.ceil((bytes + END_BYTES) / BLOCK_BYTES) * BLOCK_BYTES - bytes;
}

/** Where the bytes of a file come from. Rejects when there are not `length` more. */
export type ReadExactly = (length: number) => Promise<Buffer>;

/** Reads a file of `fileBytes` (without its hash) from its beginning. Every damage is a RosterError DATA_LOSS with the reason. */
export class SnapshotDecoder {
  readonly #read: ReadExactly;
  readonly #fileBytes: number;
  #crc = 0;
  #pieces = 0;
  #offset = 0;

  constructor(read: ReadExactly, fileBytes: number) {
    this.#read = read;
    this.#fileBytes = fileBytes;
  }

  async head(): Promise<SnapshotFacts> {
    const start = await this.#take(MAGIC.length + 8, 'its beginning');
    if (!start.subarray(0, MAGIC.length).equals(MAGIC)) throw damaged(foreign(start));
    const format = start.readUInt32BE(MAGIC.length);
    if (format !== SNAPSHOT_FORMAT) {
      throw damaged(`it has format ${format}; this Roster knows ${SNAPSHOT_FORMAT} (a newer one may know more)`);
    }
    const length = start.readUInt32BE(MAGIC.length + 4);
    if (length > HEADER_BYTES_MAX) throw damaged(`its header claims ${length} bytes`);
    const body = await this.#take(length, 'its header');
    this.#crc = crc32(body, crc32(start));
    if ((await this.#take(4, 'its header')).readUInt32BE() !== this.#crc)
      throw damaged('its header has another checksum');
    try {
      return decode(SnapshotFacts, body);
    } catch (error) {
      if (error instanceof RosterError) throw damaged(`its header cannot be read: ${error.message}`);
      throw error;
    }
  }

  /** The rows of the next piece; undefined at the end, when everything has been seen. */
  async piece(): Promise<Buffer | undefined> {
    const at = this.#offset;
    const prefix = await this.#take(PIECE_PREFIX_BYTES, `piece ${this.#pieces + 1}`);
    const length = prefix.readUInt32BE();
    const crc = prefix.readUInt32BE(4);
    if (length === 0) {
      await this.#end(crc);
      return undefined;
    }
    if (length > PIECE_BYTES_MAX) throw damaged(`the piece at offset ${at} claims ${length} bytes`);
    const rows = await this.#take(length, `the piece at offset ${at}`);
    this.#crc = crc32(rows, this.#crc);
    if (this.#crc !== crc) throw damaged(`the piece at offset ${at} has another checksum`);
    this.#pieces++;
    return rows;
  }

  async #end(crc: number): Promise<void> {
    const count = await this.#take(4, 'its end');
    if (crc32(count, this.#crc) !== crc) throw damaged('its end has another checksum');
    if (count.readUInt32BE() !== this.#pieces) {
      throw damaged(`it has ${this.#pieces} pieces, but should have ${count.readUInt32BE()}`);
    }
    const rest = this.#fileBytes - this.#offset;
    if (rest >= BLOCK_BYTES) throw damaged(`${rest} bytes follow its end`);
    if ((await this.#take(rest, 'its end')).some((byte) => byte !== 0)) throw damaged('something follows its end');
  }

  async #take(length: number, what: string): Promise<Buffer> {
    if (length > this.#fileBytes - this.#offset) throw damaged(`it ends within ${what} (${this.#fileBytes} bytes)`);
    this.#offset += length;
    return this.#read(length);
  }
}

/** What a file may be that is none of ours. */
function foreign(start: Buffer): string {
  // A page of bbolt begins with its number, then flags; its first says which file it is.
  if (start.readBigUInt64LE() === 0n) return "it may be a snapshot of etcd's, which only etcd's own tools restore";
  return 'it does not begin as a snapshot of Roster does';
}

/** `how` goes on after "the snapshot is damaged: ". */
export function damaged(how: string): RosterError {
  return otherError(GrpcStatus.DATA_LOSS, `the snapshot cannot be used: ${how}`);
}
