/** Lists a whole store again and again, in a thread of its own, so that the clients beside it do not wait for its bytes. */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { encode } from '../core/wire/binary.ts';
import { RangeRequest } from '../core/wire/messages.ts';
import { callHeaders, GrpcConnection } from './grpc-connection.ts';

export type ListMethod = 'Range' | 'RangeStream';

export interface ListerReport {
  /** Complete ones. */
  readonly lists: number;
  /** Of their replies. */
  readonly bytes: number;
  readonly seconds: number;
  readonly longestSeconds: number;
}

interface Order {
  readonly port: number;
  readonly method: ListMethod;
  readonly bytesMin: number;
}

interface ListDone {
  readonly bytes: number;
  readonly seconds: number;
}

/** Begins at once. */
export class Lister {
  readonly #worker: Worker;
  readonly #startMs = performance.now();
  #bytes = 0;
  #longestSeconds = 0;
  #report: Promise<ListerReport> | undefined;
  lists = 0;
  /** Why it lists no more. */
  failed: Error | undefined;

  /** A list with less than `bytesMin` bytes is an error. */
  constructor(port: number, method: ListMethod, bytesMin: number) {
    const order: Order = { port, method, bytesMin };
    this.#worker = new Worker(new URL(import.meta.url), { workerData: order });
    this.#worker.on('error', (error) => {
      this.failed = error instanceof Error ? error : new Error(String(error));
    });
    this.#worker.on('message', ({ bytes, seconds }: ListDone) => {
      this.lists++;
      this.#bytes += bytes;
      this.#longestSeconds = Math.max(this.#longestSeconds, seconds);
    });
  }

  /** Ends it in the middle of a list. May be called again. */
  stop(): Promise<ListerReport> {
    this.#report ??= this.#stop();
    return this.#report;
  }

  async #stop(): Promise<ListerReport> {
    const seconds = (performance.now() - this.#startMs) / 1000;
    await this.#worker.terminate();
    return { lists: this.lists, bytes: this.#bytes, seconds, longestSeconds: this.#longestSeconds };
  }
}

async function listForever({ port, method, bytesMin }: Order): Promise<never> {
  const connection = await GrpcConnection.open(port);
  const headers = callHeaders(`/etcdserverpb.KV/${method}`, `127.0.0.1:${port}`);
  const everything = encode(RangeRequest, { key: '\0', range_end: '\0' });
  for (;;) {
    const startMs = performance.now();
    const bytes = await new Promise<number>((resolve, reject) => {
      connection.onError = reject;
      connection.callCounted(headers, everything, (status, replyBytes, text) => {
        if (status !== 0) reject(new Error(`${method} answered gRPC status ${status}: ${text}`));
        else if (replyBytes < bytesMin) reject(new Error(`${method} answered ${replyBytes} bytes, not ${bytesMin}`));
        else resolve(replyBytes);
      });
    });
    const done: ListDone = { bytes, seconds: (performance.now() - startMs) / 1000 };
    parentPort!.postMessage(done);
  }
}

if (!isMainThread && parentPort !== null) await listForever(workerData as Order);
