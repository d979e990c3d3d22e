import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { parseFlags, UsageError } from '../../server/config/flag-table.ts';
import { createLogger } from '../../server/config/log.ts';
import { startGateway } from '../../server/tcp-gateway/command.ts';
import { gatewayFlags } from '../../server/tcp-gateway/flags.ts';
import type { Gateway } from '../../server/tcp-gateway/gateway.ts';
import { Remotes } from '../../server/tcp-gateway/remotes.ts';
import { startDns } from '../support/dns.ts';
import { freePort } from '../support/ports.ts';
import { Authority, hasOpenssl, TlsFolder } from '../tls/authority.ts';

const log = createLogger({ level: 'fatal', format: 'json' });
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

async function listening(server: Server, port = 0): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  undo.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Says its name to everyone and hangs up. */
const namer = (name: string) => createServer((socket) => void socket.end(name));

async function gateway(...args: string[]): Promise<Gateway & { readonly port: number }> {
  const { values } = parseFlags(gatewayFlags, ['--listen-addr', '127.0.0.1:0', ...args], {});
  const started = await startGateway(values, log);
  undo.push(() => started.close());
  return started;
}

const endpoints = (...ports: number[]) => ports.map((port) => `127.0.0.1:${port}`).join(',');

/** All that is said on a new connection; undefined when it was cut before anything was. */
async function heard(port: number): Promise<string | undefined> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(socket, 'close');
  return text === '' ? undefined : text;
}

/** The same over TLS, whatever the certificate. */
async function heardOverTls(port: number): Promise<string> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
  socket.on('error', () => {});
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(socket, 'close');
  return text;
}

describe('where connections go', () => {
  it('takes the endpoints in turn', async () => {
    const ports = await Promise.all(['a', 'b', 'c'].map((name) => listening(namer(name))));
    const { port } = await gateway('--endpoints', endpoints(...ports));
    const names: (string | undefined)[] = [];
    for (let i = 0; i < 6; i++) names.push(await heard(port));
    expect(names.slice(0, 3).sort()).toEqual(['a', 'b', 'c']);
    expect(names.slice(3)).toEqual(names.slice(0, 3));
  });

  it('passes over those that cannot be reached, and finds them again', async () => {
    const dead = await freePort();
    const alive = await listening(namer('alive'));
    const { port } = await gateway('--endpoints', endpoints(dead, alive), '--retry-delay', '50ms');
    for (let i = 0; i < 4; i++) expect(await heard(port)).toBe('alive');
    await listening(namer('back'), dead);
    await expect.poll(() => heard(port), { timeout: 20_000 }).toBe('back');
  });

  it('closes the connection when none can be reached, and tries again for the next', async () => {
    const dead = await freePort();
    const { port } = await gateway('--endpoints', endpoints(dead), '--retry-delay', '1h');
    expect(await heard(port)).toBeUndefined();
    await listening(namer('back'), dead);
    // Not an hour later.
    expect(await heard(port)).toBe('back');
  });

  it('shares by weight within the lowest priority', () => {
    const at = (host: string, priority: number, weight: number) => ({ host, port: 1, priority, weight });
    const remotes = new Remotes([at('a', 1, 3), at('b', 1, 1), at('c', 1, 0), at('d', 2, 9)], undefined, () => {});
    const count = (times: number) => {
      const counts: Record<string, number> = {};
      for (let i = 0; i < times; i++) {
        const { host } = remotes.next(new Set())!;
        counts[host] = (counts[host] ?? 0) + 1;
      }
      return counts;
    };
    expect(count(401)).toEqual({ a: 300, b: 100, c: 1 });
    for (const remote of remotes.all.slice(0, 3)) remotes.heard(remote, new Error('down'));
    expect(count(3)).toEqual({ d: 3 });
  });

  it('does not go round through itself', async () => {
    const port = await freePort();
    const start = (listen: string, ...others: string[]) => gateway('--listen-addr', listen, '--endpoints', ...others);
    await expect(start(`127.0.0.1:${port}`, `localhost:${port}`)).rejects.toThrow(UsageError);
    await expect(start(`127.0.0.1:${port}`, `http://127.0.0.1:${port}`)).rejects.toThrow('where the gateway itself');
    await expect(start(`:${port}`, `127.0.0.1:${port}`)).rejects.toThrow('where the gateway itself listens');
  });
});

