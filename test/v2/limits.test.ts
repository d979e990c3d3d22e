import { describe, expect, it } from 'vitest';
import type { RosterError } from '../../core/errors.ts';
import type { V2Answer } from '../../core/v2/node.ts';
import { V2Action } from '../../core/wire/stored.ts';
import { BODY_BYTES_MAX, BODY_PIECES_MAX } from '../../server/http/text-body.ts';
import { CREDENTIALS_REMEMBERED_MAX, CredentialCheck, readBasic } from '../../server/v2/credentials.ts';
import { FormError, readForm } from '../../server/v2/form.ts';
import { JSON_PIECE_CHARS, quoted, readTexts } from '../../server/v2/json.ts';
import { readKeyRequest } from '../../server/v2/key-request.ts';
import { patternsOf, rangeOf } from '../../server/v2/patterns.ts';
import { goDuration } from '../../server/v2/stats.ts';
import { V2WatchResponder } from '../../server/v2/watch-responder.ts';

const clock = { nowMs: 1_000_000, leaseSeconds: () => undefined };

describe('a wait whose reader is behind', () => {
  const event = (value: string): V2Answer => ({
    action: V2Action.values.SET,
    node: { path: '/a', value: Buffer.from(value), dir: false, expiresMs: 0, lease: 0n, modified: 2, created: 2 },
    prevNode: undefined,
    refresh: false,
    index: 2,
    timeMs: 0,
  });

  function opened(): { responder: V2WatchResponder; response: Response } {
    let response: Response | undefined;
    const responder = new V2WatchResponder(true, {
      headers: () => ({}),
      clock: () => clock,
      refused: () => new Response(),
      resolve: (given) => {
        response = given;
      },
    });
    responder.send({ began: 1 });
    return { responder, response: response! };
  }

  it.each([
    ['events', BODY_PIECES_MAX, 'x'],
    ['bytes', 8, 'x'.repeat(BODY_BYTES_MAX / 8)],
  ])('is told to hold at so many %s, and to go on when they are read', async (_what, most, value) => {
    const { responder, response } = opened();
    const drained = new Promise<void>((resolve) => {
      responder.onDrain = resolve;
    });
    let sent = 1;
    while (responder.send({ events: [event(value)] })) sent++;
    expect(sent).toBeLessThanOrEqual(most);
    expect(sent).toBeGreaterThan(most - 2);
    const reader = response.body!.getReader();
    for (let i = 0; i < sent; i++) await reader.read();
    await drained;
    expect(responder.send({ events: [event('last')] })).toBe(true);
    await reader.cancel();
  });

  it('ends the watch when the reader goes, once', async () => {
    const { responder, response } = opened();
    let [cancelled, over] = [0, 0];
    responder.onCancel = () => cancelled++;
    responder.onOver = () => over++;
    await response.body!.cancel();
    responder.leave();
    responder.end();
    expect([cancelled, over]).toEqual([1, 1]);
    expect(responder.send({ events: [event('x')] })).toBe(true);
  });
});

describe('credentials', () => {
  const hash = new Uint8Array([1]);

  function checked(): { check: CredentialCheck; compared: () => number; users: Map<string, Uint8Array> } {
    let count = 0;
    const users = new Map<string, Uint8Array>();
    const context = {
      machine: { auth: { user: (name: string) => ({ password: users.get(name) ?? hash }) } },
      node: { linearizableRead: (done: () => void) => done() },
      security: {
        gate: { enter: () => true, leave: () => {} },
        passwords: {
          compare: (password: string, _hash: Uint8Array, done: (same: boolean) => void) => {
            count++;
            done(password === 'right');
          },
        },
        onLoginFailed: () => {},
      },
    };
    return { check: new CredentialCheck(context as never), compared: () => count, users };
  }

  const ask = (check: CredentialCheck, user: string, password = 'right') => {
    let result: RosterError | 'fine' | undefined;
    check.check({ user, password }, 'here', (error) => {
      result = error ?? 'fine';
    });
    return result;
  };

  it('are compared once, and again when the password has changed', () => {
    const { check, compared, users } = checked();
    for (let i = 0; i < 5; i++) expect(ask(check, 'a')).toBe('fine');
    expect(compared()).toBe(1);
    users.set('a', new Uint8Array([2]));
    expect(ask(check, 'a')).toBe('fine');
    expect(compared()).toBe(2);
    expect(ask(check, 'a', 'wrong')).toMatchObject({ code: 'AuthFailed' });
    expect(ask(check, 'a', 'wrong')).toMatchObject({ code: 'AuthFailed' });
    expect(compared()).toBe(4);
    users.set('a', new Uint8Array(0));
    expect(ask(check, 'a')).toMatchObject({ code: 'AuthFailed' });
  });

  it('are remembered up to a bound, the longest unused forgotten first', () => {
    const { check, compared } = checked();
    for (let i = 0; i < CREDENTIALS_REMEMBERED_MAX; i++) ask(check, `u${i}`);
    ask(check, 'u0');
    expect(compared()).toBe(CREDENTIALS_REMEMBERED_MAX);
    ask(check, 'one more');
    ask(check, 'u0');
    expect(compared()).toBe(CREDENTIALS_REMEMBERED_MAX + 1);
    ask(check, 'u1');
    expect(compared()).toBe(CREDENTIALS_REMEMBERED_MAX + 2);
  });

  it('are read as RFC 7617 has them', () => {
    const basic = (text: string) => readBasic(`Basic ${Buffer.from(text).toString('base64')}`);
    expect(basic('user:pass:word')).toEqual({ user: 'user', password: 'pass:word' });
    expect(basic('ä:€')).toEqual({ user: 'ä', password: '€' });
    expect(basic('nocolon')).toBeUndefined();
    for (const header of [undefined, '', 'Basic', 'Bearer x', 'Basic !']) expect(readBasic(header)).toBeUndefined();
  });
});

