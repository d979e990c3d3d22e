/**
 * Which generation of verbs a command line means: --api 2|3, else ETCDCTL_API, else 3; a name that only one of them has
 * needs no telling. Looks at the command's name and at nothing else.
 */
import { named } from './arguments.ts';
import { beyond, type Group, namesOf, version2, version3 } from './catalogue.ts';
import { CommandError, Exit, type Io } from './context.ts';

export type Generation = 2 | 3;

export interface Choice {
  generation: Generation;
  /** The groups of this generation. */
  groups: readonly Group[];
  /** The command, written out; undefined when none is named. */
  name: string | undefined;
  /** The command line without --api, and with the name written out. */
  args: string[];
}

const GROUPS: Readonly<Record<Generation, readonly Group[]>> = { 2: version2, 3: [...version3, ...beyond] };

/** Flags before the command whose value is the next word. */
const VALUED = new Set(
  (
    '--endpoints -w --write-out --dial-timeout --command-timeout --keepalive-time --keepalive-timeout ' +
    '--max-request-bytes --max-recv-bytes --cert --key --cacert --user --password --auth-jwt-token -d --discovery-srv ' +
    '--discovery-srv-name -o --output -D --peers -C --endpoint --cert-file --key-file --ca-file --username -u --timeout ' +
    '--total-timeout'
  ).split(' '),
);

/** Throws a CommandError when there is no such command, or --api is neither 2 nor 3. */
export function chosen(line: readonly string[], env: Io['env']): Choice {
  const { api, args } = withoutApi(line);
  const wanted = generationOf(api ?? (env.ETCDCTL_API || '3'));
  const at = commandIndex(args);
  if (args[at] === 'help') {
    args.splice(at, 1);
    args.push('--help');
  }
  const word = args[at];
  if (word === undefined || word.startsWith('-')) {
    return { generation: wanted, groups: GROUPS[wanted], name: undefined, args };
  }
  const found = lookUp(word, wanted);
  if (found === undefined) throw unknown(word, wanted);
  args[at] = found.name;
  return { ...found, groups: GROUPS[found.generation], args };
}

function withoutApi(line: readonly string[]): { api: string | undefined; args: string[] } {
  const args = [...line];
  const end = args.indexOf('--');
  const at = args.findIndex((arg, i) => (end === -1 || i < end) && /^--api(?:=|$)/.test(arg));
  if (at === -1) return { api: undefined, args };
  const [flag] = args.splice(at, 1);
  if (flag !== '--api') return { api: flag!.slice('--api='.length), args };
  return { api: args.splice(at, 1)[0] ?? '', args };
}

function generationOf(text: string): Generation {
  if (text === '2' || text === '3') return Number(text) as Generation;
  throw new CommandError(`there is no API ${JSON.stringify(text)}: --api and ETCDCTL_API are 2 or 3`);
}

function commandIndex(args: readonly string[]): number {
  let i = 0;
  while (i < args.length && args[i]!.startsWith('-') && args[i] !== '--') i += VALUED.has(args[i]!) ? 2 : 1;
  return i;
}

function lookUp(word: string, wanted: Generation): { generation: Generation; name: string } | undefined {
  const order: Generation[] = wanted === 3 ? [3, 2] : [2, 3];
  for (const generation of order) {
    if (namesOf(GROUPS[generation]).includes(word)) return { generation, name: word };
  }
  for (const generation of order) {
    const name = named(namesOf(GROUPS[generation]), word);
    if (name !== undefined) return { generation, name };
  }
  return undefined;
}

/** Codes of etcdctl for it: 1 with API 3, 3 with API 2. */
function unknown(word: string, wanted: Generation): CommandError {
  const alike = namesOf(GROUPS[wanted]).filter((name) => name.startsWith(word) || name.includes(word));
  const guess = alike.length === 0 ? '' : `; did you mean ${alike.join(', ')}?`;
  const text = `unknown command ${JSON.stringify(word)} for "rosterctl"${guess}`;
  return new CommandError(text, wanted === 2 ? Exit.INVALID_INPUT : Exit.ERROR);
}
