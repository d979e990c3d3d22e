/**
 * What a watch says, as text: one message for each revision, whole, so that a client which goes on from the last one it
 * has seen misses nothing and sees nothing twice. Owns both dialects (a line of JSON, or a Server-Sent Event).
 */
import { type Event, EventType } from '../../core/wire/messages.ts';
import { keyField, pairJson } from './pair-json.ts';

/** `message` has a `type`; `seen`: everything up to this revision has been said, if that is known. */
export type Format = (message: WatchMessage, seen: number | undefined) => string;

export type WatchMessage =
  | { type: 'watching'; revision: number; from: number }
  | { type: 'events'; revision: number; events: object[] }
  | { type: 'progress'; revision: number }
  | { type: 'keep-alive' }
  | { type: 'compacted'; compactRevision: number; error: string; hint: string }
  | { type: 'failed'; error: unknown; code: unknown; hint: unknown };

export const asLine: Format = (message) => `${JSON.stringify(message)}\n`;

/** How long a browser waits before it comes back, in milliseconds. */
const RETRY_MS = 1000;

/** The id is what a browser sends as Last-Event-ID when it comes back. Events are unnamed, so that `onmessage` gets them. */
export const asServerSentEvent: Format = (message, seen) => {
  const { type, ...data } = message;
  if (type === 'keep-alive') return ': keep-alive\n\n';
  const retry = type === 'watching' ? `retry: ${RETRY_MS}\n` : '';
  const name = type === 'events' ? '' : `event: ${type}\n`;
  const id = seen === undefined ? '' : `id: ${seen}\n`;
  return `${retry}${name}${id}data: ${JSON.stringify(data)}\n\n`;
};

/** Parts events, which are whole revisions in order, into one message each. */
export function* revisionMessages(
  events: readonly Event[],
): Generator<{ type: 'events'; revision: number; events: object[] }> {
  for (let i = 0; i < events.length; ) {
    const revision = events[i]!.kv!.mod_revision;
    const group: object[] = [];
    for (; i < events.length && events[i]!.kv!.mod_revision === revision; i++) group.push(eventJson(events[i]!));
    yield { type: 'events', revision, events: group };
  }
}

function eventJson({ type, kv, prev_kv }: Event): object {
  const prev = prev_kv === undefined ? {} : { prev: pairJson(prev_kv) };
  if (type === EventType.values.PUT) return { type: 'put', ...pairJson(kv!), ...prev };
  return { type: 'delete', ...keyField(kv!.key), modRevision: kv!.mod_revision, ...prev };
}
