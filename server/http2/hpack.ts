/**
 * HPACK decoding (RFC 7541) for either role. Owns the dynamic table and its limits. On the path of every request, so
 * table entries keep their strings, and a block whose bytes were seen since the table last changed is not decoded again.
 */
import { type HeaderField, HeaderList, isFieldName, isFieldValue } from './header-list.ts';
import {
  DEFAULT_TABLE_BYTES,
  FIELD_OVERHEAD_BYTES,
  STATIC_ENTRIES,
  STATIC_NAMES,
  STATIC_VALUES,
  staticField,
  staticName,
} from './hpack-table.ts';
import { huffmanDecode, huffmanEncode, huffmanLength } from './huffman.ts';

/** The block cannot be decoded and the tables of both ends differ from now on: a connection error COMPRESSION_ERROR. */
export class HpackError extends Error {
  override name = 'HpackError';
}

/** A block changes the table's size at most twice (RFC 7541 section 4.2). */
const SIZE_UPDATES_MAX = 2;
/** No integer in a block is larger than this: lengths, indexes and sizes are all far below. */
const INTEGER_MAX = 0x0fffffff;

const CACHED_BLOCKS = 4;
const CACHED_BLOCK_BYTES_MAX = 96;

interface CachedBlock {
  readonly bytes: Uint8Array;
  readonly generation: number;
  readonly list: HeaderList;
}

/** Octets of a string while it is decoded; grows to the longest. */
let scratch = Buffer.allocUnsafe(4096);

export class HpackDecoder {
  readonly #listBytesMax: number;
  readonly #tableBytesLimit: number;
  #tableBytesMax: number;
  #tableBytes = 0;
  // The dynamic table is a ring: #newest is the entry with index 62, older ones lie before it.
  readonly #mask: number;
  readonly #names: string[];
  readonly #values: string[];
  readonly #bad: Uint8Array;
  #newest = 0;
  #entries = 0;
  /** Counts the changes of the table: what was decoded under another generation may mean something else now. */
  #generation = 0;
  readonly #cache: (CachedBlock | undefined)[] = new Array(CACHED_BLOCKS).fill(undefined);
  #cacheNext = 0;

  // The block being decoded.
  #bytes: Buffer = scratch;
  #at = 0;
  #end = 0;
  #fields: string[] = [];
  #listBytes = 0;
  #malformed = false;
  /** The literal read last holds forbidden octets. */
  #badText = false;

  /**
   * `listBytesMax` bounds the decoded list (RFC 9113 section 6.5.2, SETTINGS_MAX_HEADER_LIST_SIZE); `tableBytesMax` is
   * the SETTINGS_HEADER_TABLE_SIZE we announced.
   */
  constructor(listBytesMax: number, tableBytesMax = DEFAULT_TABLE_BYTES) {
    this.#listBytesMax = listBytesMax;
    this.#tableBytesLimit = tableBytesMax;
    this.#tableBytesMax = tableBytesMax;
    let capacity = 1;
    while (capacity * FIELD_OVERHEAD_BYTES < tableBytesMax) capacity *= 2;
    this.#mask = capacity - 1;
    this.#names = new Array(capacity).fill('');
    this.#values = new Array(capacity).fill('');
    this.#bad = new Uint8Array(capacity);
  }

  /** Octets the dynamic table holds now, by RFC 7541's count. */
  get tableBytes(): number {
    return this.#tableBytes;
  }

