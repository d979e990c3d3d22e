/** du, history and diff: what is in the store, and what it was. Plain reads and watches, so that any etcd will do. */
import type { Command } from 'commander';
import type { Event, KeyValue, WatchItem } from '../../client/index.ts';
import { prefixRange } from '../../client/key.ts';
import {
  type ByteString,
  byteStringToUtf8,
  bytesEqual,
  fromByteString,
  utf8ToByteString,
} from '../../core/util/bytes.ts';
import { EventType } from '../../core/wire/messages.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { goQuote } from '../go-text.ts';
import { printListing, unsupported } from '../output/print.ts';
import { tableLines } from '../output/table.ts';
import { humanBytes } from '../output/text.ts';
import { expectArguments, integer } from '../v3/numbers.ts';
import { folderOf } from './children.ts';

const PAGE_PAIRS = 1_000;
const PREVIEW_CHARACTERS = 60;

export function addExploreCommands(program: Command, context: Context): void {
  program
    .command('du [args...]')
    .usage('[options] [prefix]')
    .description('Sums up keys and octets under a prefix, by child')
    .option('--separator <text>', 'what ends the name of a child', '/')
    .option('--rev <n>', 'at this revision', integer('rev'), 0)
    .addHelpText('after', '\nExamples:\n  $ rosterctl du\n  $ rosterctl du /services -w table')
    .action((args: string[], flags: { separator: string; rev: number }) => du(context, args, flags));
  program
    .command('history [args...]')
    .usage('[options] <key>')
    .description('Shows every change of a key that the store remembers')
    .option('--limit <n>', 'the newest so many changes; 0: all', integer('limit'), 0)
    .addHelpText('after', '\nExample:\n  $ rosterctl history /app/port')
    .action((args: string[], flags: { limit: number }) => history(context, args, flags.limit));
  program
    .command('diff [args...]')
    .usage('--from <rev> [--to <rev>] [prefix]')
    .description('Shows what differs between two revisions of a prefix')
    .requiredOption('--from <rev>', 'the older revision', integer('from'))
    .option('--to <rev>', 'the newer revision; 0: now', integer('to'), 0)
    .addHelpText('after', '\nExample:\n  $ rosterctl diff --from 1200 --to 1234 /app/')
    .action((args: string[], flags: { from: number; to: number }) => diff(context, args, flags));
}

/** All pairs of a prefix at one revision, page by page; the first tells the revision. */
async function* pages(context: Context, prefix: ByteString, at: number) {
  const { key, range_end } = prefixRange(fromByteString(prefix));
  let revision = at;
  for (let from = key; ; ) {
    const page = await context.client.range({ key: from, range_end, limit: PAGE_PAIRS, revision }, context.call);
    if (revision === 0) revision = page.header?.revision ?? 0;
    yield { kvs: page.kvs, revision };
    const last = page.kvs.at(-1);
    if (!page.more || last === undefined) return;
    from = `${last.key}\0`;
  }
}

interface Sum {
  name: string;
  keys: number;
  keyBytes: number;
  valueBytes: number;
}

async function du(context: Context, args: readonly string[], flags: { separator: string; rev: number }): Promise<void> {
  if (args.length > 1) throw new CommandError('du takes one prefix', Exit.BAD_ARGUMENTS);
  const prefix = folderOf({ prefix: args[0] ?? '', separator: flags.separator });
  const separator = utf8ToByteString(flags.separator);
  const sums = new Map<ByteString, Sum>();
  const total: Sum = { name: 'total', keys: 0, keyBytes: 0, valueBytes: 0 };
  for await (const { kvs } of pages(context, prefix, flags.rev)) {
    for (const { key, value } of kvs) {
      const end = separator === '' ? -1 : key.indexOf(separator, prefix.length);
      const child = end === -1 ? key : key.slice(0, end + separator.length);
      let sum = sums.get(child);
      if (sum === undefined) {
        sum = { name: byteStringToUtf8(child), keys: 0, keyBytes: 0, valueBytes: 0 };
        sums.set(child, sum);
      }
      for (const one of [sum, total]) {
        one.keys++;
        one.keyBytes += key.length;
        one.valueBytes += value.length;
      }
    }
  }
  const rows = [...sums.values(), total];
  printListing(context, {
    head: ['prefix', 'keys', 'keys size', 'values size'],
    rows: rows.map(({ name, keys, keyBytes, valueBytes }) => [
      name,
      String(keys),
      humanBytes(keyBytes),
      humanBytes(valueBytes),
    ]),
    fields: () =>
      rows.flatMap(({ name, keys, keyBytes, valueBytes }) => [
        `"Prefix" : ${goQuote(name)}`,
        `"Keys" : ${keys}`,
        `"KeysSize" : ${keyBytes}`,
        `"ValuesSize" : ${valueBytes}`,
        '',
      ]),
    json: () => JSON.stringify(rows),
  });
}

function preview(value: Uint8Array): string {
  const text = goQuote(value);
  return text.length <= PREVIEW_CHARACTERS ? text : `${text.slice(0, PREVIEW_CHARACTERS)}... (${value.length} octets)`;
}

