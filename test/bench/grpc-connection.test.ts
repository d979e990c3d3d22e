import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callHeaders, GrpcConnection } from '../../bench/grpc-connection.ts';
import { MessageCutter } from '../../bench/grpc-sinks.ts';
import { scanWatchResponse } from '../../bench/workloads/watch-scan.ts';
import { decode, defaults, encode } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { type RunningRoster, startRoster } from '../support/roster.ts';

let roster: RunningRoster;
let port: number;

beforeAll(async () => {
  roster = await startRoster();
  port = Number(roster.endpoint.split(':')[1]);
});
afterAll(() => roster?.stop());

function call(connection: GrpcConnection, method: string, request: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    connection.onError = reject;
    connection.call(callHeaders(`/etcdserverpb.${method}`, roster.endpoint), request, (status, reply, text) => {
      if (status === 0 && reply !== undefined) resolve(reply);
      else reject(new Error(`${status}: ${text}`));
    });
  });
}

describe('the client of the load generator', () => {
  it('sends and takes messages of many frames and windows', async () => {
    const connection = await GrpcConnection.open(port);
    const value = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i & 0xff));
    const keys = Array.from({ length: 8 }, (_, i) => `large-${i}`);
    // All at once: the connection's window has not room for them.
    await Promise.all(keys.map((key) => call(connection, 'KV/Put', encode(m.PutRequest, { key, value }))));
    const all = encode(m.RangeRequest, { key: 'large-', range_end: 'large.' });
    const { kvs } = decode(m.RangeResponse, await call(connection, 'KV/Range', all));
    connection.close();
    expect(kvs.map((kv) => kv?.key)).toEqual(keys);
    for (const kv of kvs) expect(value.equals(kv!.value)).toBe(true);
  });

  it('tells the status and its text', async () => {
    const connection = await GrpcConnection.open(port);
    const future = encode(m.RangeRequest, { key: 'a', revision: 1_000_000 });
    await expect(call(connection, 'KV/Range', future)).rejects.toThrow(
      '11: etcdserver: mvcc: required revision is a future revision',
    );
    connection.close();
  });

  it('watches with ids of its own, many on one stream', async () => {
    const connection = await GrpcConnection.open(port);
    const seen = new Map<number, number>();
    let created = 0;
    const create = (id: number): Uint8Array =>
      encode(m.WatchRequest, {
        create_request: { ...defaults(m.WatchCreateRequest), key: 'watched', watch_id: BigInt(id) },
      });
    const sink = new MessageCutter(
      (bytes, start, end) => {
        const scan = scanWatchResponse(bytes, start, end);
        if (scan.created) created++;
        if (scan.events > 0) seen.set(scan.watchId, (seen.get(scan.watchId) ?? 0) + scan.events);
      },
      () => {},
    );
    const stream = connection.open(callHeaders('/etcdserverpb.Watch/Watch', roster.endpoint), create(1), sink);
    for (let id = 2; id <= 20; id++) connection.send(stream, create(id));
    await expect.poll(() => created).toBe(20);
    await call(connection, 'KV/Put', encode(m.PutRequest, { key: 'watched', value: Buffer.from('v') }));
    const each = Array.from({ length: 20 }, (_, i) => [i + 1, 1]);
    await expect.poll(() => [...seen].sort(([a], [b]) => a - b)).toEqual(each);
    connection.close();
  });
});

describe('messages of a stream', () => {
  it('come whole and in order, however the bytes are cut', () => {
    const messages = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 10 });
    fc.assert(
      fc.property(messages, fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }), (sent, cuts) => {
        const wire = Buffer.concat(
          sent.flatMap((message) => {
            const prefix = Buffer.alloc(5);
            prefix.writeUInt32BE(message.length, 1);
            return [prefix, message];
          }),
        );
        const got: string[] = [];
        const cutter = new MessageCutter(
          (bytes, start, end) => got.push(bytes.toString('hex', start, end)),
          () => {},
        );
        for (let at = 0, i = 0; at < wire.length; i++) {
          const end = Math.min(wire.length, at + cuts[i % cuts.length]!);
          cutter.data(wire, at, end);
          at = end;
        }
        expect(got).toEqual(sent.map((message) => Buffer.from(message).toString('hex')));
      }),
    );
  });

  it('are scanned as the codec reads them', () => {
    const ids = fc.integer({ min: 0, max: 2 ** 31 });
    fc.assert(
      fc.property(ids, fc.boolean(), fc.boolean(), fc.nat(5), ids, (id, created, canceled, events, revision) => {
        const event = { ...defaults(m.Event), kv: { ...defaults(m.KeyValue), key: 'k', mod_revision: revision } };
        const bytes = encode(m.WatchResponse, {
          header: { ...defaults(m.ResponseHeader), revision },
          watch_id: BigInt(id),
          created,
          canceled,
          compact_revision: revision,
          events: new Array(events).fill(event),
        });
        const padded = Buffer.concat([Buffer.alloc(3), bytes]);
        expect(scanWatchResponse(padded, 3, padded.length)).toEqual({ watchId: id, created, canceled, events });
      }),
    );
  });
});
