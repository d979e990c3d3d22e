/** etcdserverpb.Watch: one WatchStream of the hub per call; requests are handled in the order they arrive. */
import type { RosterError } from '../../core/errors.ts';
import type { WatchStream } from '../../core/watch/watch-stream.ts';
import * as m from '../../core/wire/messages.ts';
import { completed, type RpcContext } from './context.ts';
import type { Method, Responder, StreamHandler, StreamMethod } from './service.ts';

export function watchMethods(context: RpcContext): Method[] {
  const watch: StreamMethod<m.WatchRequest, m.WatchResponse> = {
    kind: 'stream',
    path: '/etcdserverpb.Watch/Watch',
    request: m.WatchRequest,
    response: m.WatchResponse,
    open: (_call, responder) => new WatchCall(context, responder),
  };
  return [watch];
}

class WatchCall implements StreamHandler<m.WatchRequest> {
  readonly #responder: Responder<m.WatchResponse>;
  readonly #stream: WatchStream;

  constructor(context: RpcContext, responder: Responder<m.WatchResponse>) {
    this.#responder = responder;
    this.#stream = context.machine.hub.stream({
      send: (response) => responder.send(completed(context, response) as m.WatchResponse),
    });
    responder.onDrain = () => this.#stream.drained();
  }

  message(request: m.WatchRequest): void {
    const error = this.#take(request);
    if (error !== undefined) this.#responder.end(error);
  }

  #take(request: m.WatchRequest): RosterError | undefined {
    if (request.create_request !== undefined) return this.#stream.create(request.create_request);
    if (request.cancel_request !== undefined) return this.#stream.cancel(request.cancel_request.watch_id);
    if (request.progress_request !== undefined) return this.#stream.requestProgress();
    return undefined;
  }

  /** Events go on: a client that has said all it wants may close its side. */
  halfClose(): void {}

  cancel(): void {
    this.#stream.close();
  }
}
