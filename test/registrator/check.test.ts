import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { checkPlan, probeHttp, probeTcp, RunningCheck, Verdict } from '../../registrator/check.ts';
import { eventually } from './wait.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

function listen(server: Server, port = 0): Promise<number> {
  servers.push(server);
  return new Promise((resolve) => {
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

describe('rise and fall', () => {
  it('agrees with a plain model', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.boolean(), { maxLength: 60 }),
        (rise, fall, results) => {
          const verdict = new Verdict(rise, fall);
          let up = false;
          for (let i = 0; i < results.length; i++) {
            const needed = up ? fall : rise;
            const lastFew = results.slice(Math.max(0, i + 1 - needed), i + 1);
            const flips = lastFew.length === needed && lastFew.every((result) => result !== up);
            // A flip starts the count anew, which the window cannot cross: the results before it all equal the new state.
            if (flips) up = !up;
            expect(verdict.count(results[i]!)).toBe(flips);
            expect(verdict.up).toBe(up);
          }
        },
      ),
    );
  });
});

describe('probes', () => {
  it('TCP: a listener passes, a closed port does not', async () => {
    const server = createServer();
    const port = await listen(server);
    await probeTcp('127.0.0.1', port, 1_000);
    await new Promise((resolve) => server.close(resolve));
    await expect(probeTcp('127.0.0.1', port, 1_000)).rejects.toThrow(/ECONNREFUSED/);
  });

  it('TCP: leaves no reset behind, not even in a server that greets first', async () => {
    const ends: string[] = [];
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.write('220 hello\r\n'.repeat(1_000));
      socket.resume();
      socket.on('error', (error) => ends.push(error.message));
      socket.on('end', () => {
        ends.push('end');
        socket.end();
      });
    });
    const port = await listen(server);
    for (let i = 0; i < 5; i++) await probeTcp('127.0.0.1', port, 1_000);
    await eventually('five goodbyes', () => ends.length === 5);
    expect(new Set(ends)).toEqual(new Set(['end']));
  });

  it('HTTP: 2xx and 3xx pass, others and silence do not', async () => {
    const server = createHttpServer((request, response) => {
      const status = Number(request.url!.slice(1));
      if (status > 0) response.writeHead(status, status === 302 ? { location: '/500' } : {}).end('x'.repeat(100_000));
    });
    const port = await listen(server);
    await probeHttp(`http://127.0.0.1:${port}/200`, 1_000, false);
    await probeHttp(`http://127.0.0.1:${port}/302`, 1_000, false);
    await expect(probeHttp(`http://127.0.0.1:${port}/404`, 1_000, false)).rejects.toThrow('status 404');
    await expect(probeHttp(`http://127.0.0.1:${port}/0`, 50, false)).rejects.toThrow('no answer within 50 ms');
    server.closeAllConnections();
  });

  it('knows its target', () => {
    const target = (check: object) => checkPlan(check, 'fd00::1', 80).target;
    expect(target({ tcp: true })).toEqual({ kind: 'tcp', host: 'fd00::1', port: 80 });
    expect(target({ tcp: '[::1]:81' })).toEqual({ kind: 'tcp', host: '::1', port: 81 });
    expect(target({ tcp: 'db.local:82' })).toEqual({ kind: 'tcp', host: 'db.local', port: 82 });
    expect(target({ http: '/up' })).toEqual({ kind: 'http', url: 'http://[fd00::1]:80/up', skipVerify: false });
    expect(target({ http: 'https://x/up', tls_skip_verify: true })).toEqual({
      kind: 'http',
      url: 'https://x/up',
      skipVerify: true,
    });
  });
});

describe('a running check', () => {
  it('follows a server that goes and comes back', async () => {
    let server = createServer();
    const port = await listen(server);
    const changes: boolean[] = [];
    const target = { kind: 'tcp', host: '127.0.0.1', port } as const;
    const check = new RunningCheck({ target, intervalMs: 10, timeoutMs: 500, rise: 2, fall: 2 }, (up) =>
      changes.push(up),
    );
    await check.decided;
    expect(changes).toEqual([true]);
    await new Promise((resolve) => server.close(resolve));
    await eventually('down', () => changes.length === 2);
    server = createServer();
    await listen(server, port);
    await eventually('up again', () => changes.length === 3);
    check.close();
    expect(changes).toEqual([true, false, true]);
  });

  it('is decided after as many failures as it would have needed successes, and when closed', async () => {
    const server = createServer();
    const port = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    const target = { kind: 'tcp', host: '127.0.0.1', port } as const;
    const plan = { target, intervalMs: 10, timeoutMs: 500, rise: 2, fall: 1 };
    const failing = new RunningCheck(plan, () => {});
    await failing.decided;
    expect(failing.up).toBe(false);
    failing.close();
    const closed = new RunningCheck(plan, () => {});
    closed.close();
    await closed.decided;
  });
});
