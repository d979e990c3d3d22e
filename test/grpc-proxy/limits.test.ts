import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { GrpcStatus, type RosterError } from '../../core/errors.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { leaseMethods, RENEWALS_MAX } from '../../server/grpc-proxy/lease.ts';
import { Namespace } from '../../server/grpc-proxy/namespace.ts';
import { ReadCache } from '../../server/grpc-proxy/read-cache.ts';
import { Revisions } from '../../server/grpc-proxy/revisions.ts';
import {
  STREAM_REQUESTS_MAX,
  STREAM_WATCHES_MAX,
  UNREAD_ANSWERS_MAX,
  watchMethods,
} from '../../server/grpc-proxy/watch.ts';
import type { CallContext, Responder, StreamHandler, StreamMethod } from '../../server/rpc/service.ts';
import { Upstream } from '../../server/upstream/upstream.ts';
import { freePort } from '../support/ports.ts';
import { type RunningRoster, startRoster } from '../support/roster.ts';

/** Each limit is kept to the last one, and one more is refused. */

const call: CallContext = { metadata: () => undefined, remote: 'a test', cancelled: false, onCancel: () => {} };

/** What a stream was answered. */
class Answers<Res extends object> implements Responder<Res> {
  onDrain: (() => void) | undefined;
  readonly responses: Res[] = [];
  ended: RosterError | undefined;
  reads = true;

  send(response: Res): boolean {
    this.responses.push(response);
    return this.reads;
  }

  end(error?: RosterError): void {
    this.ended = error;
  }
}

let store: RunningRoster;
const undo: (() => unknown)[] = [];
beforeAll(async () => {
  store = await startRoster();
}, 90_000);
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});
afterAll(() => store.stop());

function upstreamOf(endpoint: string): Upstream {
  const upstream = new Upstream({ endpoints: [endpoint], dialTimeoutMs: 1000 });
  undo.push(() => upstream.close());
  return upstream;
}

function watchStream(endpoint: string): { handler: StreamHandler<m.WatchRequest>; answers: Answers<m.WatchResponse> } {
  const world = {
    upstream: upstreamOf(endpoint),
    namespace: new Namespace(''),
    cache: new ReadCache({ ageMaxMs: 0, bytesMax: 0, entriesMax: 0 }),
    revisions: new Revisions(),
    counts: { receivers: 0, broadcasts: 0, created: 0, eventsShared: 0 },
  };
  const answers = new Answers<m.WatchResponse>();
  const method = watchMethods(world)[0] as StreamMethod<m.WatchRequest, m.WatchResponse>;
  const handler = method.open(call, answers);
  undo.push(() => handler.cancel());
  return { handler, answers };
}

const create = { create_request: { ...defaults(m.WatchCreateRequest), key: 'k' } };

describe('a stream of watches', () => {
  it(`holds ${STREAM_WATCHES_MAX} watches`, async () => {
    const { handler, answers } = watchStream(store.endpoint);
    handler.message(create);
    await expect.poll(() => answers.responses.length, { timeout: 30_000 }).toBe(1);
    for (let i = 1; i < STREAM_WATCHES_MAX; i++) handler.message(create);
    expect(answers.responses.every(({ created, canceled }) => created && !canceled)).toBe(true);
    expect(answers.responses).toHaveLength(STREAM_WATCHES_MAX);
    handler.message(create);
    expect(answers.responses.at(-1)).toMatchObject({
      canceled: true,
      cancel_reason: `grpc-proxy: too many watches on one stream (limit ${STREAM_WATCHES_MAX})`,
    });
    expect(answers.ended).toBeUndefined();
  });

  it(`has ${STREAM_REQUESTS_MAX} requests wait for the store`, async () => {
    const { handler, answers } = watchStream(`127.0.0.1:${await freePort()}`);
    // The first is being created; the others wait for it.
    for (let i = 0; i <= STREAM_REQUESTS_MAX; i++) handler.message(create);
    expect(answers.ended).toBeUndefined();
    handler.message(create);
    expect(answers.ended?.status).toBe(GrpcStatus.RESOURCE_EXHAUSTED);
  });

  it(`owes ${UNREAD_ANSWERS_MAX} answers to who does not read`, () => {
    const { handler, answers } = watchStream(store.endpoint);
    answers.reads = false;
    const refused = { create_request: { ...create.create_request, start_revision: -1 } };
    // The answer with which it turned out that nobody reads is not owed.
    for (let i = 0; i <= UNREAD_ANSWERS_MAX; i++) handler.message(refused);
    expect(answers.ended).toBeUndefined();
    handler.message(refused);
    expect(answers.ended?.status).toBe(GrpcStatus.RESOURCE_EXHAUSTED);
  });
});

describe('renewals', () => {
  it(`wait for the store ${RENEWALS_MAX} at a time`, async () => {
    const upstream = upstreamOf(`127.0.0.1:${await freePort()}`);
    const methods = leaseMethods({ upstream, namespace: new Namespace(''), leases: { asked: 0, sent: 0 } });
    const method = methods.find(({ kind }) => kind === 'stream') as StreamMethod<
      m.LeaseKeepAliveRequest,
      m.LeaseKeepAliveResponse
    >;
    const answers = [new Answers<m.LeaseKeepAliveResponse>(), new Answers<m.LeaseKeepAliveResponse>()] as const;
    const [first, second] = answers.map((one) => method.open(call, one)) as [
      StreamHandler<m.LeaseKeepAliveRequest>,
      StreamHandler<m.LeaseKeepAliveRequest>,
    ];
    undo.push(() => {
      first.cancel();
      second.cancel();
    });
    for (let i = 1; i < RENEWALS_MAX; i++) first.message({ ID: BigInt(i % 1000) });
    second.message({ ID: 1n });
    expect(answers[1].ended).toBeUndefined();
    const third = new Answers<m.LeaseKeepAliveResponse>();
    const handler = method.open(call, third);
    handler.message({ ID: 1n });
    expect(third.ended?.status).toBe(GrpcStatus.RESOURCE_EXHAUSTED);
    // Who waits is told in the end that the store is out of reach.
    await expect.poll(() => answers[1].ended?.status, { timeout: 60_000 }).toBe(GrpcStatus.UNAVAILABLE);
  });
});
