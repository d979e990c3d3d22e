/** Numbers and words that stand for larger things, so that two of them can be compared. Not for secrets. */

import type { StateMachine } from '../../core/apply/state-machine.ts';
import { RosterError } from '../../core/errors.ts';
import type { Bucket } from '../../core/mvcc/backend.ts';

/** A running hash (two lanes of FNV-1a): equal runs have equal hashes. */
export class Digest {
  #a = 0x811c9dc5;
  #b = 0x1234567;

  number(value: number): this {
    this.#a = Math.imul(this.#a ^ (value | 0), 0x01000193);
    this.#b = Math.imul(this.#b ^ ((value / 2 ** 20) | 0) ^ this.#a, 0x01000193) + 1;
    return this;
  }

  text(value: string): this {
    for (let i = 0; i < value.length; i++) this.number(value.charCodeAt(i));
    return this.number(value.length);
  }

  bytes(value: Uint8Array): this {
    for (const byte of value) this.number(byte);
    return this.number(value.length);
  }

  get value(): string {
    const hex = (lane: number) => (lane >>> 0).toString(16).padStart(8, '0');
    return hex(this.#a) + hex(this.#b);
  }
}

/** As JSON, but bytes as text and integers of 64 bits as theirs. Written out because it is needed for every entry. */
function jsonOf(value: unknown): string | undefined {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'number':
    case 'boolean':
      return `${value}`;
    case 'bigint':
      return `"${value}n"`;
    case 'object':
      break;
    default:
      return undefined;
  }
  if (value === null) return 'null';
  if (value instanceof Uint8Array) return JSON.stringify(Buffer.from(value).toString('latin1'));
  if (Array.isArray(value)) return `[${value.map((each) => jsonOf(each) ?? 'null').join()}]`;
  let text = '';
  for (const name in value) {
    const inner = jsonOf((value as Record<string, unknown>)[name]);
    if (inner !== undefined) text += `${text === '' ? '' : ','}"${name}":${inner}`;
  }
  return `{${text}}`;
}

/** A result of the state machine, or of its model, as text: equal for equal results. */
export function resultText(result: object | undefined): string {
  if (result === undefined) return '';
  if (result instanceof RosterError) return `{"refused":"${result.code}"}`;
  return jsonOf(result)!;
}

/** What a reader can see of a state: the same on all members that have applied the same entries. */
export function stateDigest({ store, lessor }: StateMachine): string {
  const digest = new Digest().number(store.revision).number(store.compactRevision);
  const all = store.range('\0', '\0');
  if (typeof all === 'string') throw new Error('the latest revision can always be read');
  for (const kv of all.kvs) digest.text(resultText(kv));
  for (const id of lessor.list().sort((a, b) => (a < b ? -1 : 1))) {
    const life = lessor.timeToLive(id);
    digest.text(`${id} ${life?.ttlSeconds} ${life?.keys().sort().join()}`);
  }
  return digest.value;
}

const ROWS: readonly Bucket[] = ['key', 'lease', 'members', 'members_removed', 'cluster'];

/** All rows, history included: the same on all members that have applied the same entries and finished compacting. */
export function rowsDigest({ backend }: StateMachine): string {
  const digest = new Digest();
  for (const bucket of ROWS) {
    backend.scan(bucket, '', undefined, (key, row) => {
      digest.text(key).bytes(row);
      return true;
    });
  }
  return digest.value;
}
