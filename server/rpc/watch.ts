/**
 * etcdserverpb.Watch: one WatchStream of the hub per call; requests are handled in the order they arrive. A watch needs
 * leave to read all it asks for, as it asks for it, and ends when that leave does.
 */
import { GrpcStatus, otherError, type RosterError } from '../../core/errors.ts';
import type { WatchSink, WatchStream } from '../../core/watch/watch-stream.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { completed, type RpcContext } from './context.ts';
import { Copies } from './copies.ts';
import { goStatusText } from './go-status.ts';
import type { CallContext, Method, Responder, StreamHandler, StreamMethod } from './service.ts';

/** Requests that may wait for the check of the one before them. */
export const REQUESTS_WAITING_MAX = 1000;

export function watchMethods(context: RpcContext): Method[] {
  const watch: StreamMethod<m.WatchRequest, m.WatchResponse> = {
    kind: 'stream',
    path: '/etcdserverpb.Watch/Watch',
    request: m.WatchRequest,
    response: m.WatchResponse,
    open: (call, responder) => new WatchCall(context, call, responder),
  };
  return [watch];
}

function sinkOf(context: RpcContext, responder: Responder<m.WatchResponse>): WatchSink {
  const complete = (response: m.WatchResponse) => completed(context, response) as m.WatchResponse;
  const send = (response: m.WatchResponse) => responder.send(complete(response));
  if (responder.takesCopies !== true) return { send };
  return { send, sendCopies: (response, ids) => responder.send(new Copies(complete(response), 'watch_id', ids)) };
}

class WatchCall implements StreamHandler<m.WatchRequest> {
  readonly #context: RpcContext;
  readonly #call: CallContext;
  readonly #responder: Responder<m.WatchResponse>;
  readonly #stream: WatchStream;
  readonly #stopListening: () => void;
  #waiting: m.WatchRequest[] = [];
  #checking = false;
  #over = false;

  constructor(context: RpcContext, call: CallContext, responder: Responder<m.WatchResponse>) {
    this.#context = context;
    this.#call = call;
    this.#responder = responder;
    this.#stream = context.machine.hub.stream(sinkOf(context, responder));
    responder.onDrain = () => this.#stream.drained();
    this.#stopListening = context.security.onChange(() => this.#authChanged());
  }

  message(request: m.WatchRequest): void {
    if (this.#over) return;
    if (this.#waiting.length >= REQUESTS_WAITING_MAX) {
      const error = otherError(GrpcStatus.RESOURCE_EXHAUSTED, 'etcdserver: too many requests wait on one watch stream');
      this.#end(error);
      return;
    }
    this.#waiting.push(request);
    this.#goOn();
  }

  #goOn(): void {
    while (!this.#checking && !this.#over && this.#waiting.length > 0) {
      const request = this.#waiting.shift()!;
      if (request.create_request === undefined) this.#answered(this.#take(request));
      else this.#create(request, request.create_request);
    }
  }

  /** Nothing that follows overtakes it, however long the check takes. */
  #create(request: m.WatchRequest, create: m.WatchCreateRequest): void {
    const { admission } = this.#call;
    if (admission === undefined) {
      this.#answered(this.#stream.create(create));
      return;
    }
    this.#checking = true;
    let waited = false;
    admission.checkConfirmed(request, (refusal) => {
      this.#checking = false;
      if (this.#over) return;
      if (refusal === undefined) this.#answered(this.#stream.create(create));
      else this.#answered(this.#stream.refuse(goStatusText(refusal)));
      if (waited) this.#goOn();
    });
    waited = true;
  }

  #take(request: m.WatchRequest): RosterError | undefined {
    if (request.cancel_request !== undefined) return this.#stream.cancel(request.cancel_request.watch_id);
    if (request.progress_request !== undefined) return this.#stream.requestProgress();
    return undefined;
  }

  /** etcd goes on sending to whoever was allowed to watch once. */
  #authChanged(): void {
    const { admission } = this.#call;
    if (admission === undefined || !this.#context.machine.auth.enabled) return;
    for (const { id, key, rangeEnd } of [...this.#stream.watches()]) {
      const create_request = { ...defaults(m.WatchCreateRequest), key, range_end: rangeEnd };
      admission.stillMay({ create_request }, (refusal) => {
        if (refusal !== undefined) this.#answered(this.#stream.revoke(id, goStatusText(refusal)));
      });
    }
  }

  #answered(error: RosterError | undefined): void {
    if (error !== undefined) this.#end(error);
  }

  #end(error: RosterError): void {
    if (this.#over) return;
    this.cancel();
    this.#responder.end(error);
  }

  /** Events go on: a client that has said all it wants may close its side. */
  halfClose(): void {}

  cancel(): void {
    this.#over = true;
    this.#waiting = [];
    this.#stopListening();
    this.#stream.close();
  }
}
