/**
 * A trial of more cores: the production HTTP/2, gRPC and codec in front of a state machine that only spends time, either on
 * one thread or with the connections on workers, which pass requests on in one buffer per turn. A process of its own:
 * prints its ports, on each line of its input how busy its main thread was since the last, and ends with its input.
 */
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { decode, encode } from '../core/wire/binary.ts';
import { PutRequest, PutResponse } from '../core/wire/messages.ts';
import { grpcHandler } from '../server/grpc/server.ts';
import { createListener } from '../server/http2/listener.ts';
import { unary } from '../server/rpc/service.ts';
import { PUT_PATH } from './puts.ts';

const REQUEST_BYTES_MAX = 2 * 1024 * 1024;
const header = { cluster_id: 1n, member_id: 2n, revision: 3, raft_term: 4 };

type Put = (request: PutRequest, done: (response: PutResponse) => void) => void;

/** Resolves with the port. */
async function listen(put: Put): Promise<number> {
  const method = unary(PUT_PATH, PutRequest, PutResponse, (_call, request, done) => put(request, done));
  const onBug = (error: unknown): never => {
    throw error;
  };
  const grpc = grpcHandler([method], { maxRequestBytes: REQUEST_BYTES_MAX, onBug });
  const listener = createListener({ http2: { onStream: grpc }, onHttp1: (socket) => socket.destroy() });
  return (await listener.listen(0, '127.0.0.1')).port;
}

/** What a put costs between its request and its response. */
function work(microseconds: number): void {
  const endMs = performance.now() + microseconds / 1000;
  while (microseconds > 0 && performance.now() < endMs) {}
}

/** Messages one behind the other, each after its length. */
function packed(messages: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(messages.reduce((sum, { length }) => sum + 4 + length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const message of messages) {
    view.setUint32(at, message.length);
    bytes.set(message, at + 4);
    at += 4 + message.length;
  }
  return bytes;
}

function* unpacked(bytes: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + view.getUint32(at);
    yield bytes.subarray(at + 4, end);
    at = end;
  }
}

/** A thread with connections of its own: what comes in one turn goes to the main thread in one message. */
async function connectionWorker(): Promise<void> {
  const port = parentPort!;
  let requests: Uint8Array[] = [];
  /** In the order of the requests, which the main thread keeps. */
  const waiting: ((response: PutResponse) => void)[] = [];
  const send = (): void => {
    const bytes = packed(requests);
    requests = [];
    port.postMessage(bytes, [bytes.buffer]);
  };
  port.on('message', (bytes: Uint8Array) => {
    let answered = 0;
    for (const response of unpacked(bytes)) waiting[answered++]!(decode(PutResponse, response));
    waiting.splice(0, answered);
  });
  const listening = await listen((request, done) => {
    waiting.push(done);
    // What the log is to hold is encoded here; the state machine needs it decoded.
    if (requests.push(encode(PutRequest, request)) === 1) setImmediate(send);
  });
  port.postMessage(listening);
}

async function withWorkers(count: number, microseconds: number): Promise<number[]> {
  return Promise.all(
    Array.from({ length: count }, () => {
      const worker = new Worker(new URL(import.meta.url), { workerData: 'connections' });
      return new Promise<number>((resolve) => {
        worker.once('message', (port: number) => {
          resolve(port);
          worker.on('message', (bytes: Uint8Array) => {
            const responses: Uint8Array[] = [];
            for (const request of unpacked(bytes)) {
              decode(PutRequest, request);
              work(microseconds);
              responses.push(encode(PutResponse, { header }));
            }
            const answer = packed(responses);
            worker.postMessage(answer, [answer.buffer]);
          });
        });
      });
    }),
  );
}

async function serve(workers: number, microseconds: number): Promise<void> {
  const alone: Put = (_request, done) => {
    work(microseconds);
    done({ header, prev_kv: undefined });
  };
  const ports = workers === 0 ? [await listen(alone)] : await withWorkers(workers, microseconds);
  console.log(JSON.stringify(ports));
  let before = performance.eventLoopUtilization();
  const lines = createInterface({ input: process.stdin });
  lines.on('line', () => {
    console.log(performance.eventLoopUtilization(before).active);
    before = performance.eventLoopUtilization();
  });
  lines.on('close', () => process.exit(0));
}

if (isMainThread) await serve(Number(process.argv[2]), Number(process.argv[3]));
else if (workerData === 'connections') await connectionWorker();
