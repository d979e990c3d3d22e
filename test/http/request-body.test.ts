import { request } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { jsonBytesMax } from '../../server/http/gateway.ts';
import { DISCARDED_BYTES_MAX } from '../../server/http/request-body.ts';
import { TestMember } from '../auth/member.ts';

/** A body over the limit, from clients that write all of it before they look for an answer. */

let member: TestMember;
beforeAll(async () => {
  member = await TestMember.start('--max-request-bytes', '10000', '--enable-v2');
});
afterAll(() => member.stop());

const FORM = 'Content-Type: application/x-www-form-urlencoded';
const PIECE = Buffer.alloc(64 * 1024, 'x');

/** Writes piece by piece, for longer than a server waits that has given its answer; then reads. */
async function slowly(head: string[], chunked: boolean, bytes: number): Promise<string> {
  const { hostname, port } = new URL(member.url);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.pause();
  const failed = new Promise<never>((_, reject) => socket.once('error', reject));
  const written = (data: Buffer | string) =>
    Promise.race([failed, new Promise<void>((resolve) => socket.write(data, () => resolve()))]);
  const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${bytes}`;
  await written([...head, 'Host: a', 'Connection: close', framing, '', ''].join('\r\n'));
  for (let sent = 0; sent < bytes; sent += PIECE.length) {
    if (chunked) await written(`${PIECE.length.toString(16)}\r\n`);
    await written(PIECE);
    if (chunked) await written('\r\n');
    if (sent % (512 * 1024) === 0) await sleep(300);
  }
  if (chunked) await written('0\r\n\r\n');
  let text = '';
  socket.setEncoding('latin1').on('data', (data: string) => {
    text += data;
  });
  socket.resume();
  await Promise.race([failed, new Promise((resolve) => socket.once('end', resolve))]);
  socket.destroy();
  return text;
}

describe.each([
  ['with its length', false],
  ['in chunks', true],
])('a body over the limit, %s', (_, chunked) => {
  const bytes = 2 * 1024 * 1024;
  it('is refused in words when all of it was sent', async () => {
    expect(await slowly(['PUT /v2/keys/a HTTP/1.1', FORM], chunked, bytes)).toContain('http: POST too large');
    expect(await slowly(['POST /v3/kv/put HTTP/1.1'], chunked, bytes)).toMatch(
      /request body larger than max \(2097152 vs/,
    );
  });
});

describe('a body without end', () => {
  it('is refused when so much of it has come', async () => {
    const most = DISCARDED_BYTES_MAX + jsonBytesMax(10_000);
    const [status, connection] = await new Promise<unknown[]>((resolve, reject) => {
      const sent = request(`${member.url}/v3/kv/put`, { method: 'POST', agent: false }, (response) => {
        resolve([response.statusCode, response.headers.connection]);
        sent.destroy();
      });
      sent.once('error', reject);
      sent.write(Buffer.alloc(most + 1, 'x'));
    });
    expect([status, connection]).toEqual([429, 'close']);
  });
});
