import { connect } from 'node:http2';
import { request } from 'node:https';
import { expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { certificateFiles } from '../auth/certificate-files.ts';
import { TestMember } from '../auth/member.ts';
import { pem } from '../peer-transport/certificates.ts';
import { send } from './door.ts';

/** The same keys over TLS, in HTTP/1.1, HTTP/2 and WebSockets, for the user that a certificate names. */

const AUTH = '/etcdserverpb.Auth/';

interface Answer {
  status: number;
  text: string;
}

function overHttp1(url: string, path: string, tls: object): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const asked = request({ hostname, port, path, agent: false, ...tls }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve({ status: response.statusCode!, text }));
    });
    asked.on('error', reject).end();
  });
}

/** With `until`, the stream is left as soon as so many lines have come. */
function overHttp2(
  url: string,
  path: string,
  tls: object,
  until = Number.POSITIVE_INFINITY,
  body?: string,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const session = connect(url, tls);
    session.on('error', reject);
    const stream = session.request({ ':path': path, ':method': body === undefined ? 'GET' : 'PUT' });
    let [status, text] = [0, ''];
    const end = () => {
      resolve({ status, text });
      session.destroy();
    };
    stream.on('response', (headers) => {
      status = headers[':status']!;
    });
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part;
      if (text.split('\n').length > until) end();
    });
    stream.on('end', end).on('error', reject);
    stream.end(body);
  });
}

it('a certificate names the user, over every protocol; a token goes before it; a foreign page has neither', async () => {
  const files = await certificateFiles();
  const plain = await TestMember.start();
  let member = plain;
  try {
    for (const key of ['secret', 'a/../b']) {
      await send(plain.url, `/kv/${key}`, { method: 'PUT', body: key });
    }
    await plain.ok(`${AUTH}UserAdd`, { name: 'root', password: 'p' });
    await plain.ok(`${AUTH}RoleAdd`, { name: 'root' });
    await plain.ok(`${AUTH}UserGrantRole`, { user: 'root', role: 'root' });
    await plain.ok(`${AUTH}UserAdd`, { name: 'guest', options: { no_password: true } });
    await plain.ok(`${AUTH}UserGrantRole`, { user: 'guest', role: 'root' });
    await plain.ok(`${AUTH}AuthEnable`);
    await plain.pause();
    member = new TestMember(plain.folder, [...files.flags]);
    await member.start('https');
    const { url } = member;
    const guest = { ca: pem.ca, ...pem.guest };
    const stranger = { ca: pem.ca, ...pem.member };
    for (const over of [overHttp1, overHttp2]) {
      expect(await over(url, '/kv/secret', guest)).toEqual({ status: 200, text: 'secret' });
      expect((await over(url, '/kv/secret', stranger)).status).toBe(403);
      expect(await over(url, '/kv/?count', guest)).toMatchObject({ text: '{"count":2,"revision":3}\n' });
      // As it was sent: no step in a path.
      expect((await over(url, '/kv/a/../b', guest)).text).toBe('a/../b');
    }
    expect((await overHttp2(url, '/kv/put', guest, undefined, 'x'.repeat(100_000))).status).toBe(200);
    expect((await overHttp2(url, '/kv/put', guest)).text).toHaveLength(100_000);
    const watch = await overHttp2(url, '/kv/secret?watch&rev=1', guest, 2);
    expect(watch.text.split('\n')[1]).toContain('"value":"secret"');

    const first = (tls: object, headers: Record<string, string> = {}) =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(`${url.replace('https', 'wss')}/kv/secret?watch`, { ...tls, headers });
        socket.once('message', (data: Buffer) => {
          const { type, code } = JSON.parse(data.toString()) as { type?: string; code?: string };
          resolve(type ?? code);
          socket.terminate();
        });
        socket.on('error', reject);
      });
    expect(await first(guest)).toBe('watching');
    expect(await first(guest, { Origin: url })).toBe('watching');
    expect(await first(guest, { Origin: 'https://page.test' })).toBe('UserEmpty');
    const basic = { Authorization: `Basic ${Buffer.from('root:p').toString('base64')}` };
    expect(await first(stranger, basic)).toBe('watching');
  } finally {
    await member.stop();
    await files.remove();
  }
});
