/**
 * Follows keys and prints what happens to them, whatever happens to the connection. Where compaction has overtaken it, it
 * says which revisions are gone, tells the latest put of every key that changed in them, and goes on behind.
 */
import { spawn } from 'node:child_process';
import type { WatchItem } from '../../client/index.ts';
import { RosterError } from '../../core/errors.ts';
import { fromByteString, toByteString } from '../../core/util/bytes.ts';
import { encode } from '../../core/wire/binary.ts';
import { Event, EventType, ResponseHeader } from '../../core/wire/messages.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { goQuote } from '../go-text.ts';
import { fieldLine, headerLines, pairLines } from '../output/fields.ts';
import { goJson } from '../output/go-json.ts';
import { printLines, unsupported } from '../output/print.ts';
import { printPair } from '../output/text.ts';

export interface Followed {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  /** Where to begin; 0: now. */
  revision: number;
  prevKv: boolean;
  progressNotify: boolean;
  /** Go on, too, when `revision` itself is compacted. */
  resume: boolean;
  /** To be run for each event; empty: none. */
  command: readonly string[];
}

type Events = Extract<WatchItem, { kind: 'events' }>;

/** Until the user interrupts. Rejects when the server ends the watch, or a command fails. */
export async function follow(context: Context, what: Followed): Promise<void> {
  if (context.globals.format === 'table') throw unsupported('table');
  const { signal } = context.io;
  let next = what.revision;
  /** Whether this watch has stood on the server: what it finds compacted after that, it has missed. */
  let stood = false;
  let created = 0;
  while (!signal.aborted) {
    const items = context.client.watch(what.key, {
      rangeEnd: what.rangeEnd,
      start_revision: next,
      prev_kv: what.prevKv,
      progress_notify: what.progressNotify,
      whole: true,
      signal,
      onCreated: (revision) => {
        // A second time: the first one was no failure, so the place was there to be watched.
        stood ||= created++ > 0 || next === 0;
        if (next === 0) next = revision + 1;
      },
    });
    for await (const item of told(context, items)) {
      if (item.kind === 'compacted') {
        if (!stood && !what.resume) throw cancelled(context, COMPACTED);
        next = await catchUp(context, what, next, item.compactRevision);
      } else {
        next = item.revision + 1;
        if (item.kind === 'progress') context.print(`progress notify: ${item.revision}`);
        else await show(context, what, item);
      }
      stood = true;
    }
  }
}

const COMPACTED = 'etcdserver: mvcc: required revision has been compacted';

/** The items, with an end that the server made told in etcdctl's words. */
async function* told(context: Context, items: AsyncIterable<WatchItem>): AsyncGenerator<WatchItem, void> {
  try {
    yield* items;
  } catch (error) {
    if (!(error instanceof RosterError) || context.io.signal.aborted) throw error;
    throw cancelled(context, error.message, error);
  }
}

function cancelled(context: Context, why: string, cause?: RosterError): CommandError {
  context.warn(`watch was canceled (${why})`);
  const failure = new CommandError('watch is canceled by the server', Exit.INTERRUPTED);
  failure.cause = cause;
  return failure;
}

/** Tells what of the revisions `from` to `compacted` can still be told. Returns the revision to go on from. */
async function catchUp(context: Context, what: Followed, from: number, compacted: number): Promise<number> {
  const answer = await context.client.range(
    {
      key: toByteString(what.key),
      range_end: toByteString(what.rangeEnd),
      revision: compacted,
      min_mod_revision: from,
    },
    context.call,
  );
  const changed = answer.kvs.length;
  context.warn(
    `missed revisions ${from} to ${compacted}: compacted before they could be read. ` +
      `Of the keys watched, ${changed} changed in them and still exist; their state follows. Deletions cannot be told.`,
  );
  const events = answer.kvs
    .toSorted((a, b) => a.mod_revision - b.mod_revision)
    .map((kv): Event => ({ type: EventType.values.PUT, kv }));
  const { header } = answer;
  if (changed > 0)
    await show(context, what, { kind: 'events', revision: compacted, events, ...(header && { header }) });
  return compacted + 1;
}

async function show(context: Context, { command }: Followed, item: Events): Promise<void> {
  printEvents(context, item);
  for (const event of command.length === 0 ? [] : item.events) {
    await execute(context, command, event, item.header?.revision ?? item.revision);
  }
}

const typeName = (event: Event): string => (event.type === EventType.values.PUT ? 'PUT' : 'DELETE');

function printEvents(context: Context, { events, header }: Events): void {
  const { format } = context.globals;
  if (format === 'json') {
    const list = events.map((event) => goJson(Event, event)).join(',');
    const head = header === undefined ? '{}' : goJson(ResponseHeader, header);
    context.print(`{"Header":${head},"Events":[${list}],"CompactRevision":0,"Canceled":false,"Created":false}`);
  } else if (format === 'fields') printLines(context, [...headerLines(header), ...events.flatMap(eventLines)]);
  else if (format === 'protobuf') for (const event of events) context.io.stdout.write(encode(Event, event));
  else {
    for (const event of events) {
      context.print(typeName(event));
      if (event.prev_kv !== undefined) printPair(context, event.prev_kv);
      if (event.kv !== undefined) printPair(context, event.kv);
    }
  }
}

function eventLines(event: Event): string[] {
  return [
    fieldLine('Type', typeName(event)),
    ...(event.prev_kv === undefined ? [] : pairLines(event.prev_kv, 'Prev')),
    ...(event.kv === undefined ? [] : pairLines(event.kv)),
  ];
}

/** Runs the command for one event and waits for it, so that commands see the events in order. */
function execute(context: Context, command: readonly string[], event: Event, revision: number): Promise<void> {
  const { io } = context;
  const child = spawn(command[0]!, command.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: io.signal,
    env: {
      ...io.env,
      ETCD_WATCH_REVISION: String(revision),
      ETCD_WATCH_EVENT_TYPE: goQuote(typeName(event)),
      ETCD_WATCH_KEY: goQuote(Buffer.from(fromByteString(event.kv?.key ?? ''))),
      ETCD_WATCH_VALUE: goQuote(event.kv?.value ?? ''),
    },
  });
  child.stdout.on('data', (chunk: Buffer) => io.stdout.write(chunk));
  child.stderr.on('data', (chunk: Buffer) => io.stderr.write(chunk));
  const failed = (why: string) => {
    context.warn(`command [${command.map(goQuote).join(' ')}] error (${why})`);
    return new CommandError('');
  };
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      if (io.signal.aborted) resolve();
      else reject(failed(error.message));
    });
    child.once('close', (code, killed) => {
      if (code === 0 || io.signal.aborted) resolve();
      else reject(failed(code === null ? `signal: ${killed}` : `exit status ${code}`));
    });
  });
}
