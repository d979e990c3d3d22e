/** /v2/keys over HTTP: requests in, answers out. Owns headers, statuses and bodies; what they say is decided elsewhere. */
import type { Context } from 'hono';
import { RosterError, rosterError } from '../../core/errors.ts';
import { V2Refusal } from '../../core/v2/errors.ts';
import type { V2Node } from '../../core/v2/node.ts';
import { cleanPath } from '../../core/v2/paths.ts';
import { V2Op } from '../../core/wire/stored.ts';
import { BodyTooLarge, readBody } from '../http/request-body.ts';
import type { RpcContext } from '../rpc/context.ts';
import { targetOf, V2Call } from './call.ts';
import type { CredentialCheck } from './credentials.ts';
import { asV2Error, callError, storeError, V2Error } from './errors.ts';
import { type Form, FormError, readForm, unescapedPath } from './form.ts';
import { answerText, type Clock, errorText, isCreated, isSmall, readTexts } from './json.ts';
import { type KeyRead, type KeyRequest, type KeyWatch, type KeyWrite, readKeyRequest } from './key-request.ts';
import type { V2Methods } from './methods.ts';
import { V2WatchResponder } from './watch-responder.ts';

export const KEYS_PREFIX = '/v2/keys';
const METHODS = ['HEAD', 'GET', 'PUT', 'POST', 'DELETE'];
/** A form is larger than what it holds: each byte may be escaped. */
const FORM_OVERHEAD = 3;
const FORM_SLACK_BYTES = 64 * 1024;

export interface KeysOptions {
  readonly context: RpcContext;
  readonly methods: V2Methods;
  readonly credentials: CredentialCheck;
  /** Watches under way. */
  readonly watches: Set<V2WatchResponder>;
}

export class KeysHandler {
  readonly #context: RpcContext;
  readonly #methods: V2Methods;
  readonly #credentials: CredentialCheck;
  readonly #watches: Set<V2WatchResponder>;
  readonly #bodyBytesMax: number;
  readonly #clusterId: string;

  constructor({ context, methods, credentials, watches }: KeysOptions) {
    this.#context = context;
    this.#methods = methods;
    this.#credentials = credentials;
    this.#watches = watches;
    this.#bodyBytesMax = context.limits.maxRequestBytes * FORM_OVERHEAD + FORM_SLACK_BYTES;
    this.#clusterId = context.identity.clusterId.toString(16);
  }

  async handle(c: Context): Promise<Response> {
    const { method } = c.req.raw;
    if (!METHODS.includes(method)) return notAllowed(METHODS);
    const { path: sent, query } = targetOf(c);
    const path = unescapedPath(sent);
    if (path instanceof FormError) return new Response('400 Bad Request', { status: 400 });
    const moved = redirected(method, path, query);
    if (moved !== undefined) return moved;
    const form = await this.#form(c, query);
    const request = readKeyRequest(method, path.slice(KEYS_PREFIX.length), form, Date.now());
    if (request instanceof V2Error) return this.#error(request);
    return this.#serve(c, request);
  }

  async #serve(c: Context, request: KeyRequest): Promise<Response> {
    const call = new V2Call(c);
    const identified = call.identify(this.#context, this.#credentials);
    const unknown = identified === undefined ? undefined : await identified;
    if (unknown !== undefined) return this.#error(callError(unknown));
    if (request.kind === 'read') return this.#read(call, request);
    return request.kind === 'write' ? this.#write(call, request) : this.#watch(call, request);
  }

  async #form(c: Context, query: string): Promise<Form | FormError> {
    const { method } = c.req.raw;
    const type = method === 'PUT' || method === 'POST' ? c.req.header('content-type') : undefined;
    if (type === undefined || !/^application\/x-www-form-urlencoded *(?:;|$)/i.test(type)) {
      return readForm(query, undefined);
    }
    const body = await readBody(c, this.#bodyBytesMax);
    return body instanceof BodyTooLarge
      ? new FormError('http: POST too large')
      : readForm(query, body.toString('latin1'));
  }

  // ---- the three kinds

