import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HeaderField, HeaderList } from '../../server/http2/header-list.ts';
import { encodeHeaderBlock, HpackDecoder, HpackEncoder, HpackError } from '../../server/http2/hpack.ts';
import { huffmanDecode, huffmanEncode, huffmanLength } from '../../server/http2/huffman.ts';
import { hex } from './support.ts';

const LIST_BYTES_MAX = 16 * 1024;

function pairs(list: HeaderList): HeaderField[] {
  const result: HeaderField[] = [];
  for (let i = 0; i < list.fields.length; i += 2) result.push([list.fields[i]!, list.fields[i + 1]!]);
  return result;
}

/** Decodes the blocks in turn with one decoder; the size is of the table after the last. */
function decodeAll(blocks: string[], tableBytesMax?: number): { lists: HeaderField[][]; tableBytes: number } {
  const decoder = new HpackDecoder(LIST_BYTES_MAX, tableBytesMax);
  const lists = blocks.map((block) => pairs(decoder.decode(hex(block))));
  return { lists, tableBytes: decoder.tableBytes };
}

describe('RFC 7541 appendix C', () => {
  it('C.2: representations', () => {
    expect(decodeAll(['400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572'])).toEqual({
      lists: [[['custom-key', 'custom-header']]],
      tableBytes: 55,
    });
    expect(decodeAll(['040c 2f73 616d 706c 652f 7061 7468'])).toEqual({
      lists: [[[':path', '/sample/path']]],
      tableBytes: 0,
    });
    expect(decodeAll(['1008 7061 7373 776f 7264 0673 6563 7265 74'])).toEqual({
      lists: [[['password', 'secret']]],
      tableBytes: 0,
    });
    expect(decodeAll(['82'])).toEqual({ lists: [[[':method', 'GET']]], tableBytes: 0 });
  });

  const requests: HeaderField[][] = [
    [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', '/'],
      [':authority', 'www.example.com'],
    ],
    [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', '/'],
      [':authority', 'www.example.com'],
      ['cache-control', 'no-cache'],
    ],
    [
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/index.html'],
      [':authority', 'www.example.com'],
      ['custom-key', 'custom-value'],
    ],
  ];

  it('C.3: requests without Huffman coding', () => {
    expect(
      decodeAll([
        '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        '8286 84be 5808 6e6f 2d63 6163 6865',
        '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
      ]),
    ).toEqual({ lists: requests, tableBytes: 164 });
  });

  it('C.4: requests with Huffman coding', () => {
    expect(
      decodeAll([
        '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
        '8286 84be 5886 a8eb 1064 9cbf',
        '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
      ]),
    ).toEqual({ lists: requests, tableBytes: 164 });
  });

  const date = 'Mon, 21 Oct 2013 20:13:21 GMT';
  const cookie = 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1';
  const responses: HeaderField[][] = [
    [
      [':status', '302'],
      ['cache-control', 'private'],
      ['date', date],
      ['location', 'https://www.example.com'],
    ],
    [
      [':status', '307'],
      ['cache-control', 'private'],
      ['date', date],
      ['location', 'https://www.example.com'],
    ],
    [
      [':status', '200'],
      ['cache-control', 'private'],
      ['date', date.replace('21 GMT', '22 GMT')],
      ['location', 'https://www.example.com'],
      ['content-encoding', 'gzip'],
      ['set-cookie', cookie],
    ],
  ];

  it('C.5: responses with eviction, without Huffman coding', () => {
    expect(
      decodeAll(
        [
          '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120' +
            '474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
          '4803 3330 37c1 c0bf',
          '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738' +
            '666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33' +
            '3630 303b 2076 6572 7369 6f6e 3d31',
        ],
        256,
      ),
    ).toEqual({ lists: responses, tableBytes: 215 });
  });

  it('C.6: responses with eviction and Huffman coding', () => {
    expect(
      decodeAll(
        [
          '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718' +
            '63c7 8f0b 97c8 e9ae 82ae 43d3',
          '4883 640e ffc1 c0bf',
          '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7' +
            'b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
        ],
        256,
      ),
    ).toEqual({ lists: responses, tableBytes: 215 });
  });
});