describe('forms and their fields', () => {
  it('take the first value, the body before the query, and bytes as they are', () => {
    const form = readForm('a=1&b=query&a=2&empty&%41=x', 'b=body&c=%ff+%2B');
    expect(form).toEqual(
      new Map([
        ['b', 'body'],
        ['c', '\xff +'],
        ['a', '1'],
        ['empty', ''],
        ['A', 'x'],
      ]),
    );
    expect(readForm('a=%', undefined)).toBeInstanceOf(FormError);
    expect(readForm('a;b', undefined)).toMatchObject({ text: 'invalid semicolon separator in query' });
  });

  it('have a longest time to live', () => {
    const request = (ttl: string) => readKeyRequest('PUT', '/a', new Map([['ttl', ttl]]), 0);
    expect(request('9000000000')).toMatchObject({ kind: 'write', request: { ttl: 9_000_000_000 } });
    expect(request('9000000001')).toMatchObject({ code: 202 });
  });

  it('keep to what a path may be', () => {
    const none = new Map<string, string>();
    expect(readKeyRequest('GET', '/a'.repeat(500), none, 0)).toMatchObject({ kind: 'read' });
    expect(readKeyRequest('GET', '/a'.repeat(501), none, 0)).toMatchObject({ code: 209 });
    expect(readKeyRequest('GET', '/\xff', none, 0)).toMatchObject({ code: 209, cause: 'the key is not UTF-8' });
  });
});

describe('texts', () => {
  it('are quoted as Go does it', () => {
    expect(quoted('<a href="x">&\u2028</a>')).toBe('"\\u003ca href=\\"x\\"\\u003e\\u0026\\u2028\\u003c/a\\u003e"');
  });

  it('of a large tree come in pieces', () => {
    const nodes = Array.from({ length: 3000 }, (_, i) => ({
      path: `/d/${i}`,
      value: Buffer.from('x'.repeat(100)),
      dir: false,
      expiresMs: 0,
      lease: 0n,
      modified: 5,
      created: 5,
    }));
    const dir = {
      path: '/d',
      value: undefined,
      dir: true,
      expiresMs: 1_060_500,
      lease: 0n,
      modified: 3,
      created: 3,
      nodes,
    };
    const pieces = [...readTexts(dir, clock)];
    expect(pieces.length).toBeGreaterThan(3);
    for (const piece of pieces) expect(piece.length).toBeLessThan(JSON_PIECE_CHARS + 1000);
    const { node } = JSON.parse(pieces.join('')) as { node: { ttl: number; expiration: string; nodes: object[] } };
    expect(node).toMatchObject({ key: '/d', dir: true, ttl: 61, modifiedIndex: 3, createdIndex: 3 });
    expect(Date.parse(node.expiration)).toBe(1_060_500);
    expect(node.nodes[2999]).toEqual({ key: '/d/2999', value: 'x'.repeat(100), modifiedIndex: 5, createdIndex: 5 });
  });

  it('of durations are Go’s', () => {
    expect([0, 1500, 61_000, 3_723_004].map(goDuration)).toEqual(['0s', '1.5s', '1m1s', '1h2m3.004s']);
  });
});

describe('patterns', () => {
  it('are keys and prefixes, and whatever is neither is not shown', () => {
    expect(rangeOf('/a')).toEqual({ key: '/a', range_end: '' });
    expect(rangeOf('/a*')).toEqual({ key: '/a', range_end: '/b' });
    expect(rangeOf('*')).toEqual({ key: '/', range_end: '0' });
    expect(rangeOf('a*')).toBeUndefined();
    const all = [
      { permType: 2, key: '/b', range_end: '' },
      { permType: 0, key: '/a/', range_end: '/a0' },
      { permType: 1, key: '/c', range_end: '/x' },
    ];
    expect(patternsOf(all)).toEqual({ read: ['/a/*', '/b'], write: ['/b'] });
  });
});
