import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { sleep } from '../../../client/wait.ts';
import { Links } from './links.ts';
import { steadyPort } from './ports.ts';

/** The proxies between members, with this process as both members. */

let echo: Server;
let links: Links;
let port: number;
const sockets: Socket[] = [];

beforeEach(async () => {
  echo = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  const peerPort = await steadyPort();
  echo.listen(peerPort, '127.0.0.1');
  await once(echo, 'listening');
  links = new Links(() => new Map([['me', process.pid]]));
  port = await links.add('you', peerPort);
});
afterEach(() => {
  links.close();
  echo.close();
  for (const socket of sockets.splice(0)) socket.destroy();
});

async function dial(): Promise<{ socket: Socket; said: () => string; closed: Promise<unknown> }> {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, 'connect');
  return { socket, said: () => text, closed };
}

it('carries both ways', async () => {
  const { socket, said } = await dial();
  socket.write('hello');
  await expect.poll(said).toBe('hello');
});

it('stalls one direction, loses nothing, and tells nobody', async () => {
  const { socket, said } = await dial();
  socket.write('before ');
  await expect.poll(said).toBe('before ');
  links.set('you', 'me', { kind: 'stalled' });
  socket.write('meanwhile ');
  await sleep(50);
  expect(said()).toBe('before ');
  expect(socket.destroyed).toBe(false);
  // The way there is open: what came back was only held up.
  const heard = sockets[0] === socket ? sockets[1]! : sockets[0]!;
  expect(heard.bytesRead).toBe('before meanwhile '.length);
  links.restore('me', 'you');
  await expect.poll(said).toBe('before meanwhile ');
});

it('hides the end of a stream that is stalled', async () => {
  const { socket } = await dial();
  socket.write('x');
  await expect.poll(() => sockets.length).toBe(2);
  const other = sockets.find((one) => one !== socket)!;
  links.set('me', 'you', { kind: 'stalled' });
  socket.destroy();
  await sleep(50);
  expect(other.readableEnded || other.destroyed).toBe(false);
  links.restore('me', 'you');
  await expect.poll(() => other.destroyed).toBe(true);
});

it('cuts and refuses until restored', async () => {
  const { closed } = await dial();
  await sleep(20);
  links.cut('you', 'me');
  await closed;
  const refused = await dial();
  await refused.closed;
  links.restore('me', 'you');
  const { socket, said } = await dial();
  socket.write('again');
  await expect.poll(said).toBe('again');
});

it('slows', async () => {
  const { socket, said } = await dial();
  links.set('me', 'you', { kind: 'slow', delayMs: 100, bytesPerSecond: 1_000_000 });
  const started = performance.now();
  socket.write('slowly');
  await expect.poll(said).toBe('slowly');
  expect(performance.now() - started).toBeGreaterThanOrEqual(99);
});

it('drops who is not a member', async () => {
  links.close();
  links = new Links(() => new Map());
  port = await links.add('you', (echo.address() as { port: number }).port);
  const { closed } = await dial();
  await closed;
});
