/**
 * Prints an answer in the format that --write-out names. Owns which format a kind of answer has, and what is said when
 * it has none; the spelling of each is a file of its own.
 */
import { encode } from '../../core/wire/binary.ts';
import type { MessageType } from '../../core/wire/schema.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { goJson } from './go-json.ts';
import { tableLines } from './table.ts';

export const FORMATS = ['simple', 'fields', 'json', 'table', 'protobuf'] as const;
export type Format = (typeof FORMATS)[number];

/** An answer of the server, and how it is told. What is left out is not supported. */
export interface Answer<T extends object> {
  type: MessageType<T>;
  message: T;
  simple: () => void;
  fields?: () => string[];
  /** Where etcdctl prints something else than the message itself. */
  json?: () => string;
}

export function printAnswer<T extends object>(context: Context, answer: Answer<T>): void {
  const { format, hex } = context.globals;
  if (format === 'simple') answer.simple();
  else if (format === 'json') {
    const hexIds = hex && /\.Member(?:Add|Remove|Update|List|Promote)Response$/.test(answer.type.name);
    context.print(answer.json?.() ?? goJson(answer.type, answer.message, { hexIds }));
  } else if (format === 'fields' && answer.fields !== undefined) printLines(context, answer.fields());
  else if (format === 'protobuf') context.io.stdout.write(encode(answer.type, answer.message));
  else throw unsupported(format);
}

/** Several rows of the same kind: what one gets by asking several endpoints. */
export interface Listing {
  head: readonly string[];
  rows: readonly (readonly string[])[];
  fields: () => string[];
  json: () => string;
  /** In place of the rows with commas. */
  simple?: () => void;
}

export function printListing(context: Context, listing: Listing): void {
  const { format } = context.globals;
  if (format === 'table') printLines(context, tableLines(listing.head, listing.rows));
  else if (format === 'json') context.print(listing.json());
  else if (format === 'fields') printLines(context, listing.fields());
  else if (format === 'protobuf') throw unsupported(format);
  else if (listing.simple !== undefined) listing.simple();
  else for (const row of listing.rows) context.print(row.join(', '));
}

/** The error of a format that a command does not have. */
export function unsupported(format: string): CommandError {
  return new CommandError(`${format} not supported as output format`, Exit.BAD_FEATURE);
}

export function printLines(context: Context, lines: readonly string[]): void {
  for (const line of lines) context.print(line);
}
