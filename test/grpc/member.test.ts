import { type ClientHttp2Session, connect } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { TestMember } from '../auth/member.ts';

/** What a whole member does on its gRPC port, as its flags say. */

describe('calls that take one message', () => {
  let member: TestMember;
  beforeAll(async () => {
    member = await TestMember.start();
  });
  afterAll(() => member.stop());

  const STREAMS = [
    '/etcdserverpb.KV/RangeStream',
    '/etcdserverpb.Maintenance/Snapshot',
    '/v3electionpb.Election/Observe',
    '/grpc.health.v1.Health/Watch',
  ];

  it.each(STREAMS)('%s refuses none', async (path) => {
    const stream = member.duplex(path);
    stream.halfClose();
    expect(await stream.next()).toEqual({
      code: 13,
      text: 'cardinality violation: received no request message from non-client-streaming RPC',
    });
  });

  it.each(['/v3electionpb.Election/Observe', '/grpc.health.v1.Health/Watch'])('%s refuses a second', async (path) => {
    const stream = member.duplex(path);
    stream.send({});
    stream.send({});
    let outcome = await stream.next();
    if ('message' in outcome) outcome = await stream.next();
    expect(outcome).toEqual({
      code: 13,
      text: 'cardinality violation: received multiple request messages for non-client-streaming RPC',
    });
  });

  it('health lists what there is', async () => {
    expect(await member.ok<m.HealthListResponse>('/grpc.health.v1.Health/List')).toEqual({
      statuses: [{ key: '', value: { status: 1 } }],
    });
  });

  it('says in grpc-go’s words that a message is too large, and in etcd’s that a request is', async () => {
    const put = (bytes: number) =>
      member.grpc('/etcdserverpb.KV/Put', { ...defaults(m.PutRequest), key: 'k', value: new Uint8Array(bytes) });
    const max = 1_572_864 + 512 * 1024;
    // Key and value with their lengths: 3 + 4 bytes.
    expect(await put(max - 7)).toEqual({ code: 3, text: 'etcdserver: request is too large' });
    expect(await put(max - 6)).toEqual({
      code: 8,
      text: `grpc: received message larger than max (${max + 1} vs. ${max})`,
    });
  });
});

describe('keepalive', () => {
  const sessions: ClientHttp2Session[] = [];
  let member: TestMember | undefined;
  afterEach(async () => {
    for (const session of sessions.splice(0)) session.destroy();
    await member?.stop();
    member = undefined;
  });

  async function session(...flags: string[]): Promise<ClientHttp2Session> {
    member = await TestMember.start(...flags);
    const made = connect(member.url);
    made.on('error', () => {});
    sessions.push(made);
    await new Promise((resolve) => made.once('remoteSettings', resolve));
    return made;
  }
  const pings = (on: ClientHttp2Session, count: number) =>
    Promise.all(
      Array.from({ length: count }, () => new Promise<void>((resolve) => void on.ping((_error) => resolve()))),
    );
  const goaway = (on: ClientHttp2Session) =>
    new Promise<[number, string]>((resolve) =>
      on.once('goaway', (code, _lastId, data) => resolve([code, Buffer.from(data ?? []).toString()])),
    );
  const ENHANCE_YOUR_CALM = 11;

  it('a client that pings too often, or with nothing open, is told too_many_pings', async () => {
    const client = await session();
    const told = goaway(client);
    await pings(client, 8);
    expect(await told).toEqual([ENHANCE_YOUR_CALM, 'too_many_pings']);
  });

  it('--grpc-keepalive-min-time says what too often is, while a stream is open', async () => {
    const client = await session('--grpc-keepalive-min-time', '0s');
    let gone = false;
    client.on('goaway', () => {
      gone = true;
    });
    const stream = client.request({
      ':method': 'POST',
      ':path': '/etcdserverpb.Watch/Watch',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.on('error', () => {});
    for (let i = 0; i < 20; i++) await pings(client, 1);
    expect(gone).toBe(false);
    stream.close();
  });

  it('--grpc-keepalive-interval: the server asks a silent client, --grpc-keepalive-timeout: and gives it up', async () => {
    member = await TestMember.start('--grpc-keepalive-interval', '1s', '--grpc-keepalive-timeout', '1s');
    const { hostname, port } = new URL(member.url);
    const socket = connectTcp(Number(port), hostname);
    const frames: Buffer[] = [];
    socket.on('data', (bytes) => frames.push(bytes));
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.write(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 'latin1'));
    await closed;
    // 8 bytes, PING, no flags, stream 0.
    expect(Buffer.concat(frames).includes(Buffer.of(0, 0, 8, 6, 0, 0, 0, 0, 0))).toBe(true);
  });
});
