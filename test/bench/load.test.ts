import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type CallKind, Load, runLoad } from '../../bench/load.ts';

let server: Http2Server | undefined;

afterEach(() => {
  server?.close();
  server = undefined;
});

/** A gRPC server of Node's own HTTP/2; `onCall` answers with `reply`. */
async function serve(onCall: (stream: ServerHttp2Stream) => void): Promise<number> {
  const started = createServer();
  server = started;
  started.on('stream', (stream) => {
    stream.on('error', () => {});
    stream.resume().once('end', () => onCall(stream));
  });
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
  return (started.address() as AddressInfo).port;
}

function reply(stream: ServerHttp2Stream, status = 0, text = ''): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': String(status), 'grpc-message': text }));
  stream.end(Buffer.from([0, 0, 0, 0, 2, 8, 1]));
}

const kind: CallKind = { path: '/a.B/C', request: () => Buffer.from('request') };

describe('load', () => {
  it('counts every call of a closed loop, and never has more under way than clients', async () => {
    let [calls, under, most] = [0, 0, 0];
    const port = await serve((stream) => {
      calls++;
      most = Math.max(most, ++under);
      setImmediate(() => {
        under--;
        reply(stream);
      });
    });
    const load = await Load.open({ ports: [port], clients: 3, connections: 2, kinds: [kind] });
    const result = await load.run((made) => made < 50);
    load.close();
    expect([calls, result.latencyMs.count]).toEqual([50, 50]);
    expect(most).toBeLessThanOrEqual(3);
  });

  it('sends on in an open loop while nothing is answered', async () => {
    const held: ServerHttp2Stream[] = [];
    const port = await serve((stream) => {
      held.push(stream);
      // A closed loop with one client would wait for the first of these forever.
      if (held.length === 20) for (const each of held) reply(each);
    });
    const load = await Load.open({ ports: [port], clients: 1, connections: 1, kinds: [kind] });
    const result = await load.run((made) => made < 20, { perSecond: 1000 });
    load.close();
    expect(result.latencyMs.count).toBe(20);
  });

  it('mixes kinds by their weights', async () => {
    const paths = new Map<string, number>();
    const port = await serve((stream) => reply(stream));
    server!.on('stream', (_stream, headers) => {
      const path = headers[':path']!;
      paths.set(path, (paths.get(path) ?? 0) + 1);
    });
    const kinds = [kind, { ...kind, path: '/a.B/D', weight: 9 }] as const;
    const load = await Load.open({ ports: [port], clients: 4, connections: 1, kinds: [...kinds] });
    await load.run((made) => made < 500);
    load.close();
    expect(paths.get('/a.B/C')! + paths.get('/a.B/D')!).toBe(500);
    expect(paths.get('/a.B/D')!).toBeGreaterThan(paths.get('/a.B/C')!);
  });

  it('ends in order at the failure it was told of, and with an error at any other', async () => {
    let calls = 0;
    const port = await serve((stream) => reply(stream, ++calls > 10 ? 8 : 0, 'no%20space'));
    const options = { ports: [port], clients: 2, connections: 1, kinds: [kind] as const, seconds: 60 };
    const result = await runLoad({ ...options, endsAt: (status) => status === 8 });
    expect(result.ended).toEqual({ status: 8, text: 'no space' });
    expect(result.latencyMs.count).toBe(10);
    await expect(runLoad(options)).rejects.toThrow('/a.B/C answered gRPC status 8: no space');
  });

  it('takes a reply that is too short for a failure', async () => {
    const port = await serve((stream) => reply(stream));
    const short = { ...kind, replyBytesMin: 3 };
    const run = runLoad({ ports: [port], clients: 1, connections: 1, kinds: [short], seconds: 60 });
    await expect(run).rejects.toThrow('answered 2 bytes, not 3 or more');
  });

  it('ends with the error of the question whether to go on', async () => {
    const port = await serve((stream) => reply(stream));
    const load = await Load.open({ ports: [port], clients: 1, connections: 1, kinds: [kind] });
    const run = load.run((made) => {
      if (made === 5) throw new Error('the lister failed');
      return true;
    });
    await expect(run).rejects.toThrow('the lister failed');
    load.close();
  });

  it('gives up a server that does not answer', async () => {
    const port = await serve(() => {});
    const options = { ports: [port], clients: 1, connections: 1, kinds: [kind] as const, seconds: 60 };
    await expect(runLoad({ ...options, stallMs: 100 })).rejects.toThrow('nothing has been answered for 100 ms');
  });

  it('gives up when the server goes away', async () => {
    const port = await serve((stream) => stream.session!.destroy());
    const run = runLoad({ ports: [port], clients: 1, connections: 1, kinds: [kind], seconds: 60 });
    await expect(run).rejects.toThrow();
  });
});
