import type { WatchLimits } from '../../core/watch/limits.ts';
import type { WatchStream } from '../../core/watch/watch-stream.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { Harness } from '../apply/harness.ts';

export const PROGRESS_MS = 1_000;

/** A sink that writes down what it gets and can be stopped up. */
export class RecordingSink {
  readonly got: m.WatchResponse[] = [];
  /** Responses it takes before it says stop; Infinity: all. */
  room = Number.POSITIVE_INFINITY;
  onSend: ((response: m.WatchResponse) => void) | undefined;

  send(response: m.WatchResponse): boolean {
    this.got.push(response);
    this.onSend?.(response);
    return --this.room > 0;
  }

  /** What came since the last call, in short. */
  take(): string[] {
    return this.got.splice(0).map(brief);
  }
}

/** One that is given responses to several watches at once, and takes them all. */
export class CopyingSink extends RecordingSink {
  /** Responses as they came, and to whom. */
  readonly copies: { response: m.WatchResponse; ids: readonly bigint[] }[] = [];

  sendCopies(response: m.WatchResponse, ids: readonly bigint[]): boolean {
    this.copies.push({ response, ids });
    this.room -= ids.length - 1;
    for (const watch_id of ids) this.got.push({ ...response, watch_id });
    this.onSend?.(response);
    return --this.room > 0;
  }
}

export interface Client {
  sink: RecordingSink;
  stream: WatchStream;
}

export function harness(watch: Partial<WatchLimits> = {}): Harness {
  return new Harness({ progressIntervalMs: PROGRESS_MS, watch });
}

export function connect(h: Harness): Client {
  const sink = new RecordingSink();
  return { sink, stream: h.machine.hub.stream(sink) };
}

export function connectCopying(h: Harness): { sink: CopyingSink; stream: WatchStream } {
  const sink = new CopyingSink();
  return { sink, stream: h.machine.hub.stream(sink) };
}

export function watch(key: string, more: Partial<m.WatchCreateRequest> = {}): m.WatchCreateRequest {
  return { ...defaults(m.WatchCreateRequest), key, ...more };
}

/** A response as `id@header-revision what`. */
export function brief(response: m.WatchResponse): string {
  const { watch_id, created, canceled, compact_revision, cancel_reason, fragment, events } = response;
  const words = [`${watch_id}@${response.header!.revision}`];
  if (created) words.push('created');
  if (canceled) words.push('canceled');
  if (compact_revision !== 0) words.push(`compact=${compact_revision}`);
  if (cancel_reason !== '') words.push(`(${cancel_reason})`);
  for (const event of events) words.push(briefEvent(event));
  if (fragment) words.push('...');
  return words.join(' ');
}

export function briefEvent({ type, kv, prev_kv }: m.Event): string {
  const before = prev_kv === undefined ? '' : `<${Buffer.from(prev_kv.value).toString('latin1')}`;
  const value = Buffer.from(kv!.value).toString('latin1');
  return `${type === 0 ? '+' : '-'}${kv!.key}${value === '' ? '' : `=${value}`}:${kv!.mod_revision}${before}`;
}
