/**
 * The call behind `?children`: guarded and permitted like a range over the whole prefix, answered in pieces, each when the
 * client has taken the one before. It has no path on the wire: gRPC clients do not see it.
 */
import type { ChildrenReader } from '../../core/apply/children-reader.ts';
import { RosterError } from '../../core/errors.ts';
import { prefixEnd } from '../../core/util/bytes.ts';
import { bool, type Decoded, key, message, repeated, revision, sub } from '../../core/wire/schema.ts';
import { permitted, type RpcContext } from '../rpc/context.ts';
import { guarded } from '../rpc/guard.ts';
import type { CallContext, Responder, StreamHandler, StreamMethod } from '../rpc/service.ts';

/** Children that are read and sent in one turn of the event loop. */
export const CHILDREN_PIECE_MAX = 500;
/** While a client takes nothing, compaction waits so long. */
const HOLD_MS_MAX = 5000;

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
    open: (call, responder) => new ChildrenCall(context, call, responder),
  };
  return guarded(context, [method])[0] as StreamMethod<ChildrenCallRequest, ChildrenPiece>;
}

class ChildrenCall implements StreamHandler<ChildrenCallRequest> {
  readonly #context: RpcContext;
  readonly #call: CallContext;
  readonly #responder: Responder<ChildrenPiece>;
  #reader: ChildrenReader | undefined;
  #letGo: NodeJS.Timeout | undefined;
  #waiting = false;
  #over = false;

  constructor(context: RpcContext, call: CallContext, responder: Responder<ChildrenPiece>) {
    this.#context = context;
    this.#call = call;
    this.#responder = responder;
    responder.onDrain = () => this.#drained();
  }

  message(request: ChildrenCallRequest): void {
    const ask = (error?: RosterError) => {
      if (error !== undefined) this.#end(error);
      else {
        permitted(this.#context, this.#call, request, (refusal) => {
          if (this.#over) return;
          if (refusal === undefined) this.#begin(request);
          else this.#end(refusal);
        });
      }
    };
    if (request.serializable) ask();
    else this.#context.node.linearizableRead(ask);
  }

  halfClose(): void {}

  cancel(): void {
    this.#finish();
  }

  #begin(request: ChildrenCallRequest): void {
    const reader = this.#context.machine.childrenReader(request);
    if (reader instanceof RosterError) this.#end(reader);
    else {
      this.#reader = reader;
      this.#step(reader);
    }
  }

  #step(reader: ChildrenReader): void {
    const read = reader.step(CHILDREN_PIECE_MAX);
    if (read instanceof RosterError) {
      this.#end(read);
      return;
    }
    const children = read.map(({ name, group, modRevision, keys }) => ({
      ...{ name, group, mod_revision: modRevision ?? 0 },
      keys: keys ?? -1,
    }));
    if (reader.done) {
      this.#responder.send({ children, revision: reader.revision });
      this.#end();
    } else if (children.length === 0 || this.#responder.send({ children, revision: 0 })) {
      this.#later(reader);
    } else {
      this.#waiting = true;
      this.#letGo = setTimeout(() => reader.letGo(), HOLD_MS_MAX);
    }
  }

  #drained(): void {
    const reader = this.#reader;
    if (!this.#waiting || reader === undefined) return;
    this.#waiting = false;
    clearTimeout(this.#letGo);
    const gone = reader.goOn();
    if (gone === undefined) this.#later(reader);
    else this.#end(gone);
  }

  /** When requests that wait have had their turn. */
  #later(reader: ChildrenReader): void {
    setImmediate(() => {
      if (!this.#over) this.#step(reader);
    });
  }

  #end(error?: RosterError): void {
    if (this.#over) return;
    this.#finish();
    this.#responder.end(error);
  }

  #finish(): void {
    this.#over = true;
    clearTimeout(this.#letGo);
    this.#reader?.close();
    this.#reader = undefined;
  }
}
