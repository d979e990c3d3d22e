import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type FetchHandler, serveFetch } from '../../server/http2/fetch.ts';
import { Flag, FrameType, Setting } from '../../server/http2/frames.ts';
import type { HeaderField } from '../../server/http2/header-list.ts';
import { createListener, type Listener } from '../../server/http2/listener.ts';
import { Client, data, destroyClients, headers, open, POST, REQUEST, rst, settle, windowUpdate } from './support.ts';

afterEach(destroyClients);

const BODY_BYTES_MAX = 1000;

async function serving(fetch: FetchHandler, settings: readonly (readonly [number, number])[] = []) {
  const errors: unknown[] = [];
  const client = new Client({
    onStream: (stream) => serveFetch(stream, fetch, { bodyBytesMax: BODY_BYTES_MAX }, (error) => errors.push(error)),
  });
  await client.greet(settings);
  return { client, errors };
}

/** Lets promises that take several turns settle. */
async function rest(): Promise<void> {
  for (let i = 0; i < 10; i++) await settle();
}

describe('serveFetch', () => {
  it('hands on method, URL, fields and body, and sends the response', async () => {
    const { client } = await serving(async (request) => {
      expect(request.method).toBe('PUT');
      expect(request.url).toBe('https://test/a%20b?c=d');
      expect(request.headers.get('x-one')).toBe('1, 2');
      expect(request.headers.get('cookie')).toBe('a=b; c=d');
      expect(request.headers.get('host')).toBe('test');
      expect(request.headers.get('__proto__')).toBe('p');
      expect(await request.text()).toBe('hello');
      return new Response('answer', {
        status: 201,
        headers: [
          ['set-cookie', 'a'],
          ['set-cookie', 'b'],
          ['connection', 'close'],
        ],
      });
    });
    const fields: HeaderField[] = [
      [':method', 'PUT'],
      [':scheme', 'https'],
      [':path', '/a%20b?c=d'],
      [':authority', 'test'],
      ['x-one', '1'],
      ['cookie', 'a=b'],
      ['x-one', '2'],
      ['cookie', 'c=d'],
      ['__proto__', 'p'],
    ];
    await client.send(open(1, fields), data(1, 'hel'), data(1, 'lo', true));
    await rest();
    const [list] = client.headers(1);
    expect(list!.get(':status')).toBe('201');
    expect(list!.get('connection')).toBeUndefined();
    expect(list!.fields.filter((_field, i, all) => all[i - 1] === 'set-cookie')).toEqual(['a', 'b']);
    expect(client.body(1).toString()).toBe('answer');
    expect(client.frames.at(-1)!.flags & Flag.END_STREAM).toBe(Flag.END_STREAM);
  });

  it('HEAD and empty bodies end with the header section', async () => {
    const { client } = await serving((request) => new Response(request.method === 'HEAD' ? 'unsent' : null));
    await client.send(headers(1, [[':method', 'HEAD'], ...REQUEST.slice(1)]), headers(3));
    await rest();
    expect(client.of(FrameType.DATA)).toHaveLength(0);
    expect(client.of(FrameType.HEADERS).map((one) => one.flags)).toEqual([5, 5]);
  });

  it('a body of the limit is taken, one byte more is 413, announced or not', async () => {
    let sizes: number[] = [];
    const { client, errors } = await serving(async (request) => {
      sizes.push((await request.arrayBuffer()).byteLength);
      return new Response('ok');
    });
    await client.send(open(1), data(1, Buffer.alloc(BODY_BYTES_MAX), true));
    await rest();
    expect(client.status(1)).toBe('200');
    expect(sizes).toEqual([BODY_BYTES_MAX]);
    sizes = [];
    await client.send(open(3), data(3, Buffer.alloc(BODY_BYTES_MAX)), data(3, 'x'), data(3, 'x', true));
    await client.send(open(5, [...POST, ['content-length', `${BODY_BYTES_MAX + 1}`]]));
    await rest();
    expect([client.status(3), client.status(5)]).toEqual(['413', '413']);
    expect(client.resets).toEqual(['3 NO_ERROR', '5 NO_ERROR']);
    expect(sizes).toEqual([]);
    expect(errors).toEqual([]);
  });

  it('a body that nobody reads holds its sender back', async () => {
    let read: (() => Promise<string>) | undefined;
    const { client } = await serving(
      (request) =>
        new Promise((resolve) => {
          read = async () => {
            const text = await request.text();
            resolve(new Response(`${text.length}`));
            return text;
          };
        }),
    );
    await client.send(open(1), data(1, Buffer.alloc(900)));
    await rest();
    const stream = client.streams[0]!;
    expect(() => stream.consumed(901)).toThrow();
    await client.send(data(1, '', true));
    expect((await read!()).length).toBe(900);
    await rest();
    expect(client.body(1).toString()).toBe('900');
  });

  it('a response goes no faster than the client reads', async () => {
    let pulled = 0;
    const { client } = await serving(
      () =>
        new Response(
          new ReadableStream({
            pull(controller) {
              pulled++;
              if (pulled > 100) controller.close();
              else controller.enqueue(new Uint8Array(10_000));
            },
          }),
        ),
      [[Setting.INITIAL_WINDOW_SIZE, 1_000]],
    );
    await client.send(headers(1));
    await rest();
    expect(pulled).toBeLessThan(12); // 64 KiB of queue, and one ahead
    for (let i = 0; i < 200 && !client.streams[0]!.closed; i++) {
      await client.send(windowUpdate(1, 100_000), windowUpdate(0, 100_000));
    }
    expect(client.body(1).length).toBe(1_000_000);
  });

  it('a client that goes aborts the request and cancels the response', async () => {
    let aborted = false;
    let cancelled = false;
    const { client, errors } = await serving((request) => {
      request.signal.addEventListener('abort', () => {
        aborted = true;
      });
      return new Response(
        new ReadableStream({
          pull: () => new Promise(() => {}),
          cancel: () => {
            cancelled = true;
          },
        }),
      );
    });
    await client.send(headers(1));
    await rest();
    await client.send(rst(1));
    await rest();
    expect([aborted, cancelled, errors]).toEqual([true, true, []]);
  });

  it('a handler that fails is 500, or a reset when the response has begun', async () => {
    const { client, errors } = await serving((request) => {
      if (request.url.endsWith('/early')) throw new Error('early');
      return new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(new Uint8Array(1)),
          pull: (controller) => controller.error(new Error('late')),
        }),
      );
    });
    await client.send(headers(1, [...REQUEST.slice(0, 2), [':path', '/early'], [':authority', 'test']]), headers(3));
    await rest();
    expect(client.status(1)).toBe('500');
    expect(client.resets).toEqual(['3 INTERNAL_ERROR']);
    expect(errors.map((error) => (error as Error).message).sort()).toEqual(['early', 'late']);
  });

  it('refuses what is no URL or no method for us', async () => {
    const { client } = await serving(() => new Response('ok'));
    const cases: [HeaderField[], string][] = [
      [
        [
          [':method', 'GET'],
          [':scheme', 'http'],
          [':path', 'no-slash'],
          [':authority', 'test'],
        ],
        '400',
      ],
      [
        [
          [':method', 'GET'],
          [':scheme', 'http'],
          [':path', '/'],
          [':authority', 'user@test'],
        ],
        '400',
      ],
      [
        [
          [':method', 'GET'],
          [':scheme', 'http'],
          [':path', '/'],
          [':authority', 'a/b?c'],
        ],
        '400',
      ],
      [
        [
          [':method', 'GET'],
          [':scheme', 'ftp'],
          [':path', '/'],
          [':authority', 'test'],
        ],
        '400',
      ],
      [
        [
          [':method', 'GET'],
          [':scheme', 'http'],
          [':path', '/'],
        ],
        '400',
      ],
      [
        [
          [':method', 'B AD'],
          [':scheme', 'http'],
          [':path', '/'],
          [':authority', 'test'],
        ],
        '400',
      ],
      [
        [
          [':method', 'TRACE'],
          [':scheme', 'http'],
          [':path', '/'],
          [':authority', 'test'],
        ],
        '405',
      ],
      [
        [
          [':method', 'CONNECT'],
          [':authority', 'test:80'],
        ],
        '400',
      ],
      [
        [
          [':method', 'OPTIONS'],
          [':scheme', 'http'],
          [':path', '*'],
          [':authority', 'test'],
        ],
        '200',
      ],
      [
        [
          [':method', 'GET'],
          [':scheme', 'http'],
          [':path', '/'],
          ['host', 'from-host'],
        ],
        '200',
      ],
    ];
    let id = 1;
    for (const [fields, status] of cases) {
      await client.send(headers(id, fields));
      await rest();
      expect(client.status(id), JSON.stringify(fields)).toBe(status);
      id += 2;
    }
  });
});

