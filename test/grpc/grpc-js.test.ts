import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { otherError, rosterError } from '../../core/errors.ts';
import { decode, encode } from '../../core/wire/binary.ts';
import { PutRequest, PutResponse, RangeRequest, RangeResponse } from '../../core/wire/messages.ts';
import type { MessageType } from '../../core/wire/schema.ts';
import { type GrpcHandler, grpcHandler } from '../../server/grpc/server.ts';
import { createListener, type Listener } from '../../server/http2/listener.ts';
import type { CallContext, Method, Responder, UnaryDone } from '../../server/rpc/service.ts';
import { Tls } from '../../server/tls/tls.ts';
import { CERTIFICATE, PRIVATE_KEY } from '../http2/certificate.ts';

/** Real clients of another make as judges: @grpc/grpc-js on node:http2, over real sockets. */

const MIB = 1024 * 1024;
const MAX_REQUEST_BYTES = 2 * MIB;

interface Server {
  readonly listener: Listener;
  readonly handler: GrpcHandler;
  readonly port: number;
  /** Unary calls that wait for `release`. */
  readonly held: { call: CallContext; done: UnaryDone<object> }[];
  cancelled: number;
  bugs: unknown[];
}

async function serve(
  limits: Partial<Parameters<typeof createListener>[0]['http2']> = {},
  tls = false,
): Promise<Server> {
  const state = { held: [] as Server['held'], cancelled: 0, bugs: [] as unknown[] };
  const methods: Method[] = [
    {
      kind: 'unary',
      path: '/test/Put',
      request: PutRequest,
      response: PutResponse,
      handle: (call: CallContext, request: PutRequest, done: UnaryDone<object>) => {
        if (request.key === 'hold') {
          state.held.push({ call, done });
          call.onCancel(() => {
            state.cancelled++;
          });
        } else if (request.key === 'fail') done(rosterError('LeaseNotFound'));
        else if (request.key === 'umlaut') done(otherError(2, 'größe: 100%'));
        else
          setImmediate(() =>
            done({ header: { revision: Number(request.lease) }, prev_kv: { key: request.key, value: request.value } }),
          );
      },
    },
    {
      kind: 'stream',
      path: '/test/Echo',
      request: RangeRequest,
      response: RangeResponse,
      open: (_call: CallContext, responder: Responder<object>) => {
        let stays = false;
        return {
          message: (request: RangeRequest) => {
            stays ||= request.key === 'stay';
            if (request.key === 'fail') responder.end(rosterError('NoLeader'));
            else if (request.limit === 0) responder.send({ count: 1, kvs: [{ key: request.key }] });
            else pour(responder, request.limit);
          },
          halfClose: () => {
            if (!stays) responder.end();
          },
          cancel: () => {
            state.cancelled++;
          },
        };
      },
    },
  ];
  const handler = grpcHandler(methods, {
    maxRequestBytes: MAX_REQUEST_BYTES,
    onBug: (error) => state.bugs.push(error),
  });
  const listener = createListener({
    http2: { ...limits, onStream: handler },
    onHttp1: (socket) => socket.destroy(),
    limits: { closeGraceMs: 20_000 },
    ...(tls ? { tls: new Tls({}, { own: { cert: CERTIFICATE, key: PRIVATE_KEY } }) } : {}),
  });
  const { port } = await listener.listen(0, '127.0.0.1');
  return Object.assign(state, { listener, handler, port });
}

/** Sends `count` large responses, no faster than the peer takes them. */
function pour(responder: Responder<object>, count: number): void {
  let sent = 0;
  const more = (): void => {
    while (sent < count) {
      sent++;
      if (!responder.send({ count: sent, kvs: [{ key: 'k', value: Buffer.alloc(100_000, sent) }] })) return;
    }
    responder.end();
  };
  responder.onDrain = more;
  more();
}

class Judge {
  readonly #client: grpc.Client;