describe('Huffman code', () => {
  it('round-trips every octet', () => {
    const text = Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString('latin1');
    const coded = Buffer.alloc(huffmanLength(text));
    expect(huffmanEncode(text, coded, 0)).toBe(coded.length);
    const decoded = Buffer.alloc(Math.ceil((coded.length * 8) / 5));
    expect(huffmanDecode(coded, 0, coded.length, decoded)).toBe(256);
    expect(decoded.toString('latin1', 0, 256)).toBe(text);
  });

  it('codes the rarest octets as RFC 7541 appendix B says', () => {
    const coded = (text: string): string => {
      const out = Buffer.alloc(huffmanLength(text));
      huffmanEncode(text, out, 0);
      return out.toString('hex');
    };
    expect(coded('\x00')).toBe('ffc7'); // 1111111111000 and three bits of padding
    expect(coded('\x16')).toBe('fffffffb'); // thirty bits
    expect(coded('\xf9')).toBe('ffffffef'); // twenty-eight bits and four of padding
    expect(coded('0')).toBe('07');
  });

  it('is the inverse of itself on any string', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (octets) => {
        const text = Buffer.from(octets).toString('latin1');
        const coded = Buffer.alloc(huffmanLength(text));
        huffmanEncode(text, coded, 0);
        const decoded = Buffer.alloc(Math.ceil((coded.length * 8) / 5) + 1);
        const length = huffmanDecode(coded, 0, coded.length, decoded);
        expect(decoded.toString('latin1', 0, length)).toBe(text);
      }),
    );
  });
});

const name = fc.constantFrom(':path', 'content-type', 'x-a', 'x-b', 'grpc-timeout', 'te', '__proto__', 'constructor');
const value = fc.oneof(
  fc.constantFrom('', '/', 'trailers', 'application/grpc', 'a', 'b'),
  fc.uint8Array({ maxLength: 60 }).map((octets) => Buffer.from(octets).toString('latin1')),
);
const fieldLists = fc.array(fc.array(fc.tuple(name, value), { maxLength: 6 }), { minLength: 1, maxLength: 25 });

