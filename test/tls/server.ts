/** A member in this process with an https:// client listener, what it logs, and ways to connect to it. */
import { request } from 'node:https';
import { Writable } from 'node:stream';
import { type ConnectionOptions, connect } from 'node:tls';
import pino from 'pino';
import { readServeFlags } from '../../server/config/serve-flags.ts';
import { startServer } from '../../server/serve.ts';

export type Line = Record<string, unknown> & { msg: string };

export function recordingLog() {
  const lines: Line[] = [];
  const stream = new Writable({
    write: (line: Buffer, _encoding, done) => {
      lines.push(JSON.parse(line.toString()));
      done();
    },
  });
  return { lines, log: pino({ base: null, level: 'debug' }, stream) };
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

export async function startTlsServer(dataDir: string, args: readonly string[]) {
  const { lines, log } = recordingLog();
  const urls = ['--listen-client-urls', 'https://127.0.0.1:0', '--advertise-client-urls', 'https://127.0.0.1:0'];
  const flags = readServeFlags(
    ['--data-dir', dataDir, '--listen-peer-urls', 'http://127.0.0.1:0', ...urls, ...args],
    {},
  );
  const server = await startServer(flags, log);
  const port = Number(new URL(server.clientUrls[0]!).port);
  return { lines, port, stop: () => server.stop() };
}

/** The status of one request on a connection of its own; rejects when there is none. */
export function get(port: number, options: ConnectionOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const wanted = request({ host: '127.0.0.1', port, path: '/version', agent: false, ...options }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode!));
    });
    wanted.on('error', reject);
    wanted.end();
  });
}

/** What came until the end of a connection, and whether Node took the other side for a TLS server at all. */
export function handshake(
  port: number,
  options: ConnectionOptions,
): Promise<{ error: string; bytes: number; reused: boolean }> {
  return new Promise((resolve) => {
    let [error, bytes, reused] = ['', 0, false];
    const socket = connect({ host: '127.0.0.1', port, ...options }, () => {
      reused = socket.isSessionReused();
      socket.write('GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    });
    socket.on('data', (data) => {
      bytes += data.length;
    });
    socket.on('error', (failure: NodeJS.ErrnoException) => {
      error = failure.code ?? failure.message;
    });
    socket.on('close', () => resolve({ error, bytes, reused }));
  });
}
