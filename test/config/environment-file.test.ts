import { describe, expect, it } from 'vitest';
import { parseEnvironmentFile } from '../../server/config/environment-file.ts';
import { UsageError } from '../../server/config/flag-table.ts';

const values = (content: string) =>
  Object.fromEntries(parseEnvironmentFile(content, 'f').map(({ name, value }) => [name, value]));

describe('parseEnvironmentFile()', () => {
  it("reads the lines of a packaged etcd.conf: comments, quotes, and what is commented out isn't there", () => {
    expect(
      values(
        '#[Member]\n#ETCD_WAL_DIR=""\nETCD_DATA_DIR="/var/lib/etcd/default.etcd"\n; other comment\n\n  ETCD_NAME=\'a b\'\nETCD_X=plain\r\nexport ETCD_Y=1\n',
      ),
    ).toEqual({ ETCD_DATA_DIR: '/var/lib/etcd/default.etcd', ETCD_NAME: 'a b', ETCD_X: 'plain', ETCD_Y: '1' });
  });

  it.each([
    ['A=', ''],
    ['A=""', ''],
    ['A=  b c  ', 'b c'],
    ['A=b#c', 'b#c'],
    ['A="b" # why', 'b'],
    ["A='b\"c'", 'b"c'],
    ['A="b\\"c\\\\d\\$e\\n"', 'b"c\\d$e\\n'],
    ["A='b\\c'", 'b\\c'],
    ['A=b\\ \\ ', 'b  '],
    ['A=b\\\nc', 'bc'],
    ['A="b\nc"', 'b\nc'],
    ['A="b\\\nc"', 'bc'],
    ['A="b"c\'d\'', 'bcd'],
    ['A=$HOME', '$HOME'],
    ['A=b=c', 'b=c'],
  ])('%j is %j', (line, value) => {
    expect(values(line)).toEqual({ A: value });
    expect(values(`B=1\n${line}\nC=2`)).toEqual({ A: value, B: '1', C: '2' });
  });

  it('counts lines over values that go over several', () => {
    expect(parseEnvironmentFile('A="1\n2"\n\nB=1', 'f').map(({ line }) => line)).toEqual([1, 4]);
  });

  it.each([
    ['A=1\nnonsense', 'f:2: "nonsense" must be NAME=value'],
    ['\nA="open', 'f:2: the quote in A is not closed'],
    ["A='open\nB=1", 'f:1: the quote in A is not closed'],
    ['A =1', 'f:1: "A =1" must be NAME=value'],
  ])('%j is refused with file and line', (content, message) => {
    expect(() => values(content)).toThrow(UsageError);
    expect(() => values(content)).toThrow(message);
  });
});