  constructor(port: number, options: grpc.ClientOptions = {}, credentials = grpc.credentials.createInsecure()) {
    this.#client = new grpc.Client(`localhost:${port}`, credentials, {
      'grpc.max_receive_message_length': -1,
      'grpc.use_local_subchannel_pool': 1,
      ...options,
    });
  }

  put(request: Partial<PutRequest>, options: grpc.CallOptions = {}, metadata = new grpc.Metadata()) {
    let call: grpc.ClientUnaryCall | undefined;
    const answer = new Promise<PutResponse>((resolve, reject) => {
      const done = (error: grpc.ServiceError | null, response?: PutResponse) =>
        error ? reject(error) : resolve(response!);
      call = this.#client.makeUnaryRequest(
        '/test/Put',
        to(PutRequest),
        from(PutResponse),
        request,
        metadata,
        options,
        done,
      );
    });
    return { answer, cancel: () => call!.cancel() };
  }

  echo() {
    return this.#client.makeBidiStreamRequest('/test/Echo', to(RangeRequest), from(RangeResponse));
  }

  unknown(path: string): Promise<unknown> {
    return new Promise((resolve) => {
      this.#client.makeUnaryRequest(path, to(PutRequest), from(PutResponse), {}, (error) => resolve(error));
    });
  }

  close(): void {
    this.#client.close();
  }
}

const to =
  <T extends object>(type: MessageType<T>) =>
  (message: Partial<T>): Buffer =>
    Buffer.from(encode(type, message));
const from =
  <T extends object>(type: MessageType<T>) =>
  (bytes: Buffer): T =>
    decode(type, bytes);

const until = async (done: () => boolean): Promise<void> => {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 2));
};

describe('grpc-js', () => {
  let server: Server;
  let judge: Judge;

  beforeAll(async () => {
    server = await serve();
    judge = new Judge(server.port);
  });

  afterAll(async () => {
    judge.close();
    await server.listener.close();
    expect(server.bugs).toEqual([]);
  });

  it('a unary call', async () => {
    const response = await judge.put({ key: 'k', value: Buffer.from('v'), lease: 42n }).answer;
    expect(response.header?.revision).toBe(42);
    expect(response.prev_kv?.key).toBe('k');
  });

  it('errors with code and message', async () => {
    await expect(judge.put({ key: 'fail' }).answer).rejects.toMatchObject({
      code: 5,
      details: 'etcdserver: requested lease not found',
    });
    await expect(judge.put({ key: 'umlaut' }).answer).rejects.toMatchObject({ code: 2, details: 'größe: 100%' });
    expect(await judge.unknown('/no.Such/Method')).toMatchObject({ code: 12, details: 'unknown service no.Such' });
  });

  it('10,000 calls at once, each with its own answer', async () => {
    const answers = await Promise.all(
      Array.from({ length: 10_000 }, (_, i) => judge.put({ key: `key ${i}`, lease: BigInt(i) }).answer),
    );
    answers.forEach((answer, i) => {
      expect(answer.header?.revision).toBe(i);
      expect(answer.prev_kv?.key).toBe(`key ${i}`);
    });
  }, 120_000); // seconds of the client's work

  it('large messages both ways', async () => {
    const value = Buffer.alloc(1.5 * MIB, 'large');
    const answers = await Promise.all([1, 2, 3, 4].map((i) => judge.put({ key: `${i}`, value }).answer));
    for (const answer of answers) expect(value.equals(answer.prev_kv!.value)).toBe(true);
  });

  it('a message that is too large', async () => {
    await expect(judge.put({ key: 'k', value: Buffer.alloc(3 * MIB) }).answer).rejects.toMatchObject({ code: 8 });
    await judge.put({ key: 'still fine' }).answer;
  });

  it('compressed requests', async () => {
    const gzip = new Judge(server.port, {
      'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip,
    });
    const answer = await gzip.put({ key: 'k', value: Buffer.alloc(100_000, 'z') }).answer;
    expect(answer.prev_kv!.value.length).toBe(100_000);
    gzip.close();
  });

  it('cancellation reaches the method', async () => {
    const before = server.cancelled;
    const calls = Array.from({ length: 100 }, () => judge.put({ key: 'hold' }));
    await until(() => server.held.length === 100);
    for (const call of calls) call.cancel();
    for (const call of calls) await expect(call.answer).rejects.toMatchObject({ code: 1 });
    await until(() => server.cancelled === before + 100);
    server.held.length = 0;
  });

  it('deadlines', async () => {
    const { answer } = judge.put({ key: 'hold' }, { deadline: Date.now() + 60 });
    await expect(answer).rejects.toMatchObject({ code: 4 });
    await until(() => server.held.length === 1 && server.held[0]!.call.cancelled);
    server.held.length = 0;
    await judge.put({ key: 'k' }, { deadline: Date.now() + 60_000 }).answer;
  });

  it('bidirectional streams: messages in order, half-close, status', async () => {
    const streams = Array.from({ length: 50 }, () => judge.echo());
    const got = streams.map(() => [] as string[]);
    const ends = streams.map(
      (stream, i) =>
        new Promise<grpc.StatusObject>((resolve) => {
          stream.on('data', (response: RangeResponse) => got[i]!.push(response.kvs[0]!.key));
          stream.on('status', resolve);
        }),
    );
    for (let n = 0; n < 40; n++) for (const [i, stream] of streams.entries()) stream.write({ key: `${i}/${n}` });
    for (const stream of streams) stream.end();
    for (const status of await Promise.all(ends)) expect(status.code).toBe(0);
    got.forEach((keys, i) => {
      expect(keys).toEqual(Array.from({ length: 40 }, (_, n) => `${i}/${n}`));
    });
  });

  it('a stream that the server ends with an error', async () => {
    const stream = judge.echo();
    const error = new Promise((resolve) => stream.on('error', resolve));
    stream.on('data', () => {});
    stream.write({ key: 'a' });
    stream.write({ key: 'fail' });
    expect(await error).toMatchObject({ code: 14, details: 'etcdserver: no leader' });
  });

  it('a stream that the client cancels', async () => {
    const before = server.cancelled;
    const stream = judge.echo();
    stream.on('error', () => {});
    stream.on('data', () => stream.cancel());
    stream.write({ key: 'stay' });
    await until(() => server.cancelled === before + 1);
  });

  it('200 large responses to a reader that stops and goes', async () => {
    const stream = judge.echo();
    let count = 0;
    const done = new Promise<void>((resolve, reject) => {
      stream.on('error', reject);
      stream.on('end', resolve);
      stream.on('data', (response: RangeResponse) => {
        count++;
        expect(response.count).toBe(count);
        expect(response.kvs[0]!.value[99_999]).toBe(count & 0xff);
        if (count % 20 !== 0) return;
        stream.pause();
        setTimeout(() => stream.resume(), 2);
      });
    });
    stream.write({ key: 'pour', limit: 200 });
    await done;
    expect(count).toBe(200);
    stream.end();
  });
});

