/**
 * HPACK's Huffman code (RFC 7541 section 5.2 and appendix B). The code is canonical, so the table is only the length of
 * each symbol's code; decoding walks a state machine four bits at a time.
 */

/** Code length of each octet, as a letter: 'a' is 6 bits, '`' 5, 'b' 7 and so on (length = char code - 91). */
const CODE_LENGTHS =
  'hrwwwwwwwsywwywwwwwwwwywwwwwwwwwaeeghacfeecfcaaa```aaaaaaabcjagehabbbbbbbbbbbbbbbbbbbbbbcbchnhiaj`a`a`aaa`bbaaa`aba``abbbbbjfihw' +
  'oqooqqqrqrrrrrsrssqrsrrrrpqrqrrsqpoqqrrprqqspqrrppqprqrroqqqrqqruuonqrqtuuuvvustnpuvvuvsppuuwvvvosopqpprqqttssuruvuuvvvvvwvvvvvu';

const EOS = 256;
const EOS_LENGTH = 30;

const codeLengths = new Uint8Array(257);
const codes = new Uint32Array(257);

/** state * 16 + nibble -> next state | symbol << 8 | EMITS, or FAIL. */
const transitions = new Int32Array(256 * 16);
const EMITS = 1 << 16;
const FAIL = -1;
/** 1 for states a string may end in: at most seven bits, all ones, since the last symbol (the padding). */
const accepting = new Uint8Array(256);

assignCodes();
buildStateMachine();

function assignCodes(): void {
  for (let symbol = 0; symbol < 256; symbol++) codeLengths[symbol] = CODE_LENGTHS.charCodeAt(symbol) - 91;
  codeLengths[EOS] = EOS_LENGTH;
  const order = [...codeLengths.keys()].sort((a, b) => codeLengths[a]! - codeLengths[b]! || a - b);
  let code = 0;
  let length = 0;
  for (const symbol of order) {
    code <<= codeLengths[symbol]! - length;
    length = codeLengths[symbol]!;
    codes[symbol] = code++;
  }
}

function buildStateMachine(): void {
  // The code tree: node -> child for bit 0 and 1; leaves are ~symbol. The root is 0, and 256 inner nodes make 257 leaves.
  const children = new Int32Array(512);
  let nodes = 1;
  for (let symbol = 0; symbol <= EOS; symbol++) {
    let node = 0;
    for (let bit = codeLengths[symbol]! - 1; bit >= 0; bit--) {
      const branch = node * 2 + ((codes[symbol]! >>> bit) & 1);
      if (bit === 0) children[branch] = ~symbol;
      else {
        if (children[branch] === 0) children[branch] = nodes++;
        node = children[branch]!;
      }
    }
  }
  for (let state = 0; state < 256; state++) {
    for (let nibble = 0; nibble < 16; nibble++) transitions[state * 16 + nibble] = step(children, state, nibble);
  }
  for (let node = 0, bits = 0; bits < 8; bits++) {
    accepting[node] = 1;
    node = children[node * 2 + 1]!;
  }
}

function step(children: Int32Array, state: number, nibble: number): number {
  let node = state;
  let emitted = 0;
  for (let bit = 3; bit >= 0; bit--) {
    node = children[node * 2 + ((nibble >>> bit) & 1)]!;
    if (node >= 0) continue;
    if (~node === EOS) return FAIL;
    emitted = EMITS | (~node << 8); // the shortest code has five bits: no nibble ends two symbols
    node = 0;
  }
  return emitted | node;
}

/**
 * Decodes `bytes[start..end]` into `out` from its beginning, which must have room for 8/5 of the input. Returns how many
 * octets came out, or -1 when the input is not a whole string (EOS inside, or padding that is not ones).
 */
export function huffmanDecode(bytes: Uint8Array, start: number, end: number, out: Uint8Array): number {
  let state = 0;
  let length = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    let next = transitions[(state << 4) | (byte >>> 4)]!;
    if (next < 0) return -1;
    if (next >= EMITS) out[length++] = next >>> 8;
    next = transitions[((next & 0xff) << 4) | (byte & 0xf)]!;
    if (next < 0) return -1;
    if (next >= EMITS) out[length++] = next >>> 8;
    state = next & 0xff;
  }
  return accepting[state] === 1 ? length : -1;
}

/** How many bytes {@link huffmanEncode} will write for a latin1 text. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) bits += codeLengths[text.charCodeAt(i) & 0xff]!;
  return (bits + 7) >>> 3;
}

/** Writes the code of a latin1 text at `at`, padded with ones; returns the position after it. */
export function huffmanEncode(text: string, out: Uint8Array, at: number): number {
  let pending = 0; // fewer than eight bits
  let pendingBits = 0;
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i) & 0xff;
    const code = codes[symbol]!;
    for (let left = codeLengths[symbol]!; left > 0; ) {
      const taken = Math.min(left, 8 - pendingBits);
      left -= taken;
      pending = (pending << taken) | ((code >>> left) & ((1 << taken) - 1));
      pendingBits += taken;
      if (pendingBits === 8) {
        out[at++] = pending;
        pending = 0;
        pendingBits = 0;
      }
    }
  }
  if (pendingBits > 0) out[at++] = (pending << (8 - pendingBits)) | (0xff >>> pendingBits);
  return at;
}
