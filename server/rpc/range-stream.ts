/**
 * etcdserverpb.KV/RangeStream: a range in pieces, each sent when the client has taken the one before, all of one revision.
 * Header, `more` and `count` come with the last piece; all pieces together are the answer of Range. A client that is slow
 * holds up compaction for some seconds and no longer.
 */
import { asWanted, filters, isPlain } from '../../core/apply/range.ts';
import type { RangeReader, StepLimits } from '../../core/apply/range-reader.ts';
import { checkRange } from '../../core/apply/validate.ts';
import { GrpcStatus, otherError, RosterError } from '../../core/errors.ts';
import * as m from '../../core/wire/messages.ts';
import { header, permitted, type RpcContext } from './context.ts';
import type { CallContext, Responder, StreamHandler, StreamMethod } from './service.ts';

/** Pairs of the first piece (etcd's); each further one may have twice as many. */
const FIRST_PAIRS = 10;
/** What is read and sent in one turn of the event loop. */
export const PIECE_PAIRS_MAX = 500;
export const PIECE_BYTES_MAX = 256 * 1024;
/** While a client takes nothing, compaction waits so long. */
const HOLD_MS_MAX = 5000;

export function rangeStreamMethod(context: RpcContext): StreamMethod<m.RangeRequest, m.RangeStreamResponse> {
  return {
    kind: 'stream',
    single: true,
    path: '/etcdserverpb.KV/RangeStream',
    request: m.RangeRequest,
    response: m.RangeStreamResponse,
    open: (call, responder) => new RangeStreamCall(context, call, responder),
  };
}

/** Etcd's refusals of what cannot be sent before all is seen. */
function refusal(request: m.RangeRequest): RosterError | undefined {
  const wrong = checkRange(request);
  if (wrong !== undefined || isPlain(request)) return wrong;
  const what = filters(request) ? 'revision filters' : 'custom sort orders';
  return otherError(GrpcStatus.UNIMPLEMENTED, `RangeStream does not support ${what}`);
}

class RangeStreamCall implements StreamHandler<m.RangeRequest> {
  readonly #context: RpcContext;
  readonly #call: CallContext;
  readonly #responder: Responder<m.RangeStreamResponse>;
  #request: m.RangeRequest | undefined;
  #reader: RangeReader | undefined;
  #pairs = FIRST_PAIRS;
  #letGo: NodeJS.Timeout | undefined;
  #waiting = false;
  #over = false;

  constructor(context: RpcContext, call: CallContext, responder: Responder<m.RangeStreamResponse>) {
    this.#context = context;
    this.#call = call;
    this.#responder = responder;
    responder.onDrain = () => this.#drained();
  }

  message(request: m.RangeRequest): void {
    if (this.#request !== undefined) return;
    this.#request = request;
    const refused = refusal(request);
    if (refused !== undefined) this.#end(refused);
    else if (request.serializable) this.#askLeave(request);
    else {
      this.#context.node.linearizableRead((error) => {
        if (error === undefined) this.#askLeave(request);
        else this.#end(error);
      });
    }
  }

  #askLeave(request: m.RangeRequest): void {
    permitted(this.#context, this.#call, request, (refusal) => {
      if (this.#over) return;
      if (refusal === undefined) this.#begin(request);
      else this.#end(refusal);
    });
  }

  halfClose(): void {}

  cancel(): void {
    this.#finish();
  }

  #begin(request: m.RangeRequest): void {
    const reader = this.#context.machine.rangeReader(request);
    if (reader instanceof RosterError) this.#end(reader);
    else {
      this.#reader = reader;
      this.#step(reader, request);
    }
  }

  /** Reads and sends one piece, if there is something to send already. */
  #step(reader: RangeReader, request: m.RangeRequest): void {
    const limits: StepLimits = { pairs: this.#pairs, bytes: PIECE_BYTES_MAX };
    const read = reader.step(limits);
    if (read instanceof RosterError) {
      this.#end(read);
      return;
    }
    if (read.length > 0) this.#pairs = Math.min(2 * this.#pairs, PIECE_PAIRS_MAX);
    const kvs = request.keys_only ? read.map((kv) => asWanted(kv, request)) : read;
    if (reader.done) {
      const { count, more, storeRevision } = reader;
      this.#responder.send({ range_response: { header: header(this.#context, storeRevision), kvs, more, count } });
      this.#end();
    } else if (kvs.length === 0 || this.#responder.send({ range_response: { kvs, more: false, count: 0 } })) {
      this.#later(() => this.#step(reader, request));
    } else {
      this.#waiting = true;
      this.#letGo = setTimeout(() => reader.letGo(), HOLD_MS_MAX);
    }
  }

  #drained(): void {
    const [reader, request] = [this.#reader, this.#request];
    if (!this.#waiting || reader === undefined || request === undefined) return;
    this.#waiting = false;
    clearTimeout(this.#letGo);
    const gone = reader.goOn();
    if (gone === undefined) this.#later(() => this.#step(reader, request));
    else this.#end(gone);
  }

  /** When requests that wait have had their turn. */
  #later(run: () => void): void {
    setImmediate(() => {
      if (!this.#over) run();
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