  /** Decodes one whole header block. Throws {@link HpackError}; a list beyond the limit is cut short, not refused. */
  decode(bytes: Buffer, start = 0, end = bytes.length): HeaderList {
    const cacheable = end - start <= CACHED_BLOCK_BYTES_MAX;
    if (cacheable) {
      const cached = this.#cached(bytes, start, end);
      if (cached !== undefined) return cached;
    }
    const generation = this.#generation;
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.#fields = [];
    this.#listBytes = 0;
    this.#malformed = false;
    this.#sizeUpdates();
    while (this.#at < end) this.#field();
    const list = new HeaderList(this.#fields, this.#malformed, this.#listBytes > this.#listBytesMax);
    if (cacheable && generation === this.#generation) {
      this.#cache[this.#cacheNext] = { bytes: Uint8Array.prototype.slice.call(bytes, start, end), generation, list };
      this.#cacheNext = (this.#cacheNext + 1) % CACHED_BLOCKS;
    }
    this.#bytes = scratch; // keeps no received chunk alive
    return list;
  }

  #cached(bytes: Buffer, start: number, end: number): HeaderList | undefined {
    next: for (let i = 0; i < CACHED_BLOCKS; i++) {
      const entry = this.#cache[i];
      if (entry === undefined || entry.generation !== this.#generation || entry.bytes.length !== end - start) continue;
      const known = entry.bytes;
      for (let k = 0; k < known.length; k++) if (known[k] !== bytes[start + k]) continue next;
      return entry.list;
    }
    return undefined;
  }

  /** Dynamic table size updates, which only the beginning of a block may hold. */
  #sizeUpdates(): void {
    for (let updates = 1; this.#at < this.#end && (this.#bytes[this.#at]! & 0xe0) === 0x20; updates++) {
      if (updates > SIZE_UPDATES_MAX) throw new HpackError('too many dynamic table size updates');
      const size = this.#integer(0x1f);
      if (size > this.#tableBytesLimit) throw new HpackError('dynamic table size update beyond the announced limit');
      if (size === this.#tableBytesMax) continue;
      this.#tableBytesMax = size;
      this.#generation++;
      this.#evict(size);
    }
  }

  #field(): void {
    const first = this.#bytes[this.#at]!;
    if ((first & 0x80) !== 0) {
      const index = this.#integer(0x7f);
      if (index <= STATIC_ENTRIES) {
        if (index === 0) throw new HpackError('index 0');
        this.#add(STATIC_NAMES[index]!, STATIC_VALUES[index]!, false);
      } else {
        const slot = this.#slot(index);
        this.#add(this.#names[slot]!, this.#values[slot]!, this.#bad[slot] === 1);
      }
      return;
    }
    const indexing = (first & 0x40) !== 0;
    if (!indexing && (first & 0x20) !== 0) throw new HpackError('a dynamic table size update after a field');
    const nameIndex = this.#integer(indexing ? 0x3f : 0x0f);
    let name: string;
    let bad = false;
    if (nameIndex === 0) {
      name = this.#text(true);
      bad = this.#badText;
    } else if (nameIndex <= STATIC_ENTRIES) name = STATIC_NAMES[nameIndex]!;
    else {
      const slot = this.#slot(nameIndex);
      name = this.#names[slot]!;
      bad = this.#bad[slot] === 1;
    }
    const value = this.#text(false);
    bad ||= this.#badText;
    if (indexing) this.#insert(name, value, bad);
    this.#add(name, value, bad);
  }

  #add(name: string, value: string, bad: boolean): void {
    this.#listBytes += name.length + value.length + FIELD_OVERHEAD_BYTES;
    if (bad) this.#malformed = true;
    if (this.#listBytes <= this.#listBytesMax) this.#fields.push(name, value);
  }

  #slot(index: number): number {
    const age = index - STATIC_ENTRIES - 1;
    if (age >= this.#entries) throw new HpackError('an index beyond the dynamic table');
    return (this.#newest - age) & this.#mask;
  }

  #insert(name: string, value: string, bad: boolean): void {
    this.#generation++;
    const size = name.length + value.length + FIELD_OVERHEAD_BYTES;
    this.#evict(this.#tableBytesMax - size);
    if (size > this.#tableBytesMax) return; // clears the table and is not an error (RFC 7541 section 4.4)
    this.#newest = (this.#newest + 1) & this.#mask;
    this.#names[this.#newest] = name;
    this.#values[this.#newest] = value;
    this.#bad[this.#newest] = bad ? 1 : 0;
    this.#entries++;
    this.#tableBytes += size;
  }

  /** Drops the oldest entries until the table holds at most `bytes` octets. */
  #evict(bytes: number): void {
    while (this.#entries > 0 && this.#tableBytes > bytes) {
      const slot = (this.#newest - this.#entries + 1) & this.#mask;
      this.#tableBytes -= this.#names[slot]!.length + this.#values[slot]!.length + FIELD_OVERHEAD_BYTES;
      this.#names[slot] = '';
      this.#values[slot] = '';
      this.#entries--;
    }
  }

  /** RFC 7541 section 5.1; `mask` is the prefix of the first byte. */
  #integer(mask: number): number {
    const bytes = this.#bytes;
    const small = bytes[this.#at++]! & mask;
    if (small < mask) return small;
    let value = mask;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#at >= this.#end) throw new HpackError('the block ends inside an integer');
      const byte = bytes[this.#at++]!;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new HpackError(`an integer beyond ${INTEGER_MAX}`);
  }

  /** RFC 7541 section 5.2. Sets #badText. */
  #text(isName: boolean): string {
    if (this.#at >= this.#end) throw new HpackError('the block ends before a string');
    const huffman = (this.#bytes[this.#at]! & 0x80) !== 0;
    const length = this.#integer(0x7f);
    const start = this.#at;
    const end = start + length;
    if (end > this.#end) throw new HpackError('the block ends inside a string');
    this.#at = end;
    if (!huffman) return this.#checked(this.#bytes, start, end, isName);
    const room = Math.ceil((length * 8) / 5);
    if (room > scratch.length) scratch = Buffer.allocUnsafe(room);
    const decoded = huffmanDecode(this.#bytes, start, end, scratch);
    if (decoded < 0) throw new HpackError('a malformed Huffman string');
    return this.#checked(scratch, 0, decoded, isName);
  }

  #checked(octets: Buffer, start: number, end: number, isName: boolean): string {
    this.#badText = !(isName ? isFieldName(octets, start, end) : isFieldValue(octets, start, end));
    return octets.toString('latin1', start, end);
  }
}

// ---- encoding

/** An upper bound on what {@link putLiteral} writes. */
function literalBytesMax(name: string, value: string): number {
  return 16 + name.length + value.length;
}

function putInteger(out: Uint8Array, at: number, pattern: number, mask: number, value: number): number {
  if (value < mask) {
    out[at] = pattern | value;
    return at + 1;
  }
  out[at++] = pattern | mask;
  let rest = value - mask;
  for (; rest >= 0x80; rest >>>= 7) out[at++] = (rest & 0x7f) | 0x80;
  out[at] = rest;
  return at + 1;
}

function putText(out: Uint8Array, at: number, text: string): number {
  const coded = huffmanLength(text);
  if (coded < text.length) return huffmanEncode(text, out, putInteger(out, at, 0x80, 0x7f, coded));
  at = putInteger(out, at, 0, 0x7f, text.length);
  for (let i = 0; i < text.length; i++) out[at++] = text.charCodeAt(i);
  return at;
}

/** A literal field; `pattern` and `mask` are of its first byte (RFC 7541 section 6.2). */
function putLiteral(
  out: Uint8Array,
  at: number,
  pattern: number,
  mask: number,
  nameIndex: number,
  name: string,
  value: string,
): number {
  at = putInteger(out, at, pattern, mask, nameIndex);
  if (nameIndex === 0) at = putText(out, at, name);
  return putText(out, at, value);
}

/**
 * A header block that needs and leaves no dynamic table, so it can be made once and sent on any connection at any time.
 * Names lower-case, text latin1, pseudo-header fields first: the caller's word.
 */
export function encodeHeaderBlock(fields: readonly HeaderField[]): Buffer {
  let room = 0;
  for (const [name, value] of fields) room += literalBytesMax(name, value);
  const out = Buffer.allocUnsafe(room);
  let at = 0;
  for (const [name, value] of fields) {
    const index = staticField(name, value);
    at =
      index > 0 ? putInteger(out, at, 0x80, 0x7f, index) : putLiteral(out, at, 0, 0x0f, staticName(name), name, value);
  }
  return out.subarray(0, at);
}

/** An encoder with a dynamic table, for a client that sends the same fields again and again. */
export class HpackEncoder {
  #tableBytesMax: number;
  #tableBytes = 0;
  /** Field -> how many fields had been inserted before it. */
  readonly #inserted = new Map<string, number>();
  #insertions = 0;
  #sizeUpdate = false;

  constructor(tableBytesMax = DEFAULT_TABLE_BYTES) {
    this.#tableBytesMax = tableBytesMax;
  }

  /** Follows the peer's SETTINGS_HEADER_TABLE_SIZE; the next block tells. */
  resize(tableBytesMax: number): void {
    this.#tableBytesMax = tableBytesMax;
    this.#sizeUpdate = true;
    this.#evict(tableBytesMax);
  }

  encode(fields: readonly HeaderField[]): Buffer {
    let room = 8;
    for (const [name, value] of fields) room += literalBytesMax(name, value);
    const out = Buffer.allocUnsafe(room);
    let at = 0;
    if (this.#sizeUpdate) {
      this.#sizeUpdate = false;
      at = putInteger(out, at, 0x20, 0x1f, this.#tableBytesMax);
    }
    for (const [name, value] of fields) {
      const key = `${name}\0${value}`;
      const before = this.#inserted.get(key);
      const index = before === undefined ? staticField(name, value) : STATIC_ENTRIES + this.#insertions - before;
      if (index > 0) at = putInteger(out, at, 0x80, 0x7f, index);
      else {
        at = putLiteral(out, at, 0x40, 0x3f, staticName(name), name, value);
        this.#insert(key, name.length + value.length + FIELD_OVERHEAD_BYTES);
      }
    }
    return out.subarray(0, at);
  }

  #insert(key: string, size: number): void {
    this.#evict(this.#tableBytesMax - size);
    if (size > this.#tableBytesMax) return;
    this.#inserted.set(key, this.#insertions++);
    this.#tableBytes += size;
  }

  #evict(bytes: number): void {
    for (const key of this.#inserted.keys()) {
      if (this.#tableBytes <= bytes) return;
      this.#inserted.delete(key); // oldest first: a Map keeps the order of insertion, and no field is in it twice
      this.#tableBytes -= key.length - 1 + FIELD_OVERHEAD_BYTES;
    }
  }
}