  #read(call: V2Call, request: KeyRead): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.#methods.read.handle(call, request, (result) => {
        call.over();
        if (result instanceof RosterError) return resolve(this.#error(callError(result)));
        const { node, index } = result;
        if (node instanceof V2Refusal) return resolve(this.#error(storeError(node)));
        const headers = this.#headers(index);
        const clock = this.#clock(Date.now());
        if (isSmall(node)) {
          const [text] = readTexts(node, clock);
          return resolve(new Response(text, { headers }));
        }
        written(node, clock).then((body) => resolve(new Response(body, { headers })), reject);
      });
    });
  }

  #write(call: V2Call, { request, noValueOnSuccess }: KeyWrite): Promise<Response> {
    return new Promise((resolve) => {
      this.#methods.write.handle(call, request, (written) => {
        call.over();
        const result = written instanceof RosterError ? written : written.result;
        if (result instanceof RosterError || result instanceof V2Refusal) {
          return resolve(this.#error(asV2Error(result)));
        }
        const withNodes = !noValueOnSuccess || isDelete(request.op);
        const text = answerText(result, this.#clock(request.time_ms), withNodes);
        resolve(new Response(text, { status: isCreated(result) ? 201 : 200, headers: this.#headers(result.index) }));
      });
    });
  }

  #watch(call: V2Call, watch: KeyWatch): Promise<Response> {
    return new Promise((resolve) => {
      const responder = new V2WatchResponder(watch.stream, {
        headers: (index) => this.#headers(index),
        clock: () => this.#clock(Date.now()),
        refused: (error) => this.#error(error instanceof RosterError ? callError(error) : error),
        resolve,
      });
      this.#watches.add(responder);
      responder.onOver = () => {
        this.#watches.delete(responder);
        call.over();
      };
      call.onCancel(() => responder.leave());
      const handler = this.#methods.watch.open(call, responder);
      responder.onCancel = () => handler.cancel();
      handler.message(watch);
    });
  }

  // ---- what every answer has

  #headers(index: number): Record<string, string> {
    const { machine, node } = this.#context;
    return {
      'Content-Type': 'application/json',
      'X-Etcd-Cluster-Id': this.#clusterId,
      'X-Etcd-Index': `${index}`,
      'X-Raft-Index': `${machine.appliedIndex}`,
      'X-Raft-Term': `${node.term}`,
    };
  }

  #error(error: V2Error): Response {
    return new Response(errorText(error), {
      status: error.status,
      headers: {
        'Content-Type': 'application/json',
        'X-Etcd-Cluster-Id': this.#clusterId,
        'X-Etcd-Index': `${error.index}`,
      },
    });
  }

  #clock(nowMs: number): Clock {
    const { lessor } = this.#context.machine;
    return { nowMs, leaseSeconds: (lease) => lessor.timeToLive(lease)?.remainingSeconds };
  }
}

/** A large answer, a piece in each turn of the event loop. */
async function written(node: V2Node, clock: Clock): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (const text of readTexts(node, clock)) {
    pieces.push(Buffer.from(text, 'utf8'));
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return Buffer.concat(pieces);
}

/** Deletes tell what they have deleted, whatever is asked for. */
function isDelete(op: number): boolean {
  return op === V2Op.values.DELETE || op === V2Op.values.COMPARE_AND_DELETE;
}

export function notAllowed(methods: readonly string[]): Response {
  return new Response('Method Not Allowed\n', {
    status: 405,
    headers: {
      Allow: methods.join(','),
      'Content-Type': 'text/plain; charset=utf-8',
      'X-Content-Type-Options': 'nosniff',
    },
  });
}

/** As Go's server answers a path with empty components. */
function redirected(method: string, path: string, query: string): Response | undefined {
  const clean = cleanPath(path);
  const wanted = path.endsWith('/') && clean !== '/' ? `${clean}/` : clean;
  if (wanted === path) return undefined;
  const escaped = encodeURI(Buffer.from(wanted, 'latin1').toString('utf8'))
    .replaceAll('?', '%3F')
    .replaceAll('#', '%23');
  const location = query === '' ? escaped : `${escaped}?${query}`;
  const isRead = method === 'GET' || method === 'HEAD';
  const headers = isRead ? { Location: location, 'Content-Type': 'text/html; charset=utf-8' } : { Location: location };
  const html = location.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&#34;');
  const body = method === 'GET' ? `<a href="${html}">Moved Permanently</a>.\n\n` : null;
  return new Response(body, { status: 301, headers });
}

/** The server stops. */
export function endAll(watches: Iterable<V2WatchResponder>): void {
  for (const watch of [...watches]) watch.refuse(rosterError('Stopped'));
}