/** From the oldest revision that is not compacted: the first attempt learns which that is. */
async function history(context: Context, args: readonly string[], limit: number): Promise<void> {
  expectArguments(args, 1, 'history needs one key');
  if (!['simple', 'json'].includes(context.globals.format)) throw unsupported(context.globals.format);
  const key = utf8ToByteString(args[0]!);
  const { header, kvs } = await context.client.range({ key }, context.call);
  const { events, compacted } = await eventsOf(context, key, header?.revision ?? 0, kvs[0]);
  if (compacted > 0) context.warn(`revisions before ${compacted} are compacted: what was before cannot be told`);
  const shown = limit > 0 ? events.slice(-limit) : events;
  if (context.globals.format === 'json') {
    context.print(JSON.stringify({ key: args[0], compactRevision: compacted, changes: shown.map(changeJson) }));
    return;
  }
  for (const event of shown) context.print(changeLine(event));
  if (events.length === 0) context.warn(`no change of ${goQuote(args[0]!)} is remembered`);
}

/** How often the server is asked how far the watch is. */
const PROGRESS_MS = 50;
/** etcd before 3.5 may say that a watch is up to date before it has sent what was before: then quiet has to tell. */
const QUIET_MS = 1_000;

interface History {
  events: Event[];
  /** Up to which revision nothing can be told; 0: all is there. */
  compacted: number;
}

/** Events of a key up to revision `last`, at which it is `now`. */
async function eventsOf(context: Context, key: ByteString, last: number, now: KeyValue | undefined): Promise<History> {
  const bytes = fromByteString(key);
  let compacted = 0;
  for (;;) {
    // What the key is now may be older than all that can be watched.
    if (now !== undefined && now.mod_revision < compacted) {
      return { events: [{ type: EventType.values.PUT, kv: now }], compacted };
    }
    const timer = setInterval(() => context.client.requestProgress(), PROGRESS_MS);
    const items = context.client.watch(bytes, { start_revision: compacted || 1, signal: context.io.signal });
    try {
      const found = await collect(items, last, now);
      if (typeof found !== 'number') return { events: found, compacted };
      compacted = found;
    } finally {
      clearInterval(timer);
    }
  }
}

/** The events; or the revision of the compaction that is in the way. */
async function collect(
  items: AsyncIterable<WatchItem>,
  last: number,
  now: KeyValue | undefined,
): Promise<Event[] | number> {
  const events: Event[] = [];
  let quietSince = performance.now();
  for await (const item of items) {
    if (item.kind === 'compacted') return item.compactRevision;
    if (item.kind === 'events') {
      quietSince = performance.now();
      if (item.revision <= last) events.push(...item.events);
      if (item.revision >= (now?.mod_revision ?? last)) break;
    } else if (now === undefined && item.revision >= last && performance.now() - quietSince >= QUIET_MS) break;
  }
  return events;
}

function changeLine({ type, kv }: Event): string {
  const { mod_revision, version, value, lease } = kv!;
  if (type === EventType.values.DELETE) return `revision ${mod_revision}: deleted`;
  const what = version === 1 ? 'created' : `put, version ${version}`;
  const leased = lease === 0n ? '' : `, lease ${BigInt.asUintN(64, lease).toString(16)}`;
  return `revision ${mod_revision}: ${what}${leased}: ${preview(value)}`;
}

function changeJson({ type, kv }: Event): object {
  const { mod_revision, version, value } = kv!;
  if (type === EventType.values.DELETE) return { revision: mod_revision, type: 'DELETE' };
  return { revision: mod_revision, type: 'PUT', version, value: Buffer.from(value).toString('base64') };
}

async function diff(context: Context, args: readonly string[], flags: { from: number; to: number }): Promise<void> {
  if (args.length > 1) throw new CommandError('diff takes one prefix', Exit.BAD_ARGUMENTS);
  if (flags.from < 1 || (flags.to > 0 && flags.to < flags.from)) {
    throw new CommandError('--from is a revision, and --to a later one, or 0 for now', Exit.BAD_ARGUMENTS);
  }
  const prefix = utf8ToByteString(args[0] ?? '');
  const before = new Map<ByteString, KeyValue>();
  for await (const { kvs } of pages(context, prefix, flags.from)) for (const pair of kvs) before.set(pair.key, pair);
  const rows: string[][] = [];
  for await (const { kvs } of pages(context, prefix, flags.to)) {
    for (const pair of kvs) {
      const old = before.get(pair.key);
      before.delete(pair.key);
      const name = byteStringToUtf8(pair.key);
      if (old === undefined) rows.push(['+', name, '', preview(pair.value)]);
      else if (!bytesEqual(old.value, pair.value)) rows.push(['~', name, preview(old.value), preview(pair.value)]);
    }
  }
  for (const pair of before.values()) rows.push(['-', byteStringToUtf8(pair.key), preview(pair.value), '']);
  rows.sort((a, b) => (a[1]! < b[1]! ? -1 : 1));
  printDiff(context, rows);
}

function printDiff(context: Context, rows: readonly string[][]): void {
  const { format } = context.globals;
  if (format === 'json') {
    context.print(JSON.stringify(rows.map(([sign, key, from, to]) => ({ change: sign, key, from, to }))));
  } else if (format === 'table') for (const line of tableLines(['', 'key', 'from', 'to'], rows)) context.print(line);
  else if (format !== 'simple') throw unsupported(format);
  else {
    for (const [sign, key, from, to] of rows) {
      context.print(`${sign} ${key} ${[from, to].filter((text) => text !== '').join(' -> ')}`);
    }
  }
}
