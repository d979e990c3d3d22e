import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { named } from '../../ctl/arguments.ts';
import { chosen } from '../../ctl/generation.ts';
import { argify, goQuote, goUnquote, parseBoolean, parseUnsigned } from '../../ctl/go-text.ts';
import { ProgressBar } from '../../ctl/output/progress-bar.ts';
import { tableLines } from '../../ctl/output/table.ts';
import { Pace, Results } from '../../ctl/v3/load.ts';

describe('Go texts', () => {
  it.each([
    ['plain', '"plain"'],
    ['a "b"\\\n\t\x07', '"a \\"b\\"\\\\\\n\\t\\a"'],
    ['\x00\x7f', '"\\x00\\x7f"'],
    ['\u00e9\u4e2d\u{1f600}', '"\u00e9\u4e2d\u{1f600}"'],
    ['\u200b\u{e0001}', '"\\u200b\\U000e0001"'],
    [new Uint8Array([0x61, 0xff, 0xfe]), '"a\\xff\\xfe"'],
  ])('%j is quoted as %s', (value, quoted) => expect(goQuote(value)).toBe(quoted));

  it.each([
    ['"a\\x62\\u00e9" rest', 'ab\xc3\xa9', ' rest'],
    ['`raw\\n`) x', 'raw\\n', ') x'],
    ['"\\n\\t\\"\\\\"', '\n\t"\\', ''],
    ['"\\101\\U0001f600"', 'A\xf0\x9f\x98\x80', ''],
    ['""', '', ''],
  ])('%s is read', (text, value, rest) => expect(goUnquote(text)).toEqual({ value, rest }));

  it.each(['', 'x', '"open', '"bad \\q"', "'single'"])('%s is no quoted text', (text) => {
    expect(goUnquote(text)).toBeUndefined();
  });

  it('splits lines as etcdctl does', () => {
    expect(argify('put a \'b c\' "d\\x41 e"  --lease=1')).toEqual(['put', 'a', 'b c', 'dA e', '--lease=1']);
    expect(argify('')).toEqual([]);
  });

  it('knows the booleans and unsigned numbers of Go', () => {
    expect(['1', 't', 'TRUE', 'True'].map(parseBoolean)).toEqual([true, true, true, true]);
    expect(['0', 'f', 'False'].map(parseBoolean)).toEqual([false, false, false]);
    expect(['yes', '', 'tRUE'].map(parseBoolean)).toEqual([undefined, undefined, undefined]);
    expect(parseUnsigned('ffffffffffffffff', 16)).toBe(2n ** 64n - 1n);
    expect(parseUnsigned('10000000000000000', 16)).toHaveProperty('complaint');
    expect(parseUnsigned('-1')).toHaveProperty('complaint');
  });
});

describe('names of commands', () => {
  it('may be short as long as they are clear', () => {
    expect(named(['lease', 'lock'], 'le')).toBe('lease');
    expect(named(['lease', 'lock'], 'l')).toBeUndefined();
    expect(named(['get', 'getter'], 'get')).toBe('get');
    expect(named(['get'], '')).toBeUndefined();
  });

  it.each([
    ['get a', {}, 3, 'get'],
    ['get a', { ETCDCTL_API: '2' }, 2, 'get'],
    ['--api 2 get a', {}, 2, 'get'],
    ['get a --api=3', { ETCDCTL_API: '2' }, 3, 'get'],
    ['ls', {}, 2, 'ls'],
    ['txn', { ETCDCTL_API: '2' }, 3, 'txn'],
    ['--endpoints put rm x', {}, 2, 'rm'],
    ['-w json mem list', {}, 3, 'member'],
    ['setd x', {}, 2, 'setdir'],
    ['lock x -- echo --api 2', {}, 3, 'lock'],
  ])('%s with %j', (line, env, generation, name) => {
    expect(chosen(line.split(' '), env)).toMatchObject({ generation, name });
  });
});

it('a table has frames as wide as what is in it, and wraps long cells', () => {
  expect(tableLines(['a_b', 'c'], [['1', 'two words '.repeat(5).trim()]])).toEqual([
    '+-----+-------------------------------+',
    '| A B |               C               |',
    '+-----+-------------------------------+',
    '|   1 | two words two words two words |',
    '|     |           two words two words |',
    '+-----+-------------------------------+',
  ]);
  expect(tableLines(['x'], [])).toEqual(['+---+', '| X |', '+---+']);
});

describe('a progress bar', () => {
  class Terminal extends Writable {
    text = '';
    isTTY: boolean;

    constructor(isTTY: boolean) {
      super();
      this.isTTY = isTTY;
    }

    override _write(chunk: Buffer, _encoding: string, done: () => void): void {
      this.text += chunk;
      done();
    }
  }

  it('is drawn on a terminal, and taken away', () => {
    const terminal = new Terminal(true);
    const bar = new ProgressBar(terminal, 'saving');
    bar.show(500, 1_000);
    bar.show(501, 1_000);
    bar.show(1_000, 1_000);
    bar.end();
    const half = `${'='.repeat(15)}${' '.repeat(15)}`;
    expect(terminal.text).toBe(
      `\rsaving [${half}] 50% 500 B of 1.0 kB\x1b[K\rsaving [${'='.repeat(30)}] 100% 1.0 kB of 1.0 kB\x1b[K\r\x1b[K`,
    );
  });

  it('is not drawn into a file', () => {
    const file = new Terminal(false);
    const bar = new ProgressBar(file, 'saving');
    bar.show(1, 1);
    bar.end();
    expect(file.text).toBe('');
  });
});

describe('a load', () => {
  it('comes to an end, and sooner when it is told to', async () => {
    const pace = new Pace(1_000, 0.05);
    let turns = 0;
    while (await pace.next(new AbortController().signal)) turns++;
    expect(turns).toBeGreaterThan(0);
    expect(turns).toBeLessThanOrEqual(50);
    expect(await new Pace(1, 60).next(AbortSignal.abort())).toBe(false);
  });

  it('is summed up', () => {
    const results = new Results();
    for (const seconds of [0.1, 0.2, 0.3]) results.add(seconds, undefined);
    results.add(9, 'failed');
    results.add(9, 'failed');
    expect([results.count, results.slowest]).toEqual([3, 0.3]);
    expect(results.stddev).toBeCloseTo(0.0816, 3);
    expect([...results.errors]).toEqual([['failed', 2]]);
    expect(new Results().stddev).toBe(0);
  });
});
