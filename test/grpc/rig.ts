/** gRPC calls by hand on the hand-driven HTTP/2 client, and methods that do what a test tells them. */
import { decode, encode } from '../../core/wire/binary.ts';
import { PutRequest, PutResponse, RangeRequest, RangeResponse } from '../../core/wire/messages.ts';
import { type GrpcHandler, type GrpcOptions, grpcHandler } from '../../server/grpc/server.ts';
import type { HeaderField } from '../../server/http2/header-list.ts';
import type { CallContext, Method, Responder, UnaryDone } from '../../server/rpc/service.ts';
import { Client, data, open } from '../http2/support.ts';

export const PUT = '/etcdserverpb.KV/Put';
export const WATCH = '/etcdserverpb.Watch/Watch';
export const MAX_REQUEST_BYTES = 1000;

export interface UnarySeen {
  readonly call: CallContext;
  readonly request: PutRequest;
  readonly done: UnaryDone<object>;
}

export class StreamSeen {
  readonly call: CallContext;
  readonly responder: Responder<object>;
  readonly requests: RangeRequest[] = [];
  halfClosed = false;
  cancels = 0;

  constructor(call: CallContext, responder: Responder<object>) {
    this.call = call;
    this.responder = responder;
  }
}

export class Rig {
  readonly client: Client;
  readonly handler: GrpcHandler;
  readonly unary: UnarySeen[] = [];
  readonly streams: StreamSeen[] = [];
  readonly bugs: unknown[] = [];
  /** What the unary method does besides being written down. */
  onUnary: (seen: UnarySeen) => void = () => {};
  onOpen: (seen: StreamSeen) => void = () => {};

  constructor(options: Partial<GrpcOptions> = {}) {
    const methods: Method[] = [
      {
        kind: 'unary',
        path: PUT,
        request: PutRequest,
        response: PutResponse,
        handle: (call: CallContext, request: PutRequest, done: UnaryDone<object>) => {
          const seen = { call, request, done };
          this.unary.push(seen);
          this.onUnary(seen);
        },
      },
      {
        kind: 'stream',
        path: WATCH,
        request: RangeRequest,
        response: RangeResponse,
        open: (call: CallContext, responder: Responder<object>) => {
          const seen = new StreamSeen(call, responder);
          this.streams.push(seen);
          this.onOpen(seen);
          return {
            message: (request: RangeRequest) => void seen.requests.push(request),
            halfClose: () => {
              seen.halfClosed = true;
            },
            cancel: () => {
              seen.cancels++;
            },
          };
        },
      },
    ];
    this.handler = grpcHandler(methods, {
      maxRequestBytes: MAX_REQUEST_BYTES,
      onBug: (error) => this.bugs.push(error),
      ...options,
    });
    this.client = new Client({ onStream: this.handler });
  }

  /** How a call ended: `status message`, from trailers or a trailers-only response. */
  status(streamId: number): string | undefined {
    const last = this.client.headers(streamId).at(-1);
    const code = last?.get('grpc-status');
    return code && `${code} ${decodeURIComponent(last!.get('grpc-message') ?? '')}`.trim();
  }

  /** The messages of a response, still encoded. */
  messages(streamId: number): Buffer[] {
    const body = this.client.body(streamId);
    const list: Buffer[] = [];
    for (let at = 0; at < body.length; ) {
      const length = body.readUInt32BE(at + 1);
      list.push(body.subarray(at + 5, at + 5 + length));
      at += 5 + length;
    }
    return list;
  }
}

export async function rig(options: Partial<GrpcOptions> = {}): Promise<Rig> {
  const made = new Rig(options);
  await made.client.greet();
  return made;
}

export function callHeaders(path: string, more: readonly HeaderField[] = []): HeaderField[] {
  return [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', 'test'],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ...more,
  ];
}

export const begin = (streamId: number, path: string, more: readonly HeaderField[] = []): Buffer =>
  open(streamId, callHeaders(path, more));

/** A length-prefixed message. */
export function prefixed(body: Uint8Array, flag = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(body.length, 1);
  return Buffer.concat([prefix, body]);
}

export const putRequest = (key: string, value: Uint8Array = Buffer.from('v')): Buffer =>
  Buffer.from(encode(PutRequest, { key, value }));
export const rangeRequest = (key: string): Buffer => Buffer.from(encode(RangeRequest, { key }));

/** A whole unary call. */
export const put = (streamId: number, key = 'k', more: readonly HeaderField[] = []): Buffer =>
  Buffer.concat([begin(streamId, PUT, more), data(streamId, prefixed(putRequest(key)), true)]);

export const putResponse = (revision: number): object => ({ header: { revision } });

export function revisionOf(bytes: Uint8Array): number {
  return decode(PutResponse, bytes).header!.revision;
}
