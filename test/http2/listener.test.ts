import { createServer, type Server } from 'node:http';
import http2 from 'node:http2';
import { connect, type Socket } from 'node:net';
import tls from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ConnectionEnd } from '../../server/http2/connection.ts';
import { Setting } from '../../server/http2/frames.ts';
import { createListener, type Listener, type ListenerOptions } from '../../server/http2/listener.ts';
import type { Http2Stream } from '../../server/http2/stream.ts';
import { Tls } from '../../server/tls/tls.ts';
import { CERTIFICATE, PRIVATE_KEY } from './certificate.ts';
import { answerOk, headers, record, settings, windowUpdate } from './support.ts';

const HOST = '127.0.0.1';
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const TLS = new Tls({}, { own: { cert: CERTIFICATE, key: PRIVATE_KEY } });

let web: Server;
const open: { close(): unknown }[] = [];

beforeEach(() => {
  web = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => response.end(`${request.method} ${request.url} ${body}`));
  });
});

afterEach(async () => {
  web.closeAllConnections();
  await Promise.all(open.splice(0).map((one) => one.close()));
});

async function listen(options: Partial<ListenerOptions> = {}): Promise<{ listener: Listener; port: number }> {
  const listener = createListener({
    http2: { onStream: answerOk },
    onHttp1: (socket) => web.emit('connection', socket),
    ...options,
    limits: { closeGraceMs: 200, ...options.limits },
  });
  open.push(listener);
  const { port } = await listener.listen(0, HOST);
  return { listener, port };
}

function socketTo(port: number): { socket: Socket; text: () => string; closed: Promise<void> } {
  const socket = connect(port, HOST);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('error', () => {});
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return { socket, text: () => Buffer.concat(chunks).toString('latin1'), closed };
}

const until = async (done: () => boolean): Promise<void> => {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 2));
};
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function get(url: string, options: http2.SecureClientSessionOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const session = http2.connect(url, options);
    session.on('error', reject);
    const request = session.request({ ':path': '/' });
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      session.close();
      resolve(body);
    });
    request.on('error', reject);
  });
}

