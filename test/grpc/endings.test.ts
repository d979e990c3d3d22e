import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { rosterError } from '../../core/errors.ts';
import { ErrorCode, Setting } from '../../server/http2/frames.ts';
import { data, destroyClients, rst, settings, settle } from '../http2/support.ts';
import { begin, PUT, prefixed, put, putRequest, putResponse, rig, WATCH } from './rig.ts';

/** How calls end before their time: the client goes, or the time is up. */

afterEach(destroyClients);

describe('cancellation', () => {
  it('a reset and a lost connection tell the method, once', async () => {
    const r = await rig();
    await r.client.send(put(1), begin(3, WATCH), put(5), begin(7, WATCH));
    const heard: string[] = [];
    for (const [i, { call }] of [...r.unary, ...r.streams].entries()) {
      call.onCancel(() => heard.push(`first ${i}`));
      call.onCancel(() => heard.push(`second ${i}`));
    }
    await r.client.send(rst(1), rst(3));
    expect(heard).toEqual(['first 0', 'second 0', 'first 2', 'second 2']);
    expect(r.unary.map((seen) => seen.call.cancelled)).toEqual([true, false]);
    r.client.wire.destroy();
    await settle();
    expect(heard.slice(4)).toEqual(['first 1', 'second 1', 'first 3', 'second 3']);
    expect(r.streams.map((seen) => seen.cancels)).toEqual([1, 1]);
    let late = 0;
    r.unary[0]!.call.onCancel(() => late++);
    expect(late).toBe(1);
    r.unary[0]!.done(putResponse(1)); // too late, and harmless
    r.streams[0]!.responder.send({ count: 1 });
    r.streams[0]!.responder.end(rosterError('NoLeader'));
    expect(r.bugs).toEqual([]);
  });

  it('a call that ended well is not cancelled by what comes later', async () => {
    const r = await rig();
    await r.client.send(put(1), begin(3, WATCH));
    let cancels = 0;
    r.unary[0]!.call.onCancel(() => cancels++);
    r.streams[0]!.call.onCancel(() => cancels++);
    r.unary[0]!.done(putResponse(1));
    r.streams[0]!.responder.end();
    await r.client.send(rst(1), rst(3, ErrorCode.CANCEL));
    r.client.wire.destroy();
    await settle();
    expect(cancels).toBe(0);
    expect(r.streams[0]!.cancels).toBe(0);
  });

  it('a reset while the response waits for the window is no cancellation either', async () => {
    const r = await rig();
    await r.client.send(settings([[Setting.INITIAL_WINDOW_SIZE, 0]]), put(1));
    let cancels = 0;
    r.unary[0]!.call.onCancel(() => cancels++);
    r.unary[0]!.done(putResponse(1));
    await r.client.send(rst(1));
    expect(cancels).toBe(0);
    expect(r.client.connection.queuedBytes).toBe(0);
  });
});

describe('deadlines', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('end the call with DEADLINE_EXCEEDED and tell the method', async () => {
    const r = await rig();
    await r.client.send(put(1, 'k', [['grpc-timeout', '100m']]), begin(3, WATCH, [['grpc-timeout', '200m']]));
    let cancels = 0;
    r.unary[0]!.call.onCancel(() => cancels++);
    vi.advanceTimersByTime(99);
    await settle();
    expect(r.status(1)).toBeUndefined();
    vi.advanceTimersByTime(42);
    await settle();
    expect(r.status(1)).toBe('4 context deadline exceeded');
    expect([cancels, r.unary[0]!.call.cancelled]).toEqual([1, true]);
    r.unary[0]!.done(putResponse(1));
    r.streams[0]!.responder.send({ count: 1 });
    vi.advanceTimersByTime(100);
    await settle();
    expect(r.status(3)).toBe('4 context deadline exceeded');
    expect(r.messages(3)).toHaveLength(1);
    expect(r.streams[0]!.cancels).toBe(1);
    expect(r.client.headers(1)).toHaveLength(1);
  });

  it('also while the request is still coming', async () => {
    const r = await rig();
    await r.client.send(begin(1, PUT, [['grpc-timeout', '1S']]), data(1, prefixed(putRequest('k')).subarray(0, 6)));
    vi.advanceTimersByTime(1_100);
    await settle();
    expect(r.status(1)).toBe('4 context deadline exceeded');
    expect(r.client.resets).toEqual(['1 NO_ERROR']);
  });

  it('a call that is answered in time has none left', async () => {
    const r = await rig();
    r.onUnary = ({ done }) => done(putResponse(1));
    await r.client.send(put(1, 'k', [['grpc-timeout', '50m']]));
    await r.client.send(put(3, 'k', [['grpc-timeout', '1H']]));
    vi.advanceTimersByTime(10_000);
    expect(vi.getTimerCount()).toBe(1); // the connection's; with a deadline left, the wheel's would run on
    await settle();
    expect(r.client.headers(1)).toHaveLength(2);
    expect(r.status(1)).toBe('0');
  });

  it('no time at all, and times that are none', async () => {
    const r = await rig();
    const cases: [string, string, string][] = [
      ['0m', '200', '4 context deadline exceeded'],
      ['S', '400', '13 malformed grpc-timeout: transport: timeout string is too short: "S"'],
      ['123456789S', '400', '13 malformed grpc-timeout: transport: timeout string is too long: "123456789S"'],
      ['1x', '400', '13 malformed grpc-timeout: transport: timeout unit is not recognized: "1x"'],
      ['1.5S', '400', '13 malformed grpc-timeout: strconv.ParseUint: parsing "1.5": invalid syntax'],
      ['-1S', '400', '13 malformed grpc-timeout: strconv.ParseUint: parsing "-1": invalid syntax'],
    ];
    let id = 1;
    for (const [timeout, status, message] of cases) {
      await r.client.send(put(id, 'k', [['grpc-timeout', timeout]]));
      expect([r.client.status(id), r.status(id)], timeout).toEqual([status, message]);
      id += 2;
    }
    expect(r.unary).toEqual([]);
  });
});