describe('encoder and decoder', () => {
  it('agree over a whole connection, whatever the table size, and when it changes', () => {
    fc.assert(
      fc.property(
        fieldLists,
        fc.constantFrom(0, 40, 100, 300, 4096),
        fc.array(fc.nat({ max: 300 }), { maxLength: 3 }),
        (lists, tableBytes, resizes) => {
          const encoder = new HpackEncoder(tableBytes);
          const decoder = new HpackDecoder(LIST_BYTES_MAX, Math.max(tableBytes, 300));
          encoder.resize(tableBytes);
          lists.forEach((fields, i) => {
            const resize = resizes[i / 5];
            if (resize !== undefined) encoder.resize(resize);
            // Every list twice: the second block often has the bytes of the first, or of an earlier table.
            expect(pairs(decoder.decode(encoder.encode(fields)))).toEqual(fields);
            expect(pairs(decoder.decode(encoder.encode(fields)))).toEqual(fields);
          });
        },
      ),
    );
  });

  it('a block without state decodes alike on any connection at any time', () => {
    fc.assert(
      fc.property(fieldLists, (lists) => {
        const decoder = new HpackDecoder(LIST_BYTES_MAX);
        for (const fields of lists) {
          expect(pairs(decoder.decode(encodeHeaderBlock(fields)))).toEqual(fields);
          expect(decoder.tableBytes).toBe(0);
        }
      }),
    );
  });

  it('any bytes are a list or an HpackError, and the table keeps its limit', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 120 }), { maxLength: 8 }), (blocks) => {
        const decoder = new HpackDecoder(1024);
        try {
          for (const block of blocks) {
            decoder.decode(Buffer.from(block));
            expect(decoder.tableBytes).toBeLessThanOrEqual(4096);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(HpackError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('equal blocks', () => {
  const field: HeaderField = ['x-test', 'one'];

  it('are decoded once while the table stays the same', () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(LIST_BYTES_MAX);
    decoder.decode(encoder.encode([field]));
    const first = decoder.decode(encoder.encode([field]));
    expect(decoder.decode(encoder.encode([field]))).toBe(first);
    expect(pairs(first)).toEqual([field]);
  });

  it('are decoded anew after an insertion: the same index means another field', () => {
    const decoder = new HpackDecoder(LIST_BYTES_MAX);
    const newest = hex('be');
    decoder.decode(hex('40 0178 0131')); // x: 1
    expect(pairs(decoder.decode(newest))).toEqual([['x', '1']]);
    expect(pairs(decoder.decode(newest))).toEqual([['x', '1']]);
    decoder.decode(hex('40 0178 0132')); // x: 2
    expect(pairs(decoder.decode(newest))).toEqual([['x', '2']]);
  });

  it('are decoded anew after the table was emptied', () => {
    const decoder = new HpackDecoder(LIST_BYTES_MAX);
    decoder.decode(hex('40 0178 0131'));
    expect(pairs(decoder.decode(hex('be')))).toEqual([['x', '1']]);
    expect(pairs(decoder.decode(hex('be')))).toEqual([['x', '1']]);
    decoder.decode(hex('20')); // size 0
    expect(() => decoder.decode(hex('be'))).toThrow(HpackError);
  });
});

describe('limits', () => {
  it('a list of exactly the limit is whole; one octet more is cut, and the table still follows', () => {
    const fields: HeaderField[] = [['x-long', 'v'.repeat(100)]];
    const exact = 6 + 100 + 32;
    expect(new HpackDecoder(exact).decode(encodeHeaderBlock(fields)).tooLarge).toBe(false);
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(exact - 1);
    const list = decoder.decode(encoder.encode(fields));
    expect(list.tooLarge).toBe(true);
    expect(list.fields).toEqual([]);
    expect(decoder.tableBytes).toBe(exact);
  });

  it('HPACK bomb: thousands of references to one large entry are never expanded', () => {
    const decoder = new HpackDecoder(LIST_BYTES_MAX);
    const entry = encoderWithEntry();
    decoder.decode(entry);
    const list = decoder.decode(Buffer.alloc(30_000, 0xbe));
    expect(list.tooLarge).toBe(true);
    expect(list.fields.length).toBeLessThanOrEqual(2 * 4);
  });

  function encoderWithEntry(): Buffer {
    return new HpackEncoder().encode([['x', 'y'.repeat(3900)]]);
  }

  it('a field larger than the table empties it, and is no error', () => {
    const decoder = new HpackDecoder(LIST_BYTES_MAX, 64);
    decoder.decode(hex('40 0178 0131'));
    expect(decoder.tableBytes).toBe(34);
    const list = decoder.decode(new HpackEncoder().encode([['big', 'z'.repeat(64)]]));
    expect(pairs(list)).toEqual([['big', 'z'.repeat(64)]]);
    expect(decoder.tableBytes).toBe(0);
  });
});

describe('field octets', () => {
  it('a forbidden octet marks the list, also when it comes from the table', () => {
    const decoder = new HpackDecoder(LIST_BYTES_MAX);
    const encoder = new HpackEncoder();
    expect(decoder.decode(encoder.encode([['x', 'a\nb']])).malformed).toBe(true);
    expect(decoder.decode(encoder.encode([['x', 'a\nb']])).malformed).toBe(true);
    expect(decoder.decode(encoder.encode([['x', 'fine']])).malformed).toBe(false);
    expect(decoder.decode(encoder.encode([['Upper', 'fine']])).malformed).toBe(true);
  });

  it('names that objects have are ordinary names', () => {
    const list = new HpackDecoder(LIST_BYTES_MAX).decode(encodeHeaderBlock([['__proto__', 'p']]));
    expect(list.get('__proto__')).toBe('p');
    expect(list.get('constructor')).toBeUndefined();
    expect(list.get('toString')).toBeUndefined();
  });
});