describe('one port', () => {
  it('HTTP/2 and HTTP/1.1 in cleartext', async () => {
    const { port } = await listen();
    expect(await get(`http://${HOST}:${port}`)).toBe('ok');
    expect(await (await fetch(`http://${HOST}:${port}/a?b`)).text()).toBe('GET /a?b ');
    const posted = await fetch(`http://${HOST}:${port}/p`, { method: 'POST', body: 'body' });
    expect(await posted.text()).toBe('POST /p body');
  });

  it('first bytes that come one by one', async () => {
    const { port } = await listen();
    for (const [request, answer] of [
      [Buffer.concat([PREFACE, settings([]), headers(1)]), 'ok'],
      [Buffer.from('PROPFIND /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), 'PROPFIND /x '],
      [Buffer.from('GET /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), 'GET /y '],
    ] as const) {
      const { socket, text } = socketTo(port);
      socket.setNoDelay(true);
      for (const byte of request) {
        socket.write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      await until(() => text().includes(answer));
      socket.destroy();
    }
  });

  it('keeps HTTP/1.1 connections alive and pipelined', async () => {
    const { port } = await listen();
    const { socket, text } = socketTo(port);
    socket.write('GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => text().includes('GET /2'));
    socket.write('GET /3 HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => text().includes('GET /3'));
    socket.destroy();
  });

  it('TLS: ALPN decides, and without it the first bytes', async () => {
    const { port } = await listen({ tls: TLS });
    const ca = { ca: CERTIFICATE };
    expect(await get(`https://localhost:${port}`, { ...ca, createConnection: () => secure(port, ['h2']) })).toBe('ok');
    for (const protocols of [['http/1.1'], undefined]) {
      const socket = secure(port, protocols);
      socket.write('GET /secure HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
      expect(await textOf(socket)).toContain('GET /secure');
    }
    const plain = secure(port, undefined);
    plain.write(Buffer.concat([PREFACE, settings([]), headers(1)]));
    await new Promise<void>((resolve) => {
      let text = '';
      plain.on('data', (chunk) => {
        text += chunk.toString('latin1');
        if (text.includes('ok')) resolve();
      });
    });
    plain.destroy();
  });

  function secure(port: number, protocols: string[] | undefined): tls.TLSSocket {
    const alpn = protocols === undefined ? {} : { ALPNProtocols: protocols };
    return tls.connect({ port, host: HOST, servername: 'localhost', ca: CERTIFICATE, ...alpn });
  }

  function textOf(socket: Socket): Promise<string> {
    return new Promise((resolve) => {
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk.toString('latin1');
      });
      socket.on('close', () => resolve(text));
    });
  }

  it.each([false, true])('counts the bytes of open and closed sockets (TLS: %s)', async (secure) => {
    const { listener, port } = await listen(secure ? { tls: TLS } : {});
    const options = { port, host: HOST, servername: 'localhost', ca: CERTIFICATE };
    const socket = secure ? tls.connect(options) : connect(options);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    const request = `GET /${'x'.repeat(1000)} HTTP/1.1\r\nHost: a\r\n\r\n`;
    socket.write(request);
    const isHere = () => Buffer.concat(chunks).toString('latin1').includes('x'.repeat(1000));
    await until(isHere);
    const whileOpen = listener.bytes;
    expect(whileOpen.received).toBeGreaterThanOrEqual(request.length);
    expect(whileOpen.sent).toBeGreaterThanOrEqual(1000);
    socket.end();
    await until(() => listener.connections === 0);
    expect(listener.bytes.received).toBeGreaterThanOrEqual(whileOpen.received);
    expect(listener.bytes.sent).toBeGreaterThanOrEqual(whileOpen.sent);
  });

  it('tells why a connection ended', async () => {
    const ends: ConnectionEnd[] = [];
    const { port } = await listen({ onEnd: (_remote, end) => ends.push(end) });
    const { socket } = socketTo(port);
    socket.write(Buffer.concat([PREFACE, Buffer.from('000000010000000000', 'hex')]));
    await until(() => ends.length === 1);
    expect(ends[0]).toEqual({ code: 1, text: 'the first frame is not SETTINGS' });
    socket.destroy();
  });
});

describe('a client that reads late', () => {
  it.each([false, true])(
    'gets every byte as it was written, although buffers are used again (lent: %s)',
    async (lent) => {
      const streams: Http2Stream[] = [];
      const { port } = await listen({
        http2: {
          onStream: (stream) => {
            record(stream);
            streams.push(stream);
          },
        },
      });
      const { socket, text } = socketTo(port);
      socket.pause();
      const wide: [number, number][] = [[Setting.INITIAL_WINDOW_SIZE, 2 ** 31 - 1]];
      socket.write(Buffer.concat([PREFACE, settings(wide), windowUpdate(0, 2 ** 30), headers(1)]));
      await until(() => streams.length === 1);
      const stream = streams[0]!;
      stream.sendHeaders([[':status', '200']]);
      // Far more than the system's buffers hold, in writes of their own, small enough to be copied.
      const count = 20_000;
      const memory = Buffer.alloc(1_000);
      for (let i = 0; i < count; i++) {
        memory.write(`<${i}>`.padEnd(memory.length, '.'));
        if (lent) stream.sendLent(memory);
        else stream.sendData(Buffer.from(memory));
        if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      expect(stream.queuedBytes).toBeGreaterThan(0);
      stream.sendData(Buffer.from('THE END'), true);
      socket.resume();
      await until(() => text().includes('THE END'));
      const numbers = [...text().matchAll(/<(\d+)>/g)].map((match) => Number(match[1]));
      expect(numbers).toEqual(Array.from({ length: count }, (_, i) => i));
      socket.destroy();
    },
  );
});

describe('limits', () => {
  it('a connection that says nothing, or not enough, is closed in time', async () => {
    const { port, listener } = await listen({ limits: { firstBytesTimeoutMs: 30 } });
    const silent = socketTo(port);
    const slow = socketTo(port);
    slow.socket.write('PRI * HT');
    await Promise.all([silent.closed, slow.closed]);
    await until(() => listener.connections === 0);
  });

  it('a connection that has told its protocol is not', async () => {
    const { port } = await listen({ limits: { firstBytesTimeoutMs: 30 } });
    const { socket, text } = socketTo(port);
    socket.write('GET /1 HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => text().includes('GET /1'));
    await pause(60);
    socket.write('GET /2 HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => text().includes('GET /2'));
    socket.destroy();
  });

  it('a TLS handshake that does not end is closed in time', async () => {
    const { port } = await listen({ tls: TLS, limits: { tlsHandshakeTimeoutMs: 30 } });
    const silent = socketTo(port);
    const garbage = socketTo(port);
    garbage.socket.write('GET / HTTP/1.1\r\n\r\n');
    await Promise.all([silent.closed, garbage.closed]);
  });

  it('one connection more than the limit is closed at once; a free place is taken again', async () => {
    const { port, listener } = await listen({ limits: { connectionsMax: 2 } });
    const first = socketTo(port);
    const second = socketTo(port);
    await until(() => listener.connections === 2);
    const third = socketTo(port);
    await third.closed;
    first.socket.destroy();
    await until(() => listener.connections === 1);
    expect(await get(`http://${HOST}:${port}`)).toBe('ok');
    second.socket.destroy();
  });

  it('a client that resets the connection while it is sniffed harms nobody', async () => {
    const { port, listener } = await listen();
    const { socket } = socketTo(port);
    await until(() => listener.connections === 1);
    socket.resetAndDestroy();
    await until(() => listener.connections === 0);
    expect(await get(`http://${HOST}:${port}`)).toBe('ok');
  });
});

describe('listen and close', () => {
  it('rejects when the port is taken', async () => {
    const { port } = await listen();
    await expect(createListenerOn(port)).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  function createListenerOn(port: number): Promise<unknown> {
    return createListener({ http2: { onStream: answerOk }, onHttp1: () => {} }).listen(port, HOST);
  }

  it('close lets open requests finish, and takes no new connection', async () => {
    const streams: Http2Stream[] = [];
    const { port, listener } = await listen({
      limits: { closeGraceMs: 20_000 },
      http2: {
        onStream: (stream) => {
          record(stream);
          streams.push(stream);
        },
      },
    });
    const answer = get(`http://${HOST}:${port}`);
    await until(() => streams.length === 1);
    const closed = listener.close();
    await pause(30);
    await expect(fetch(`http://${HOST}:${port}`)).rejects.toThrow();
    streams[0]!.sendHeaders([[':status', '200']]);
    streams[0]!.sendData(Buffer.from('late but whole'), true);
    expect(await answer).toBe('late but whole');
    await closed;
    expect(listener.connections).toBe(0);
  });

  it('close does not wait longer than the grace time', async () => {
    const reasons: string[] = [];
    const { port, listener } = await listen({
      limits: { closeGraceMs: 50 },
      http2: { onStream: (stream) => void record(stream, { close: (reason) => reasons.push(reason.by) }) },
    });
    const answer = get(`http://${HOST}:${port}`).catch(() => '');
    const half = socketTo(port);
    await until(() => listener.connections === 2);
    await listener.close();
    await half.closed;
    expect(await answer).toBe(''); // nothing came
    expect(reasons).toEqual(['connection']);
    await listener.close(); // again is harmless
  });
});
