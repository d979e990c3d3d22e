import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { rosterError } from '../../core/errors.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import type { KvCall } from '../../server/kv/kv-call.ts';
import { WatchAnswer, type WatchTimes } from '../../server/kv/watch-answer.ts';
import { asLine, asServerSentEvent } from '../../server/kv/watch-lines.ts';
import type { StreamMethod } from '../../server/rpc/service.ts';
import { TestMember } from '../auth/member.ts';
import { Lines, send } from './door.ts';

let member: TestMember;
const readers: { leave(): void }[] = [];
beforeAll(async () => {
  member = await TestMember.start();
});
afterEach(() => {
  for (const reader of readers.splice(0)) reader.leave();
});
afterAll(() => member.stop());

function watch(path: string, headers: Record<string, string> = {}): Lines {
  const lines = new Lines(member.url, path, headers);
  readers.push(lines);
  return lines;
}

class SocketLines {
  readonly messages: Record<string, unknown>[] = [];
  closed: number | undefined;
  readonly #socket: WebSocket;

  constructor(path: string, headers: Record<string, string> = {}) {
    this.#socket = new WebSocket(`${member.url.replace('http', 'ws')}${path}`, { headers });
    this.#socket.on('message', (data: Buffer) =>
      this.messages.push(JSON.parse(data.toString()) as Record<string, unknown>),
    );
    this.#socket.on('error', () => {});
    this.#socket.on('close', (code) => {
      this.closed = code;
    });
    readers.push(this);
  }

  leave(): void {
    this.#socket.terminate();
  }
}

const put = async (key: string, value = 'x') =>
  (await send(member.url, `/kv/${key}`, { method: 'PUT', body: value })).json.revision as number;
const openWatches = async () =>
  /^etcd_debugging_mvcc_watcher_total (\d+)$/m.exec((await send(member.url, '/metrics')).text)?.[1];

