/** Methods that hand a call on to the store and its answer back, under flow control. Know no RPC in particular. */
import type { Duplex } from '../../client/endpoint.ts';
import type { Method as Rpc } from '../../client/methods.ts';
import type { RosterError } from '../../core/errors.ts';
import type { CallContext, Method, Responder, StreamHandler, StreamMethod, UnaryMethod } from '../rpc/service.ts';
import { unary } from '../rpc/service.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { metadataOf, operational, settle, signalOf } from './caller.ts';

/** A call in the caller's name, ended when the caller goes. Rejects with a RosterError. */
export function callFor<Req extends object, Res extends object>(
  upstream: Upstream,
  rpc: Rpc<Req, Res>,
  call: CallContext,
  request: Req,
): Promise<Res> {
  return upstream.call(rpc, request, { metadata: metadataOf(call), signal: signalOf(call) });
}

export function forwarded<Req extends object, Res extends object>(
  upstream: Upstream,
  rpc: Rpc<Req, Res>,
): UnaryMethod<Req, Res> {
  return unary(rpc.path, rpc.request, rpc.response, (call, request, done) =>
    settle(callFor(upstream, rpc, call, request), done),
  );
}

/** What happens to the messages on their way. A RosterError in place of a request refuses it. */
export interface Mapping<Req, Res> {
  request(request: Req): Req | RosterError;
  response(response: Res): Res;
}

/** One request, a stream of responses. */
export function forwardedStream<Req extends object, Res extends object>(
  upstream: Upstream,
  rpc: Rpc<Req, Res>,
  mapping: Mapping<Req, Res>,
): Method {
  const method: StreamMethod<Req, Res> = {
    kind: 'stream',
    single: true,
    path: rpc.path,
    request: rpc.request,
    response: rpc.response,
    open: (call, responder) => new ForwardedStream(upstream, rpc, mapping, call, responder),
  };
  return method;
}

class ForwardedStream<Req extends object, Res extends object> implements StreamHandler<Req> {
  readonly #upstream: Upstream;
  readonly #rpc: Rpc<Req, Res>;
  readonly #mapping: Mapping<Req, Res>;
  readonly #call: CallContext;
  readonly #responder: Responder<Res>;
  #stream: Duplex<Req, Res> | undefined;
  #over = false;

  constructor(
    upstream: Upstream,
    rpc: Rpc<Req, Res>,
    mapping: Mapping<Req, Res>,
    call: CallContext,
    responder: Responder<Res>,
  ) {
    this.#upstream = upstream;
    this.#rpc = rpc;
    this.#mapping = mapping;
    this.#call = call;
    this.#responder = responder;
    responder.onDrain = () => this.#stream?.resume();
  }

  message(request: Req): void {
    const mapped = this.#mapping.request(request);
    if (mapped instanceof Error) this.#end(mapped);
    else void this.#run(mapped).catch((error: unknown) => this.#end(operational(error)));
  }

  halfClose(): void {}

  cancel(): void {
    this.#over = true;
    this.#stream?.cancel();
  }

  async #run(request: Req): Promise<void> {
    const call = { metadata: metadataOf(this.#call), signal: signalOf(this.#call) };
    const { stream, endpoint } = await this.#upstream.stream(this.#rpc, call);
    if (this.#over) {
      stream.cancel();
      return;
    }
    this.#stream = stream;
    stream.on('data', (response: Res) => {
      if (!this.#responder.send(this.#mapping.response(response))) stream.pause();
    });
    stream.on('end', () => this.#end());
    stream.on('error', (error: Error) => this.#end(endpoint.errorOf(error)));
    stream.write(request);
    stream.end();
  }

  #end(error?: RosterError): void {
    if (this.#over) return;
    this.#over = true;
    this.#responder.end(error);
  }
}
