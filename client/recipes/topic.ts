/**
 * Publish and subscribe on one key: each message is a revision of it, so that the store holds one pair per topic, and
 * the history is what a subscriber that was away catches up from, as far as it is not compacted.
 */
import { EventType } from '../../core/wire/messages.ts';
import type { CallOptions, EtcdClient } from '../api.ts';

export type TopicItem =
  | { readonly kind: 'message'; readonly revision: number; readonly value: Uint8Array }
  /** Messages before `revision` may be missing: they have been compacted. */
  | { readonly kind: 'gap'; readonly revision: number };

/** Resolves with the message's revision. */
export async function publish(
  client: EtcdClient,
  topic: string,
  value: string | Uint8Array,
  options?: CallOptions,
): Promise<number> {
  return (await client.put(topic, value, options)).header!.revision;
}

/**
 * The messages after `afterRevision` (0: from now on), in order, each once; goes on over reconnects, until `signal`
 * fires. Keep the revision of the last message handled, and give it here after a restart.
 */
export async function* subscribe(
  client: EtcdClient,
  topic: string,
  signal: AbortSignal,
  afterRevision = 0,
): AsyncGenerator<TopicItem, void, void> {
  let next = afterRevision === 0 ? 0 : afterRevision + 1;
  while (!signal.aborted) {
    for await (const item of client.watch(topic, { start_revision: next, signal })) {
      if (item.kind === 'compacted') {
        next = item.compactRevision + 1;
        yield { kind: 'gap', revision: next };
        break;
      }
      if (item.kind !== 'events') continue;
      next = item.revision + 1;
      for (const { type, kv } of item.events) {
        if (type === EventType.values.PUT) yield { kind: 'message', revision: item.revision, value: kv!.value };
      }
    }
  }
}