describe('what goes through', () => {
  it('keeps the ends of both directions apart', async () => {
    const upstream = createServer({ allowHalfOpen: true }, (socket) => {
      let text = '';
      socket.on('data', (chunk) => {
        text += String(chunk);
      });
      // The answer begins when the question has ended.
      socket.on('end', () => setTimeout(() => socket.end(`answer to ${text}`), 20));
    });
    const { port } = await gateway('--endpoints', endpoints(await listening(upstream)));
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.end('question');
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    expect(text).toBe('answer to question');
  });

  it('is no faster than it is read', async () => {
    const chunk = randomBytes(64 * 1024);
    const chunks = 1024;
    let taken = 0;
    const upstream = createServer((socket) => {
      const source = new Readable({
        read() {
          this.push(taken++ < chunks ? chunk : null);
        },
      });
      source.pipe(socket);
    });
    const { port } = await gateway('--endpoints', endpoints(await listening(upstream)));
    const socket = connect({ port, host: '127.0.0.1' });
    socket.pause();
    // Until nothing moves any more.
    let before = -1;
    const still = () => {
      const same = taken > 0 && taken === before;
      before = taken;
      return same;
    };
    await expect.poll(still, { interval: 500, timeout: 20_000 }).toBe(true);
    expect(taken).toBeLessThan(chunks / 2);
    let bytes = 0;
    for await (const part of socket) bytes += (part as Buffer).length;
    expect(bytes).toBe(chunks * chunk.length);
  });

  it.each(['client', 'server'] as const)('is cut on both sides when the %s cuts it', async (who) => {
    const sockets: Socket[] = [];
    const upstream = createServer((socket) => {
      sockets.push(socket);
      socket.write('hello');
    });
    const started = await gateway('--endpoints', endpoints(await listening(upstream)));
    const client = connect(started.port, '127.0.0.1');
    client.on('error', () => {});
    await once(client, 'data');
    const [cut, other] = who === 'client' ? [client, sockets[0]!] : [sockets[0]!, client];
    const closed = once(other, 'close').catch((error: NodeJS.ErrnoException) => [error.code]);
    other.resume();
    cut.resetAndDestroy();
    await closed;
    await expect.poll(() => started.sockets).toBe(0);
  });

  it('is limited to so many connections; one more is closed', async () => {
    const upstream = createServer((socket) => void socket.write('hello'));
    const started = await gateway('--endpoints', endpoints(await listening(upstream)), '--max-connections', '2');
    const clients = [1, 2].map(() => connect(started.port, '127.0.0.1'));
    await Promise.all(clients.map((client) => once(client, 'data')));
    expect(await heard(started.port)).toBeUndefined();
    clients[0]!.destroy();
    await expect.poll(() => started.sockets).toBe(2);
    const another = connect(started.port, '127.0.0.1');
    await once(another, 'data');
    for (const client of [...clients, another]) client.destroy();
  });
});

describe('endpoints by SRV records', () => {
  it('are used when they may be', async () => {
    const dns = await startDns();
    undo.push(() => dns.stop());
    const port = await listening(namer('found'));
    dns.srv.set('_etcd-client-x._tcp.example.org', [{ host: '127.0.0.1', port }]);
    const flags = [
      '--discovery-srv',
      'example.org',
      '--discovery-srv-name',
      'x',
      '--discovery-dns-servers',
      dns.address,
    ];
    await expect(gateway(...flags)).rejects.toThrow('which cannot be verified');
    const started = await gateway(...flags, '--insecure-discovery');
    expect(await heard(started.port)).toBe('found');
  });
});

describe.skipIf(!hasOpenssl)('endpoints that must prove who they are', () => {
  it('are used when their certificate is good, and not before', async () => {
    const folder = new TlsFolder();
    const [good, bad] = [new Authority('good'), new Authority('bad')];
    undo.push(() => {
      for (const made of [folder, good, bad]) made.remove();
    });
    const server = (authority: Authority, names: string, text: string) => {
      const { cert, key } = authority.issue('member', { names });
      return listening(createTlsServer({ cert, key }, (socket) => void socket.end(text)));
    };
    const trusted = await server(good, 'IP:127.0.0.1', 'trusted');
    const foreign = await server(bad, 'IP:127.0.0.1', 'foreign');
    const elsewhere = await server(good, 'IP:127.0.0.2', 'elsewhere');
    const plain = await listening(namer('plain'));
    const ca = ['--trusted-ca-file', folder.write('ca.pem', good.cert), '--retry-delay', '50ms'];
    const { port } = await gateway('--endpoints', endpoints(foreign, plain, elsewhere, trusted), ...ca);
    for (let i = 0; i < 4; i++) expect(await heardOverTls(port)).toBe('trusted');
    const later = await freePort();
    const none = await gateway('--endpoints', endpoints(foreign, plain, later), ...ca);
    expect(await heard(none.port)).toBeUndefined();
    const { cert, key } = good.issue('member', { names: 'IP:127.0.0.1' });
    await listening(
      createTlsServer({ cert, key }, (socket) => void socket.end('late')),
      later,
    );
    await expect.poll(() => heardOverTls(none.port), { timeout: 20_000 }).toBe('late');
  });
});
