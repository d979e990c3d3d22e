import * as grpc from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import { decode, defaults, encode } from '../../core/wire/binary.ts';
import { WatchRequest, WatchResponse } from '../../core/wire/messages.ts';

type Call = grpc.ServerDuplexStream<WatchRequest, WatchResponse>;

const servers: grpc.Server[] = [];
const clients: Client[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  for (const server of servers.splice(0)) server.forceShutdown();
});

/**
 * A server of watches that only writes down what it is asked: `+key` for a creation, `-id` for a cancellation. Creates
 * every watch, with ids from 1 on, and answers a cancellation, as etcd does; everything else the test sends on `call`.
 */
async function watchServer() {
  const asked: string[] = [];
  const calls: Call[] = [];
  const server = new grpc.Server();
  const send = (part: Partial<WatchResponse>) => calls.at(-1)!.write({ ...defaults(WatchResponse), ...part });
  let lastId = 0n;
  server.addService(
    {
      Watch: {
        path: '/etcdserverpb.Watch/Watch',
        requestStream: true,
        responseStream: true,
        requestSerialize: (message: WatchRequest) => Buffer.from(encode(WatchRequest, message)),
        requestDeserialize: (bytes: Buffer) => decode(WatchRequest, bytes),
        responseSerialize: (message: WatchResponse) => Buffer.from(encode(WatchResponse, message)),
        responseDeserialize: (bytes: Buffer) => decode(WatchResponse, bytes),
      },
    },
    {
      Watch: (call: Call) => {
        calls.push(call);
        call.on('data', ({ create_request: create, cancel_request: cancel }: WatchRequest) => {
          if (create !== undefined) {
            asked.push(`+${create.key}`);
            send({ created: true, watch_id: ++lastId });
          }
          if (cancel !== undefined) {
            asked.push(`-${cancel.watch_id}`);
            send({ canceled: true, watch_id: cancel.watch_id });
          }
        });
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  servers.push(server);
  const client = new Client({ endpoints: [`127.0.0.1:${port}`] });
  clients.push(client);
  const watch = async (key: string) => {
    let onCreated = () => {};
    const created = new Promise<void>((resolve) => {
      onCreated = resolve;
    });
    const made = client.watch(key, { onCreated: () => onCreated() });
    await created;
    return made;
  };
  return { asked, calls, send, watch };
}

describe('a watch that the server ends', () => {
  it('is cancelled by us as well when compaction overtook it: until then etcd answers no progress', async () => {
    const { asked, calls, send, watch } = await watchServer();
    const overtaken = await watch('a');
    const other = await watch('b');
    send({ canceled: true, watch_id: 1n, compact_revision: 7 });
    expect((await overtaken.next()).value).toEqual({ kind: 'compacted', compactRevision: 7 });
    expect((await overtaken.next()).done).toBe(true);
    await watch('c');
    expect(asked).toEqual(['+a', '+b', '-1', '+c']);
    // The answer to the cancellation concerns nobody, and the stream goes on.
    send({ watch_id: 2n, header: { cluster_id: 0n, member_id: 0n, revision: 9, raft_term: 0 } });
    expect((await other.next()).value).toEqual({ kind: 'progress', revision: 9 });
    expect(calls).toHaveLength(1);
  });

  it('is not cancelled again when the server has dropped it for any other reason', async () => {
    const { asked, send, watch } = await watchServer();
    const refused = await watch('a');
    await watch('b');
    send({ canceled: true, watch_id: 1n, cancel_reason: 'etcdserver: permission denied' });
    await expect(refused.next()).rejects.toMatchObject({ code: 'PermissionDenied' });
    await watch('c');
    expect(asked).toEqual(['+a', '+b', '+c']);
  });

  it('ends the stream when it was the last', async () => {
    const { calls, send, watch } = await watchServer();
    const overtaken = await watch('a');
    const cancelled = new Promise((resolve) => calls[0]!.once('cancelled', resolve));
    send({ canceled: true, watch_id: 1n, compact_revision: 7 });
    expect((await overtaken.next()).value).toEqual({ kind: 'compacted', compactRevision: 7 });
    await cancelled;
  });
});