describe('a watch', () => {
  it('in lines tells each revision whole, from now on or from a revision', async () => {
    const live = watch('/kv/n/?watch&prefix&prev');
    await expect.poll(() => live.messages).toHaveLength(1);
    const first = await put('n/a', '1');
    await put('other');
    await put('n/b', '2');
    await send(member.url, '/kv/n/?prefix', { method: 'DELETE' });
    await expect.poll(() => live.messages).toHaveLength(4);
    expect([live.status, live.type]).toEqual([200, 'application/x-ndjson']);
    const [a, b] = [
      { key: 'n/a', modRevision: first },
      { key: 'n/b', modRevision: first + 2 },
    ];
    expect(live.messages).toMatchObject([
      { type: 'watching', revision: first - 1, from: first },
      { type: 'events', revision: first, events: [{ type: 'put', ...a, value: '1' }] },
      { type: 'events', revision: first + 2, events: [{ type: 'put', ...b }] },
      {
        ...{ type: 'events', revision: first + 3 },
        events: [
          { type: 'delete', key: 'n/a', modRevision: first + 3, prev: { value: '1' } },
          { type: 'delete', key: 'n/b', prev: { value: '2' } },
        ],
      },
    ]);
    const past = watch(`/kv/n/b?watch&rev=${first + 3}`);
    await expect.poll(() => past.messages).toHaveLength(2);
    expect(past.messages[1]).toMatchObject({ revision: first + 3, events: [{ type: 'delete', key: 'n/b' }] });
    live.leave();
    past.leave();
    await expect.poll(openWatches).toBe('0');
  });

  it('as Server-Sent Events has the revision as its id, and goes on after Last-Event-ID', async () => {
    const first = await put('s/a', '1');
    await put('s/a', '2');
    const headers = { Accept: 'text/event-stream', 'Last-Event-ID': String(first) };
    const sse = watch('/kv/s/a?watch&rev=1', headers);
    await expect.poll(() => sse.lines.filter((line) => line === '')).toHaveLength(2);
    expect(sse.type).toBe('text/event-stream');
    expect(sse.lines.filter((line) => !line.startsWith('data'))).toEqual([
      ...['retry: 1000', 'event: watching', `id: ${first}`, '', `id: ${first + 1}`, ''],
    ]);
    const data = sse.lines
      .filter((line) => line.startsWith('data: '))
      .map((line) => JSON.parse(line.slice(6)) as object);
    expect(data[1]).toMatchObject({ revision: first + 1, events: [{ value: '2' }] });
    expect((await send(member.url, '/kv/s/a?watch', { headers: { 'Last-Event-ID': 'x' } })).status).toBe(400);
  });

  it('over a WebSocket is a message each, and nothing but a watch', async () => {
    const first = await put('w/a', '1');
    const socket = new SocketLines(`/kv/w/?watch&prefix&rev=${first}`);
    await expect.poll(() => socket.messages).toHaveLength(2);
    await put('w/b', '2');
    await expect.poll(() => socket.messages).toHaveLength(3);
    expect(socket.messages).toMatchObject([{ type: 'watching' }, { revision: first }, { revision: first + 1 }]);
    const other = new SocketLines('/kv/w/a');
    await expect.poll(() => other.closed).toBe(1000);
    expect(other.messages).toMatchObject([{ code: 'BadParameter' }]);
    socket.leave();
    await expect.poll(openWatches).toBe('0');
  });

  it('that starts before the compact revision is told where to go on, in each form', async () => {
    const first = await put('z/a', '1');
    await put('z/a', '2');
    const compactRevision = await put('z/a', '3');
    await member.ok('/etcdserverpb.KV/Compact', { revision: compactRevision });
    const lines = watch(`/kv/z/a?watch&rev=${first}`);
    const socket = new SocketLines(`/kv/z/a?watch&rev=${first}`);
    const sse = watch(`/kv/z/a?watch&rev=${first}`, { Accept: 'text/event-stream' });
    await expect.poll(() => lines.over && sse.over && socket.closed).toBe(1000);
    for (const messages of [lines.messages, socket.messages]) {
      expect(messages).toMatchObject([
        { type: 'watching', from: first },
        { type: 'compacted', compactRevision },
      ]);
    }
    // A browser comes back with this id, and sees what there is.
    expect(sse.lines).toContain(`id: ${compactRevision - 1}`);
    const next = watch('/kv/z/a?watch', { 'Last-Event-ID': String(compactRevision - 1) });
    await expect.poll(() => next.messages).toHaveLength(2);
    expect(next.messages[1]).toMatchObject({ events: [{ value: '3' }] });
  });

  it('whose reader takes nothing for a while has everything afterwards, and holds nobody up', async () => {
    const slow = watch('/kv/slow/?watch&prefix');
    const fast = watch('/kv/slow/?watch&prefix');
    await expect.poll(() => [slow, fast].map(({ messages }) => messages.length)).toEqual([1, 1]);
    const response = await slow.response;
    response.pause();
    const value = 'x'.repeat(100_000);
    const revisions: number[] = [];
    for (let i = 0; i < 150; i++) revisions.push(await put(`slow/${i % 3}`, value));
    const seen = (lines: Lines) => lines.messages.slice(1).map(({ revision }) => revision);
    await expect.poll(() => seen(fast)).toEqual(revisions);
    expect(seen(slow).length).toBeLessThan(150);
    response.resume();
    await expect.poll(() => seen(slow).length).toBe(150);
    expect(seen(slow)).toEqual(revisions);
  });

  it('says so when the member stops', async () => {
    const own = await TestMember.start();
    const lines = new Lines(own.url, '/kv/a?watch');
    await expect.poll(() => lines.messages).toHaveLength(1);
    await own.stop();
    await expect.poll(() => lines.over).toBe(true);
    expect(lines.messages[1]).toMatchObject({ type: 'failed', code: 'Stopped', hint: expect.any(String) });
  });
});

/** The call of a watch, and what is done with it. */
class Rig {
  readonly asked: m.WatchRequest[] = [];
  cancelled = 0;
  cuts = 0;
  over = 0;
  response: Response | undefined;
  refused: Error | undefined;
  readonly answer: WatchAnswer;

  constructor(times: Partial<WatchTimes>, { start = 0, sse = false } = {}) {
    this.answer = new WatchAnswer({
      call: { onCancel: () => {}, over: () => {} } as unknown as KvCall,
      create: { ...defaults(m.WatchCreateRequest), key: 'k', start_revision: start },
      format: sse ? asServerSentEvent : asLine,
      contentType: 'x',
      times: { keepAliveMs: 1e6, stallMs: 1e6, cutMs: 1e6, ...times },
      compactRevision: () => -1,
      cut: () => this.cuts++,
      settle: {
        resolve: (response) => {
          this.response = response;
        },
        reject: (error) => {
          this.refused = error;
        },
      },
      onOver: () => this.over++,
    });
    const handler = {
      halfClose: () => {},
      cancel: () => this.cancelled++,
      message: (r: m.WatchRequest) => this.asked.push(r),
    };
    this.answer.begin({ open: () => handler } as unknown as StreamMethod<m.WatchRequest, m.WatchResponse>);
  }

