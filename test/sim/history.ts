/** What clients did and what they were told: the input of the checkers of client promises. */
import type { InternalRequest } from '../../core/wire/stored.ts';

/** What one operation did to one key. `undefined` is "no such key". */
export type KeyAction =
  | { readonly kind: 'put'; readonly value: string }
  | { readonly kind: 'read'; readonly value: string | undefined }
  | { readonly kind: 'delete'; readonly found: boolean }
  | { readonly kind: 'cas'; readonly expected: string | undefined; readonly value: string; readonly swapped: boolean };

/** One operation of one client, whose operations do not overlap. */
export interface Operation {
  readonly id: number;
  readonly client: number;
  readonly what: string;
  /** Moments are counted, not timed: each is unlike any other. */
  readonly calledAt: number;
  /** Infinity: the outcome is not known. */
  returnedAt: number;
  readonly calledMs: number;
  /** Undefined for a read. */
  readonly request: Omit<InternalRequest, 'id'> | undefined;
  /** A read that need not be the newest. */
  readonly local: boolean;
  /** The ids under which it was proposed; all but one are known to have come to nothing. */
  readonly requestIds: bigint[];
  /** The result, as text. */
  result: string;
  /** The store's revision in the result; for a refusal, which carries none, 0. */
  revision: number;
  /** Reads: what was seen of each key. */
  seen: ReadonlyMap<string, string> | undefined;
}

export function isOpen(operation: Operation): boolean {
  return operation.returnedAt === Number.POSITIVE_INFINITY;
}