describe('node:http2 as the judge', () => {
  let listener: Listener;
  let session: http2.ClientHttp2Session;

  beforeAll(async () => {
    listener = createListener({
      http2: {
        onStream: (stream) =>
          serveFetch(
            stream,
            async (request) => new Response(await request.arrayBuffer(), { headers: { 'x-method': request.method } }),
            { bodyBytesMax: 4 * 1024 * 1024 },
            () => {},
          ),
      },
      onHttp1: (socket) => socket.destroy(),
    });
    const { port }: AddressInfo = await listener.listen(0, '127.0.0.1');
    session = http2.connect(`http://127.0.0.1:${port}`);
  });

  afterAll(async () => {
    session.close();
    await listener.close();
  });

  function exchange(fields: http2.OutgoingHttpHeaders, body: Buffer): Promise<{ status: unknown; body: Buffer }> {
    return new Promise((resolve, reject) => {
      const request = session.request({ ':method': 'POST', ':path': '/', ...fields });
      const chunks: Buffer[] = [];
      let status: unknown;
      request.on('response', (response) => {
        status = response[':status'];
      });
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('error', reject);
      request.on('end', () => resolve({ status, body: Buffer.concat(chunks) }));
      request.end(body);
    });
  }

  it('bodies of every size come back as they went', async () => {
    const sizes = [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 1_572_864, 4 * 1024 * 1024];
    const answers = await Promise.all(sizes.map((size, i) => exchange({ 'x-i': `${i}` }, Buffer.alloc(size, i + 1))));
    answers.forEach((answer, i) => {
      expect(answer.status).toBe(200);
      expect(answer.body.equals(Buffer.alloc(sizes[i]!, i + 1)), `${sizes[i]}`).toBe(true);
    });
  });

  it('fields that change from request to request keep the tables in step', async () => {
    for (let i = 0; i < 300; i++) {
      const { status } = await exchange({ [`x-${i % 70}`]: `value ${i}`.repeat((i % 9) + 1) }, Buffer.from('x'));
      expect(status).toBe(200);
    }
  });

  it('a ping comes back', async () => {
    await new Promise<void>((resolve, reject) => {
      session.ping((error) => (error ? reject(error) : resolve()));
    });
  });
});
