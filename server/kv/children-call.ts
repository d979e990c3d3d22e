/**
 * The call behind `?children`: guarded and permitted like a range over the whole prefix, answered in pieces, each when the
 * client has taken the one before. It has no path on the wire: gRPC clients do not see it.
 */
import type { ChildrenReader } from '../../core/apply/children-reader.ts';
import { RosterError } from '../../core/errors.ts';
import type { HeldStore } from '../../core/mvcc/held-store.ts';
import { prefixEnd } from '../../core/util/bytes.ts';
import { bool, type Decoded, key, message, repeated, revision, sub } from '../../core/wire/schema.ts';
import type { RpcContext } from '../rpc/context.ts';
import { guarded } from '../rpc/guard.ts';
import { PacedCall, type Pieces } from '../rpc/paced-call.ts';
import type { StreamMethod } from '../rpc/service.ts';

/** Children that are read and sent in one turn of the event loop. */
export const CHILDREN_PIECE_MAX = 500;
/** `key` and `range_end` are those of the whole prefix: what leave is asked for. */
export const ChildrenCallRequest = message('rosterpb.ChildrenRequest', {
  key: key(1),
  range_end: key(2),
  prefix: key(3),
  delimiter: key(4),
  from: key(5),
  revision: revision(6),
  limit: revision(7),
  serializable: bool(8),
});
export type ChildrenCallRequest = Decoded<typeof ChildrenCallRequest>;

export const ChildMessage = message('rosterpb.Child', {
  name: key(1),
  group: bool(2),
  mod_revision: revision(3),
  /** -1: not counted. */
  keys: revision(4),
});
export type ChildMessage = Decoded<typeof ChildMessage>;

/** The last one has the revision that was read, and that of the store. */
export const ChildrenPiece = message('rosterpb.ChildrenPiece', {
  children: repeated(sub(1, () => ChildMessage)),
  revision: revision(2),
});
export type ChildrenPiece = Decoded<typeof ChildrenPiece>;

export const CHILDREN_PATH = '/rosterpb.KV/Children';

export function childrenRequest(
  parts: Pick<ChildrenCallRequest, 'prefix' | 'delimiter' | 'from' | 'revision' | 'limit' | 'serializable'>,
): ChildrenCallRequest {
  const { prefix } = parts;
  return { ...parts, key: prefix === '' ? '\0' : prefix, range_end: prefixEnd(prefix) };
}

export function childrenMethod(context: RpcContext): StreamMethod<ChildrenCallRequest, ChildrenPiece> {
  const method: StreamMethod<ChildrenCallRequest, ChildrenPiece> = {
    kind: 'stream',
    single: true,
    path: CHILDREN_PATH,
    request: ChildrenCallRequest,
    response: ChildrenPiece,
    open: (call, responder) =>
      new PacedCall<ChildrenCallRequest, ChildrenPiece>(context, call, responder, {
        open: (request) => {
          const reader = context.machine.childrenReader(request);
          return reader instanceof RosterError ? reader : new ChildrenPieces(reader);
        },
      }),
  };
  return guarded(context, [method])[0] as StreamMethod<ChildrenCallRequest, ChildrenPiece>;
}

class ChildrenPieces implements Pieces<ChildrenPiece> {
  readonly #reader: ChildrenReader;

  constructor(reader: ChildrenReader) {
    this.#reader = reader;
  }

  get held(): HeldStore {
    return this.#reader.held;
  }

  get done(): boolean {
    return this.#reader.done;
  }

  next(): ChildrenPiece | undefined | RosterError {
    const read = this.#reader.step(CHILDREN_PIECE_MAX);
    if (read instanceof RosterError) return read;
    const children = read.map(({ name, group, modRevision, keys }) => ({
      ...{ name, group, mod_revision: modRevision ?? 0 },
      keys: keys ?? -1,
    }));
    if (this.done) return { children, revision: this.held.revision };
    return children.length === 0 ? undefined : { children, revision: 0 };
  }
}
