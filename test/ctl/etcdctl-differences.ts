/**
 * Where rosterctl says something else than etcdctl 3.4, which Debian has, and why. rosterctl goes by 3.7; what is the same
 * in spite of the difference is compared.
 */
export interface Difference {
  /** Of the first line of a block of the transcript. */
  command: RegExp;
  why: string;
  /** What is left to be compared. */
  equal: (block: string) => string;
}

/** A block without what is no part of the answer: log lines of etcdctl's client, hints of rosterctl. */
export function told(block: string): string {
  return block
    .split('\n')
    .filter((line) => !line.startsWith('{"level":') && !line.startsWith('hint: '))
    .join('\n');
}

const code = (block: string) => block.split('\n').at(-1)!;
const codeOnly = { equal: code };

export const differences: readonly Difference[] = [
  {
    command: /txn -w json$/,
    why: '3.7 names the members of a oneof as the proto does',
    equal: (block) =>
      block.replaceAll('ResponsePut', 'response_put').replaceAll('ResponseDeleteRange', 'response_delete_range'),
  },
  { command: /endpoint status$/, why: '3.7 has six more columns', ...codeOnly },
  { command: /endpoint status -w table$/, why: '3.7 has six more columns', ...codeOnly },
  {
    command: /endpoint status -w fields$/,
    why: '3.7 has five more lines',
    equal: (block) => block.replace(/^"(?:StorageVersion|DBSizeInUse|DBSizeQuota|Downgrade\w+)" : .*\n/gm, ''),
  },
  {
    command: /endpoint hashkv$/,
    why: '3.7 tells the revision of the hash; an error is told without the words of the Go library',
    equal: (block) => block.replace(/(<endpoint>, \d+), 0/, '$1').replaceAll('rpc error: code = Unknown desc = ', ''),
  },
  {
    command: /defrag$/,
    why: '3.7 tells how long it took; an error is told without the words of the Go library',
    equal: (block) =>
      block
        .replace(/\. took [^ \n]+?s(?:\.(?= \())?$|\. took \S+?s\.(?= )/gm, '')
        .replace('rpc error: code = Unknown desc = ', ''),
  },
  { command: /(?:put|get) a b c$/, why: 'a word too many is refused, instead of being passed over', equal: () => '' },
  {
    command: /txn$/,
    why: 'a number that is none: 3.7 says why',
    equal: (block) => block.replace(/ \(strconv\.\w+: .*\)$/m, ''),
  },
];
