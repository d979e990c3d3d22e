/**
 * The parameters of `/kv/...`: one table of what there is, what each takes and where it means something. The parser and
 * the OpenAPI document are made from it. What is not in it is refused: a typing error in a DELETE must not widen it.
 */
import type { ByteString } from '../../core/util/bytes.ts';
import { badRequest } from './errors.ts';

/** What a request is about. */
export const USES = ['read', 'list', 'children', 'watch', 'put', 'delete', 'delete-prefix'] as const;
export type Use = (typeof USES)[number];

type Kind = 'flag' | 'number' | 'text' | readonly string[];

export interface Parameter {
  readonly name: string;
  readonly kind: Kind;
  readonly uses: readonly Use[];
  /** For people; the first sentence says what it does. */
  readonly text: string;
}

/** Largest number of pairs or children of a page, and largest revision: what JSON numbers hold exactly. */
const NUMBER_MAX = Number.MAX_SAFE_INTEGER;

const READING: readonly Use[] = ['read', 'list', 'children'];

const TABLE = [
  {
    name: 'prefix',
    kind: 'flag',
    uses: ['list', 'watch', 'delete-prefix'],
    text: 'All keys that begin with the one in the path, as a list.',
  },
  {
    name: 'children',
    kind: 'flag',
    uses: ['children'],
    text: 'What lies one level below the key in the path: keys, and groups of keys up to the next delimiter.',
  },
  { name: 'watch', kind: 'flag', uses: ['watch'], text: 'Changes as they come, until the client leaves.' },
  {
    name: 'rev',
    kind: 'number',
    uses: [...READING, 'watch'],
    text: 'Reads at this revision; a watch begins with it.',
  },
  {
    name: 'limit',
    kind: 'number',
    uses: ['list', 'children'],
    text: 'Most entries of one answer. `next` is the cursor.',
  },
  {
    name: 'cursor',
    kind: 'text',
    uses: ['list', 'children'],
    text: 'Goes on where an answer with `next` ended, at the same revision.',
  },
  { name: 'delimiter', kind: 'text', uses: ['children'], text: 'What parts the levels; `/` unless given.' },
  { name: 'keys-only', kind: 'flag', uses: ['list'], text: 'Leaves the values out.' },
  { name: 'count', kind: 'flag', uses: ['list'], text: 'Only how many keys there are.' },
  {
    name: 'sort',
    kind: ['key', 'version', 'create', 'mod', 'value'],
    uses: ['list'],
    text: 'What the list is sorted by; `key` unless given. Any other order is made before the first entry is sent.',
  },
  { name: 'order', kind: ['asc', 'desc'], uses: ['list'], text: 'Ascending unless given.' },
  {
    name: 'serializable',
    kind: 'flag',
    uses: READING,
    text: 'Reads what this member has, perhaps not the newest, without asking the others.',
  },
  {
    name: 'prev',
    kind: 'flag',
    uses: ['put', 'delete', 'watch'],
    text: 'What was there before, too. Needs leave to read.',
  },
  {
    name: 'ttl',
    kind: 'number',
    uses: ['put'],
    text: 'The key goes after so many seconds, unless it is put again. Leases have a shortest time; the answer says it.',
  },
  { name: 'lease', kind: 'text', uses: ['put'], text: 'Hangs the key on this lease: its ID in hexadecimal.' },
  { name: 'all', kind: 'flag', uses: ['delete-prefix'], text: 'Says that every key there is is meant to be deleted.' },
] as const satisfies readonly Parameter[];

/** See the table. */
export const PARAMETERS: readonly Parameter[] = TABLE;

export type ParameterName = (typeof TABLE)[number]['name'];

export class Parameters {
  readonly use: Use;
  readonly #values: ReadonlyMap<string, ByteString>;

  private constructor(use: Use, values: ReadonlyMap<string, ByteString>) {
    this.use = use;
    this.#values = values;
  }

  /** Throws a RosterError that names what is wrong with the first wrong one. */
  static parse(method: string, query: readonly (readonly [string, ByteString])[]): Parameters {
    const values = new Map<string, ByteString>();
    for (const [name, value] of query) {
      const parameter = PARAMETERS.find((each) => each.name === name);
      if (parameter === undefined) throw unknown(name);
      if (values.has(name)) throw wrong(name, 'is there twice', 'Give it once.');
      check(parameter, value);
      if (parameter.kind !== 'flag') values.set(name, value);
      else if (flagOf(value) === true) values.set(name, '');
    }
    const use = useOf(method, values);
    for (const name of values.keys()) {
      const { uses } = PARAMETERS.find((each) => each.name === name)!;
      if (!uses.includes(use))
        throw wrong(name, `means nothing here (${described(use)})`, `It goes with: ${uses.map(described).join('; ')}.`);
    }
    return new Parameters(use, values);
  }

  flag(name: ParameterName): boolean {
    return this.#values.has(name);
  }

  text(name: ParameterName): ByteString | undefined {
    return this.#values.get(name);
  }

  number(name: ParameterName): number | undefined {
    const value = this.#values.get(name);
    return value === undefined ? undefined : Number(value);
  }
}

function useOf(method: string, given: ReadonlyMap<string, unknown>): Use {
  if (method === 'PUT') return 'put';
  if (method === 'DELETE') return given.has('prefix') ? 'delete-prefix' : 'delete';
  if (given.has('watch')) return 'watch';
  if (given.has('children')) return 'children';
  return given.has('prefix') || given.has('count') ? 'list' : 'read';
}

function described(use: Use): string {
  if (use === 'read') return 'GET';
  if (use === 'put' || use === 'delete') return use.toUpperCase();
  if (use === 'delete-prefix') return 'DELETE ?prefix';
  return `GET ?${use === 'list' ? 'prefix' : use}`;
}

function flagOf(value: string): boolean | undefined {
  if (value === '' || value === 'true' || value === '1') return true;
  return value === 'false' || value === '0' ? false : undefined;
}

function check({ name, kind }: Parameter, value: ByteString): void {
  if (kind === 'flag') {
    if (flagOf(value) !== undefined) return;
    throw wrong(name, `is "${value}"`, `Write ?${name} alone; what is meant by it is in the path.`);
  }
  if (kind === 'number') {
    if (/^[1-9][0-9]{0,15}$/.test(value) && Number(value) <= NUMBER_MAX) return;
    throw wrong(name, `is "${value}"`, 'Give a whole number from 1 on.');
  }
  if (kind === 'text') {
    if (value !== '') return;
    throw wrong(name, 'is empty', 'Give it a value, or leave it out.');
  }
  if (!kind.includes(value)) throw wrong(name, `is "${value}"`, `It is one of: ${kind.join(', ')}.`);
}

function wrong(name: string, what: string, hint: string) {
  return badRequest('BadParameter', `the parameter ${name} ${what}`, hint);
}

function unknown(name: string) {
  const names = PARAMETERS.map((each) => each.name).join(', ');
  return badRequest('BadParameter', `there is no parameter "${name}"`, `There are: ${names}.`);
}