describe('grpc-js under tiny windows', () => {
  it('large messages both ways', async () => {
    const server = await serve({ streamWindowBytes: 1_000, connectionWindowBytes: 65_535 });
    const judge = new Judge(server.port, { 'grpc-node.flow_control_window': 65_535 });
    const value = Buffer.alloc(1.5 * MIB, 'narrow');
    const answers = await Promise.all([1, 2, 3].map((i) => judge.put({ key: `${i}`, value }).answer));
    for (const answer of answers) expect(value.equals(answer.prev_kv!.value)).toBe(true);
    judge.close();
    await server.listener.close();
  });
});

describe('grpc-js over TLS', () => {
  it('calls and streams', async () => {
    const server = await serve({}, true);
    const judge = new Judge(server.port, {}, grpc.credentials.createSsl(Buffer.from(CERTIFICATE)));
    const value = Buffer.alloc(MIB, 'secret');
    const answers = await Promise.all(Array.from({ length: 20 }, () => judge.put({ key: 'k', value }).answer));
    for (const answer of answers) expect(value.equals(answer.prev_kv!.value)).toBe(true);
    judge.close();
    await server.listener.close();
  });
});

describe('shutdown under load', () => {
  it('every call that was under way is answered', async () => {
    const server = await serve();
    const judge = new Judge(server.port);
    const calls = Array.from({ length: 500 }, () => judge.put({ key: 'hold' }).answer);
    const stream = judge.echo();
    const ended = new Promise<grpc.StatusObject>((resolve) => stream.on('status', resolve));
    stream.on('error', () => {});
    stream.on('data', () => {});
    stream.write({ key: 'a' });
    await until(() => server.held.length === 500);
    const closed = server.listener.close();
    server.handler.endStreams(rosterError('Stopped'));
    expect(await ended).toMatchObject({ code: 14, details: 'etcdserver: server stopped' });
    for (const { done } of server.held) done({ header: { revision: 9 } });
    for (const answer of await Promise.all(calls)) expect(answer.header?.revision).toBe(9);
    await closed;
    judge.close();
    expect(server.listener.connections).toBe(0);
  });

  it('a server that dies makes calls fail as unavailable, so that clients try another', async () => {
    const server = await serve();
    const judge = new Judge(server.port);
    const call = judge.put({ key: 'hold' }).answer.catch((error: grpc.ServiceError) => error.code);
    await until(() => server.held.length === 1);
    server.listener.destroy();
    expect(await call).toBe(grpc.status.UNAVAILABLE);
    judge.close();
    await server.listener.close();
  });
});
