import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import { JsonSequence } from '../../server/http/json-sequence.ts';

const bytes = (text: string) => Buffer.from(text, 'utf8');

describe('JsonSequence', () => {
  it('finds the same objects wherever the chunks are cut', () => {
    const object = fc.dictionary(fc.string(), fc.jsonValue());
    fc.assert(
      fc.property(
        fc.array(object, { maxLength: 5 }),
        fc.constantFrom('', '\n', '  ', '\r\n\t'),
        fc.nat(7),
        (objects, gap, cut) => {
          const all = bytes(objects.map((value) => JSON.stringify(value)).join(gap));
          const sequence = new JsonSequence(1 << 20);
          const found: string[] = [];
          for (let at = 0; at < all.length; at += cut + 1) found.push(...sequence.push(all.subarray(at, at + cut + 1)));
          sequence.end();
          expect(found.map((text) => JSON.parse(text) as unknown)).toEqual(JSON.parse(JSON.stringify(objects)));
        },
      ),
    );
  });

  it('refuses an object over its limit, and takes one at the limit', () => {
    const text = '{"a":"xxxx"}';
    expect([...new JsonSequence(text.length).push(bytes(text))]).toEqual([text]);
    expect(() => [...new JsonSequence(text.length - 1).push(bytes(text))]).toThrow(RosterError);
    const growing = new JsonSequence(8);
    expect([...growing.push(bytes('{"a":"'))]).toEqual([]);
    expect(() => [...growing.push(bytes('xxx'))]).toThrow('request body larger than max (9 vs. 8)');
  });

  it('refuses what is no object, and input that ends inside one', () => {
    const broken = new JsonSequence(99).push(bytes('{} [1]'));
    expect(broken.next().value, 'what came before is there').toBe('{}');
    expect(() => broken.next()).toThrow('proto: syntax error (line 1:1): unexpected token [');
    const refusal = (text: string) => () => [...new JsonSequence(99).push(bytes(text))];
    expect(refusal('"a" {}')).toThrow('proto: syntax error (line 1:1): unexpected token "a"');
    expect(refusal('x')).toThrow("invalid character 'x' looking for beginning of value");
    expect(() => [...new JsonSequence(99).push(Uint8Array.of(0x7b, 0xff, 0x7d))]).toThrow('invalid UTF-8');
    const cut = new JsonSequence(99);
    expect([...cut.push(bytes('{"a":{'))]).toEqual([]);
    expect(() => cut.end()).toThrow('unexpected EOF');
  });
});
