/** Copies of one response on a stream: the same bytes as sent one by one, whatever the windows and however large they are. */
import { afterEach, expect, it } from 'vitest';
import { decode, defaults, encode } from '../../core/wire/binary.ts';
import { WatchRequest, WatchResponse } from '../../core/wire/messages.ts';
import { grpcHandler } from '../../server/grpc/server.ts';
import { counted } from '../../server/http/call-counts.ts';
import { FRAME_BYTES_MAX, FrameType, Setting } from '../../server/http2/frames.ts';
import { Between } from '../../server/rpc/between.ts';
import { Copies } from '../../server/rpc/copies.ts';
import type { Method, Responder } from '../../server/rpc/service.ts';
import { Client, destroyClients, settle, windowUpdate } from '../http2/support.ts';
import { begin, WATCH } from './rig.ts';

afterEach(destroyClients);

const WINDOW_BYTES = 10_000_000;

/** Streams that have begun, and what the server has counted. */
async function streams(count: number, windowBytes = WINDOW_BYTES) {
  const responders: Responder<WatchResponse>[] = [];
  const watch: Method = {
    kind: 'stream',
    path: WATCH,
    request: WatchRequest,
    response: WatchResponse,
    open: (_call, responder: Responder<WatchResponse>) => {
      responders.push(responder);
      return { message: () => {}, halfClose: () => {}, cancel: () => {} };
    },
  };
  const { methods, counts } = counted([watch], { slowMs: 0, onSlow: () => {} });
  const onBug = (error: unknown) => {
    throw error;
  };
  const client = new Client({ onStream: grpcHandler(methods, { maxRequestBytes: 1000, onBug }) });
  await client.greet([[Setting.INITIAL_WINDOW_SIZE, windowBytes]]);
  await client.send(windowUpdate(0, WINDOW_BYTES));
  for (let i = 0; i < count; i++) await client.send(begin(2 * i + 1, WATCH));
  return { client, responders, counts: counts.get(WATCH)! };
}

function response(value: string): WatchResponse {
  const header = { cluster_id: 1n, member_id: 2n, revision: 3, raft_term: 4 };
  return { ...defaults(WatchResponse), header, cancel_reason: value };
}

function messages(client: Client, streamId: number): WatchResponse[] {
  const body = client.body(streamId);
  const all: WatchResponse[] = [];
  for (let at = 0; at < body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    expect(body[at]).toBe(0);
    all.push(decode(WatchResponse, body, at + 5, end));
    at = end;
  }
  return all;
}

const IDS = [0n, 1n, 128n, -1n, 2n ** 62n];
const expected = (value: string) => IDS.map((watch_id) => ({ ...response(value), watch_id }));

it('are one message each, in one frame and in order with what else is sent', async () => {
  const { client, responders, counts } = await streams(2);
  const shared = response('to all');
  for (const responder of responders) {
    expect(responder.takesCopies).toBe(true);
    expect(responder.send(response('first'))).toBe(true);
    expect(responder.send(new Copies(shared, 'watch_id', IDS))).toBe(true);
    expect(responder.send(response('last'))).toBe(true);
  }
  await settle();
  for (const id of [1, 3]) {
    expect(messages(client, id)).toEqual([response('first'), ...expected('to all'), response('last')]);
  }
  expect(client.of(FrameType.DATA)).toHaveLength(6);
  expect(counts.sent).toBe(2 * (IDS.length + 2));
});

it('wait for the window like everything else', async () => {
  const { client, responders } = await streams(1, 100);
  const [responder] = responders;
  for (let i = 0; i < 3; i++) responder!.send(new Copies(response(`no. ${i}`), 'watch_id', IDS));
  await settle();
  expect(client.body(1)).toHaveLength(100);
  await client.send(windowUpdate(1, 1));
  expect(client.body(1)).toHaveLength(101);
  await client.send(windowUpdate(1, WINDOW_BYTES));
  expect(messages(client, 1)).toEqual([0, 1, 2].flatMap((i) => expected(`no. ${i}`)));
});

it.each([FRAME_BYTES_MAX - 1, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, 200_000])(
  'may take %d bytes in all',
  async (bytes) => {
    const { client, responders } = await streams(1);
    const [responder] = responders;
    const around =
      5 + encode(WatchResponse, { ...response('x'.repeat(bytes - 60)), watch_id: 1n }).length - (bytes - 60);
    const value = 'x'.repeat(bytes - around);
    responder!.send(new Copies(response(value), 'watch_id', [1n]));
    for (let i = 0; i < 30; i++) await settle();
    expect(client.body(1)).toHaveLength(bytes);
    expect(messages(client, 1)).toEqual([{ ...response(value), watch_id: 1n }]);
  },
);

it('go through what stands between, if the transport takes them', () => {
  const got: object[] = [];
  const plain = { send: (one: object) => got.push(one) > 0, end: () => {}, onDrain: undefined };
  expect(new Between(plain).takesCopies).toBe(false);
  const between = new Between({ ...plain, takesCopies: true });
  expect(between.takesCopies).toBe(true);
  const copies = new Copies(response(''), 'watch_id', IDS);
  between.send(copies);
  expect(got).toEqual([copies]);
});
