/**
 * etcdserverpb.KV/Range: at once when it is small, else read a little in each turn of the event loop, so that whoever asks
 * for one key does not wait for who asks for all.
 */
import { arranged, isPlain, readLimit } from '../../core/apply/range.ts';
import type { RangeReader } from '../../core/apply/range-reader.ts';
import { RosterError } from '../../core/errors.ts';
import type { KeyValue, RangeRequest, RangeResponse } from '../../core/wire/messages.ts';
import { completed, permitted, type RpcContext } from './context.ts';
import { GiveWay } from './give-way.ts';
import { PIECE } from './paced-reading.ts';
import { isStored, measureRange } from './pieced-range.ts';
import type { CallContext, UnaryDone } from './service.ts';

/** A range of more keys is read in turns. */
export const RANGE_TURN_PAIRS_MAX = 1000;

/** `request` has passed checkRange. */
export function rangeCall(
  context: RpcContext,
  call: CallContext,
  request: RangeRequest,
  done: UnaryDone<RangeResponse>,
): void {
  const read = (refusal?: RosterError) => {
    if (refusal !== undefined) done(refusal);
    else if (isLarge(context, request)) readInTurns(context, call, request, done);
    else done(completed(context, context.machine.range(request)));
  };
  const permittedRead = (error?: RosterError) => {
    if (error !== undefined) done(error);
    else permitted(context, call, request, read);
  };
  if (request.serializable) permittedRead();
  else context.node.linearizableRead(permittedRead);
}

/** At an earlier revision there may be any number of keys to pass over that did not exist then. */
function isLarge({ machine }: RpcContext, request: RangeRequest): boolean {
  const { store } = machine;
  const { key, range_end: end, count_only, revision } = request;
  if (end === '') return false;
  if (revision > 0 && revision !== store.revision) return true;
  const limit = readLimit(request);
  if (count_only || (limit > 0 && limit <= RANGE_TURN_PAIRS_MAX)) return false;
  const count = store.knownCount(key, end === '\0' ? undefined : end, store.revision);
  return count === undefined || count > RANGE_TURN_PAIRS_MAX;
}

function readInTurns(
  context: RpcContext,
  call: CallContext,
  request: RangeRequest,
  done: UnaryDone<RangeResponse>,
): void {
  const pieces = call.takesPieces === true && isPlain(request) && isStored(request);
  const reader = context.machine.rangeReader(pieces ? request : { ...request, limit: readLimit(request) });
  if (reader instanceof RosterError) done(reader);
  else if (pieces) {
    // What stands for the response is for the door alone: no other part looks into it.
    measureRange(context, reader, () => call.cancelled, done as (result: object) => void);
  } else new TurnReader(context, call, request, reader, done).step();
}

class TurnReader {
  readonly #context: RpcContext;
  readonly #call: CallContext;
  readonly #request: RangeRequest;
  readonly #reader: RangeReader;
  readonly #done: UnaryDone<RangeResponse>;
  readonly #giveWay: GiveWay;
  readonly #kvs: KeyValue[] = [];

  constructor(
    context: RpcContext,
    call: CallContext,
    request: RangeRequest,
    reader: RangeReader,
    done: UnaryDone<RangeResponse>,
  ) {
    this.#context = context;
    this.#giveWay = new GiveWay(context);
    this.#call = call;
    this.#request = request;
    this.#reader = reader;
    this.#done = done;
  }

  step(): void {
    const reader = this.#reader;
    const read = reader.step(PIECE);
    if (read instanceof RosterError) {
      reader.held.letGo();
      this.#done(read);
      return;
    }
    for (const kv of read) this.#kvs.push(kv);
    // Nobody is there to be answered; it is done all the same, once.
    if (!reader.done && !this.#call.cancelled) {
      this.#giveWay.before(() => this.step());
      return;
    }
    reader.held.letGo();
    const result = { kvs: this.#kvs, count: reader.count, revision: reader.held.storeRevision };
    this.#done(completed(this.#context, arranged(this.#request, result)));
  }
}
