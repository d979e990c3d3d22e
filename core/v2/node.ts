/** What the v2 API shows of a file or directory, and what it answers. Forms only. */
import type { ByteString } from '../util/bytes.ts';
import type { V2Action } from '../wire/stored.ts';

export interface V2Node {
  readonly path: ByteString;
  /** Of a directory: `undefined`. */
  readonly value: Uint8Array | undefined;
  readonly dir: boolean;
  /** Wall clock in milliseconds at which it is to go; 0: never, unless `lease` says more. */
  readonly expiresMs: number;
  /** The lease it hangs on, if a v3 client put it there: then only the lease knows. 0: none. */
  readonly lease: bigint;
  readonly modified: number;
  readonly created: number;
  /** What is in a directory, where that was asked for. */
  nodes?: V2Node[];
}

/** What a read, a write or an event tells. */
export interface V2Answer {
  /** NONE: it was read. */
  readonly action: (typeof V2Action.values)[keyof typeof V2Action.values];
  readonly node: V2Node;
  readonly prevNode: V2Node | undefined;
  /** Nobody was told. */
  readonly refresh: boolean;
  /** The store's revision afterwards. */
  readonly index: number;
  /** Wall clock of the write; 0: it is not known. */
  readonly timeMs: number;
}
