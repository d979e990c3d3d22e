import { createServer, get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { WEB_SOCKET_DEFAULTS, type WebSocketLimits, WebSockets } from '../../server/http/web-socket.ts';
import { TestMember } from '../auth/member.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');

class Client {
  readonly messages: { result?: Record<string, unknown>; error?: object; code?: number; message?: string }[] = [];
  closed: { code: number; reason: string } | undefined;
  refused: number | undefined;
  readonly socket: WebSocket;
  readonly opened: Promise<void>;

  constructor(url: string, protocols: string[] = []) {
    this.socket = new WebSocket(url.replace(/^http/, 'ws'), protocols);
    this.opened = new Promise((resolve) => {
      this.socket.once('open', resolve);
      this.socket.once('unexpected-response', (_request, response) => {
        this.refused = response.statusCode;
        this.socket.terminate();
        resolve();
      });
    });
    this.socket.on('error', () => {});
    this.socket.on('message', (data: Buffer) => this.messages.push(JSON.parse(data.toString()) as object));
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
  }

  async send(...requests: unknown[]): Promise<this> {
    await this.opened;
    for (const request of requests) {
      this.socket.send(typeof request === 'string' ? request : JSON.stringify(request));
    }
    return this;
  }
}

describe('a member', () => {
  let member: TestMember;
  const clients: Client[] = [];
  beforeAll(async () => {
    member = await TestMember.start('--max-request-bytes', '10000');
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.socket.terminate();
  });
  afterAll(() => member.stop());

  const open = (path: string, protocols?: string[]) => {
    const client = new Client(`${member.url}${path}`, protocols);
    clients.push(client);
    return client;
  };
  const put = (key: string, value: string) =>
    fetch(`${member.url}/v3/kv/put`, {
      method: 'POST',
      body: JSON.stringify({ key: base64(key), value: base64(value) }),
    });

  it('serves a watch: a message for each request, a message for each answer', async () => {
    const client = open('/v3/watch');
    await client.send({ create_request: { key: base64('a'), watch_id: 1 } });
    await expect.poll(() => client.messages.length).toBe(1);
    await put('a', '1');
    await put('a', '2');
    await expect.poll(() => client.messages.length).toBe(3);
    await client.send({ progress_request: {} });
    await expect.poll(() => client.messages.length).toBe(4);
    await client.send({ cancel_request: { watch_id: '1' } });
    await expect.poll(() => client.messages.length).toBe(5);
    expect(client.messages).toMatchObject([
      { result: { created: true, watch_id: '1' } },
      { result: { events: [{ kv: { value: base64('1') } }] } },
      { result: { events: [{ kv: { value: base64('2') } }] } },
      { result: { watch_id: '-1' } },
      { result: { canceled: true } },
    ]);
    client.socket.close();
    const text = async () => (await fetch(`${member.url}/metrics`)).text();
    await expect.poll(async () => /^etcd_debugging_mvcc_watch_stream_total (\d+)$/m.exec(await text())?.[1]).toBe('0');
  });

  it('serves keep-alives, and unary calls, after which it closes', async () => {
    const keep = await open('/v3beta/lease/keepalive').send({ ID: '5' }, { ID: '6' });
    await expect.poll(() => keep.messages).toMatchObject([{ result: { ID: '5' } }, { result: { ID: '6' } }]);
    const range = await open('/v3/kv/range').send({ key: base64('zz') }, { key: base64('ignored') });
    await expect.poll(() => range.closed).toEqual({ code: 1000, reason: '' });
    expect(range.messages).toMatchObject([{ header: {} }]);
  });

  it('says what is wrong, and closes', async () => {
    const bad = await open('/v3/watch').send('[');
    await expect.poll(() => bad.closed?.code).toBe(1000);
    expect(bad.messages).toMatchObject([{ error: { code: 3 } }]);
    const none = await open('/v3/nothing').send({});
    await expect.poll(() => none.closed?.code).toBe(1000);
    expect(none.messages).toEqual([{ code: 5, message: 'Not Found' }]);
    const large = await open('/v3/kv/put').send({ key: base64('k'.repeat(2 * (10_000 + 512 * 1024))) });
    await expect.poll(() => large.closed?.code).toBe(1009);
  });

  it('is no door but of the gateway; another upgrade is not taken for one', async () => {
    for (const path of ['/health', '/v3x/watch', '/nothing']) {
      const client = open(path);
      await client.opened;
      expect(client.refused, path).toBe(path === '/health' ? 200 : 404);
    }
    const headers = { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABk' };
    const status = await new Promise((resolve, reject) => {
      get(`${member.url}/health`, { headers }, (response) => resolve(response.resume().statusCode)).on('error', reject);
    });
    expect(status).toBe(200);
  });

  it('takes the token from the list of protocols, where a browser can put it, and from no cookie', async () => {
    const root = { name: 'root', password: 'secret' };
    const auth = '/etcdserverpb.Auth/';
    const own = await TestMember.start();
    try {
      await own.ok(`${auth}UserAdd`, root);
      await own.ok(`${auth}RoleAdd`, { name: 'root' });
      await own.ok(`${auth}UserGrantRole`, { user: 'root', role: 'root' });
      await own.ok(`${auth}AuthEnable`);
      const token = await own.login('root', 'secret');
      const answer = async (protocols: string[], headers: Record<string, string> = {}) => {
        const socket = new WebSocket(`${own.url.replace('http', 'ws')}/v3/kv/range`, protocols, { headers });
        const message = new Promise<string>((resolve) => socket.once('message', (data: Buffer) => resolve(`${data}`)));
        await new Promise((resolve) => socket.once('open', resolve));
        socket.send(JSON.stringify({ key: base64('a') }));
        const { protocol } = socket;
        return [protocol, JSON.parse(await message) as object];
      };
      const granted = ['Bearer', { header: expect.anything() }];
      expect(await answer(['Bearer', token])).toEqual(granted);
      const noUser = { code: 3, message: 'etcdserver: user name is empty' };
      expect(await answer([])).toEqual(['', noUser]);
      expect(await answer([], { Cookie: `token=${token}` })).toEqual(['', noUser]);
      expect(await answer(['Bearer', 'nonsense'])).toMatchObject(['Bearer', { code: 16 }]);
    } finally {
      await own.stop();
    }
  });

  it('says goodbye when it stops', async () => {
    const own = await TestMember.start();
    const client = new Client(`${own.url}/v3/watch`);
    await client.send({ create_request: { key: base64('a') } });
    await expect.poll(() => client.messages.length).toBe(1);
    await own.stop();
    await expect.poll(() => client.closed).toBeDefined();
    expect([1000, 1001]).toContain(client.closed!.code);
  });
});

describe('limits', () => {
  let server: Server;
  let sockets: WebSockets;
  const bugs: unknown[] = [];
  const clients: Client[] = [];
  afterEach(async () => {
    for (const client of clients.splice(0)) client.socket.terminate();
    await sockets.close();
    await new Promise((resolve) => server.close(resolve));
    expect(bugs.splice(0)).toEqual([]);
  });

  type Fetch = (request: Request) => Response | Promise<Response>;
  async function serve(fetch: Fetch, limits: Partial<WebSocketLimits>): Promise<() => Client> {
    server = createServer();
    const onRequest = () => {};
    sockets = new WebSockets({ fetch, onRequest, limits, onBug: (error) => bugs.push(error) });
    server.on('upgrade', (request, socket, head) => sockets.upgrade(request, socket, head));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return () => {
      const client = new Client(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v3/x`);
      clients.push(client);
      return client;
    };
  }
  /** Answers nothing until its caller goes. */
  const silent: Fetch = ({ signal }) =>
    new Promise((resolve) => signal.addEventListener('abort', () => resolve(new Response(null))));

  it('one socket more than there may be is refused; when one goes there is room again', async () => {
    const open = await serve(silent, { socketsMax: 2 });
    const [first, second] = [open(), open()];
    await Promise.all([first.opened, second.opened]);
    await expect.poll(() => sockets.size).toBe(2);
    const third = open();
    await third.opened;
    expect(third.refused).toBe(503);
    first.socket.close();
    await expect.poll(() => sockets.size).toBe(1);
    const fourth = open();
    await fourth.opened;
    expect(fourth.refused).toBeUndefined();
  });

  it('a message of the limit is taken, one byte more closes', async () => {
    const open = await serve(
      async (request) => {
        const { value } = await request.body!.getReader().read();
        return new Response(JSON.stringify({ result: { bytes: value?.length } }));
      },
      { messageBytesMax: 100 },
    );
    const fits = await open().send('x'.repeat(100));
    await expect.poll(() => fits.messages).toEqual([{ result: { bytes: 101 } }]);
    const more = await open().send('x'.repeat(101));
    await expect.poll(() => more.closed?.code).toBe(1009);
  });

  it('requests wait in the socket while the gateway is busy, and come in order', async () => {
    let release!: () => void;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const seen: string[] = [];
    const open = await serve(
      async (request) => {
        await released;
        for await (const part of request.body! as unknown as AsyncIterable<Uint8Array>) {
          seen.push(Buffer.from(part).toString().trim());
          if (seen.length === 2000) break;
        }
        return new Response('{}');
      },
      { requestBytesMax: 1000 },
    );
    const client = await open().send(...Array.from({ length: 2000 }, (_, i) => `${i}-${'x'.repeat(1000)}`));
    release();
    await expect.poll(() => client.closed?.code).toBe(1000);
    expect(seen.map((text) => Number.parseInt(text, 10))).toEqual(Array.from({ length: 2000 }, (_, i) => i));
  });

  it('a client that does not read holds back what is sent', async () => {
    let made = 0;
    const line = Buffer.from(`${JSON.stringify({ result: { text: 'x'.repeat(10_000) } })}\n`);
    const TOTAL = 5000;
    const open = await serve(
      () =>
        new Response(
          new ReadableStream<Uint8Array>({
            pull(controller) {
              if (made++ < TOTAL) controller.enqueue(line);
              else controller.close();
            },
          }),
        ),
      { answerBytesMax: 100_000 },
    );
    const client = open();
    await client.opened;
    client.socket.pause();
    // What fits into the buffers of the system goes, and no more: then it stands still.
    let before = -1;
    await expect
      .poll(
        () => {
          const stands = made === before;
          before = made;
          return stands;
        },
        { interval: 500, timeout: 30_000 },
      )
      .toBe(true);
    expect(made).toBeLessThan(TOTAL);
    client.socket.resume();
    await expect.poll(() => client.messages.length, { timeout: 30_000 }).toBe(TOTAL);
  });

  it('a client that is gone without a word is given up', async () => {
    const open = await serve(silent, { pingIntervalMs: 50 });
    const lives = open();
    const dead = open();
    await Promise.all([lives.opened, dead.opened]);
    dead.socket.pause();
    await expect.poll(() => sockets.size).toBe(1);
    expect(lives.closed).toBeUndefined();
  });

  it('on close the client hears why; who does not answer is cut off', async () => {
    const open = await serve(silent, { closeGraceMs: 100 });
    const polite = open();
    const rude = open();
    await Promise.all([polite.opened, rude.opened]);
    rude.socket.pause();
    await sockets.close();
    await expect.poll(() => sockets.size).toBe(0);
    await expect.poll(() => polite.closed).toEqual({ code: 1001, reason: 'server is shutting down' });
    const late = open();
    await late.opened;
    expect(late.refused).toBe(503);
  });

  it('a failure of the gateway closes with 1011', async () => {
    const open = await serve(() => Promise.reject(new Error('bug')), {});
    const client = open();
    await expect.poll(() => client.closed?.code).toBe(1011);
    expect(bugs.splice(0)).toMatchObject([{ message: 'bug' }]);
  });

  it('are there by default', () => {
    for (const limit of Object.values(WEB_SOCKET_DEFAULTS)) expect(limit).toBeGreaterThan(0);
  });
});