  send(parts: Partial<m.WatchResponse>, revision = 5): boolean {
    const header = { ...defaults(m.ResponseHeader), revision };
    return this.answer.send({ ...defaults(m.WatchResponse), header, ...parts });
  }

  event(revision: number, key: string, bytes = 0): m.Event {
    const kv = { ...defaults(m.KeyValue), key, mod_revision: revision, value: new Uint8Array(bytes).fill(120) };
    return { type: 0, kv, prev_kv: undefined };
  }
}

describe('WatchAnswer', () => {
  it('parts what comes at once into revisions', async () => {
    const rig = new Rig({});
    rig.send({ created: true });
    rig.send({ events: [rig.event(6, 'a'), rig.event(6, 'b'), rig.event(7, 'a')] });
    rig.answer.stop(rosterError('Stopped'));
    const lines = (await rig.response!.text()).trim().split('\n');
    const messages = lines.map((line) => JSON.parse(line) as { revision: number; events?: unknown[] });
    expect(messages.map(({ revision, events }) => [revision, events?.length])).toEqual([
      ...[
        [5, undefined],
        [6, 2],
        [7, 1],
        [undefined, undefined],
      ],
    ]);
    expect([rig.cancelled, rig.over]).toEqual([1, 1]);
  });

  it('is refused with the error that the reason says', () => {
    const rig = new Rig({});
    const cancel_reason = 'rpc error: code = PermissionDenied desc = etcdserver: permission denied';
    rig.send({ created: true, canceled: true, cancel_reason });
    expect([rig.response, rig.refused]).toMatchObject([undefined, { code: 'PermissionDenied' }]);
    expect([rig.cancelled, rig.over]).toEqual([1, 1]);
  });

  it('asks for progress when it has nothing to say, and is alive when there is none', async () => {
    const rig = new Rig({ keepAliveMs: 20 }, { start: 9, sse: true });
    rig.send({ created: true });
    await expect.poll(() => rig.asked.length).toBeGreaterThan(2);
    expect(rig.asked[1]).toMatchObject({ progress_request: {} });
    rig.send({}, 8);
    rig.answer.end();
    const text = await rig.response!.text();
    // What has not begun is seen up to just before it.
    expect(text).toContain('event: watching\nid: 8\n');
    expect(text).toContain(': keep-alive\n\n');
    expect(text).toContain('event: progress\nid: 8\n');
    expect(text).toContain('event: failed\n');
    // It was the method that ended it.
    expect(rig.cancelled).toBe(0);
  });

  it('holds so much for a reader and no more, and cuts off who reads nothing, with the reason', async () => {
    const rig = new Rig({ stallMs: 30, cutMs: 30 });
    expect(rig.send({ created: true })).toBe(true);
    let taken = 0;
    while (rig.send({ events: [rig.event(6 + taken, 'k', 100_000)] })) taken++;
    expect(taken).toBeGreaterThan(5);
    expect(taken).toBeLessThan(12);
    await expect.poll(() => rig.cuts).toBe(1);
    expect(rig.cancelled).toBe(1);
    const lines = (await rig.response!.text()).trim().split('\n');
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({
      type: 'failed',
      error: expect.stringContaining('nothing was read'),
    });
    expect(lines.length).toBe(taken + 3);
  });

  it('a reader that comes when it has been told sees the reason, and its connection stays', async () => {
    const rig = new Rig({ stallMs: 30, cutMs: 300 });
    rig.send({ created: true });
    while (rig.send({ events: [rig.event(6, 'k', 300_000)] }));
    await expect.poll(() => rig.over).toBe(1);
    expect((await rig.response!.text()).trim().split('\n').at(-1)).toContain('nothing was read');
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(rig.cuts).toBe(0);
  });

  it('a reader that comes back in time is not cut off', async () => {
    const rig = new Rig({ stallMs: 200 });
    rig.send({ created: true });
    while (rig.send({ events: [rig.event(6, 'k', 300_000)] }));
    let drained = 0;
    rig.answer.onDrain = () => drained++;
    const reader = rig.response!.body!.getReader();
    for (let i = 0; i < 4; i++) await reader.read();
    await expect.poll(() => drained).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect([rig.cuts, rig.over]).toEqual([0, 0]);
    await reader.cancel();
    expect([rig.cancelled, rig.over]).toEqual([1, 1]);
  });
});
