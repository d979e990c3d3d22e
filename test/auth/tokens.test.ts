import { createSecretKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { RosterError } from '../../core/errors.ts';
import { readAuthToken } from '../../server/security/auth-token.ts';
import { type JwtOptions, JwtTokens, VERIFIED_MAX } from '../../server/security/jwt-tokens.ts';
import { SimpleTokens, TOKENS_PER_ENTRY_MAX } from '../../server/security/simple-tokens.ts';
import type { Identity, Tokens } from '../../server/security/tokens.ts';
import { bytes } from '../apply/harness.ts';
import { Rig } from '../rpc/rig.ts';

const TTL_SECONDS = 300;

/** One node seen through the eyes of two members: each knows of the other's use only what the log says. */
function rig() {
  const r = new Rig();
  const { machine, node } = r.context;
  const clock = { nowMs: () => r.ms };
  const propose = (request: object) => {
    let result: object | undefined;
    node.propose(request, (answer) => {
      result = answer;
    });
    r.settle();
    return result!;
  };
  for (const name of ['root', 'u']) propose({ auth_user_add: { name, password_hash: bytes('x'), no_password: false } });
  propose({ auth_user_grant_role: { user: 'root', role: 'root' } });
  propose({ auth_enable: {} });
  const make = () => new SimpleTokens({ node, machine, ttlSeconds: TTL_SECONDS, clock });
  const [a, b] = [make(), make()];
  return {
    r,
    auth: machine.auth,
    a,
    b,
    make,
    issue(on: Tokens, revision = machine.auth.revision): string | RosterError {
      let token: string | RosterError | undefined;
      on.issue('u', revision, (result) => {
        token = result;
      });
      r.settle();
      return token!;
    },
    use(on: Tokens, token: string): string | undefined {
      let found: Identity | undefined;
      on.identify(token, (identity) => {
        found = identity;
      });
      r.settle();
      return found?.user;
    },
    /** Lets time pass; both look after their tokens as often as they would. */
    pass(seconds: number, each: () => void = () => {}) {
      for (let i = 0; i < seconds; i++) {
        r.ms += 1000;
        a.tick();
        b.tick();
        r.settle();
        each();
      }
    },
  };
}

describe('simple tokens', () => {
  it('have etcd’s form, and are good on every member', () => {
    const { a, b, issue, use } = rig();
    const token = issue(a) as string;
    expect(token).toMatch(/^[A-Za-z]{16}\.\d+$/);
    expect(issue(a)).not.toBe(token);
    expect([use(a, token), use(b, token)]).toEqual(['u', 'u']);
  });

  it('end when they were used nowhere for their time', () => {
    const { a, b, auth, issue, use, pass } = rig();
    const token = issue(a) as string;
    pass(TTL_SECONDS - 1);
    expect(use(b, token)).toBe('u');
    pass(TTL_SECONDS - 1, () => use(a, token));
    expect([use(b, token), auth.tokens.size]).toEqual(['u', 1]);
    pass(2 * TTL_SECONDS);
    expect([use(a, token), use(b, token)]).toEqual([undefined, undefined]);
    expect(auth.tokens.size, 'the leader has ended it').toBe(0);
  });

  it('live on over a restart, which nobody’s clock survives', () => {
    const { a, make, issue, use, pass } = rig();
    const token = issue(a) as string;
    pass(TTL_SECONDS - 1);
    expect(use(make(), token)).toBe('u');
  });

  it('cost one entry for all that are used, a few times in their life', () => {
    const { r, a, auth, issue, use, pass } = rig();
    const tokens = Array.from({ length: 5 }, () => issue(a) as string);
    const before = r.context.machine.appliedIndex;
    pass(TTL_SECONDS, () => {
      for (const token of tokens) use(a, token);
    });
    expect(r.context.machine.appliedIndex - before).toBeLessThanOrEqual(4);
    expect(auth.tokens.size).toBe(5);
    expect(TOKENS_PER_ENTRY_MAX).toBeGreaterThan(5);
  });

  it('are not given out by a state that has passed', () => {
    const { a, auth, issue } = rig();
    expect(issue(a, auth.revision - 1)).toMatchObject({ code: 'AuthOldRevision' });
    expect(auth.tokens.size).toBe(0);
  });

  it('are nothing but what they are', () => {
    const { a, issue, use } = rig();
    const token = issue(a) as string;
    const [secret, index] = token.split('.') as [string, string];
    for (const other of [
      '',
      `${token} `,
      `${token}0`,
      `${secret}.0${index}`,
      secret,
      `.${index}`,
      token.toUpperCase(),
      'x'.repeat(1e5),
    ]) {
      expect(use(a, other), other.slice(0, 40)).toBeUndefined();
    }
  });

  it('of an entry that this member may not have yet are asked for after a read index', () => {
    const { r, a, use } = rig();
    const reads = vi.spyOn(r.node, 'linearizableRead');
    expect(use(a, 'abcdefghijklmnop.1')).toBeUndefined();
    expect(reads).not.toHaveBeenCalled();
    expect(use(a, `abcdefghijklmnop.${r.context.machine.appliedIndex + 1}`)).toBeUndefined();
    expect(reads).toHaveBeenCalledTimes(1);
  });
});

// ---- JSON web tokens

let folder: string;
const files: Record<string, string> = {};
let rsa: { publicKey: KeyObject; privateKey: KeyObject };

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'roster-jwt-'));
  const save = (name: string, content: string | Buffer) => {
    files[name] = join(folder, name);
    writeFileSync(files[name], content);
  };
  const pair = (name: string, keys: { publicKey: KeyObject; privateKey: KeyObject }) => {
    save(`${name}.pub`, keys.publicKey.export({ type: 'spki', format: 'pem' }));
    save(name, keys.privateKey.export({ type: 'pkcs8', format: 'pem' }));
    return keys;
  };
  rsa = pair('rsa', generateKeyPairSync('rsa', { modulusLength: 2048 }));
  pair('p256', generateKeyPairSync('ec', { namedCurve: 'prime256v1' }));
  pair('p384', generateKeyPairSync('ec', { namedCurve: 'secp384r1' }));
  pair('p521', generateKeyPairSync('ec', { namedCurve: 'secp521r1' }));
  pair('ed', generateKeyPairSync('ed25519'));
  save('secret', Buffer.alloc(64, 's'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const jwt = (options: string) => readAuthToken(`jwt,${options}`) as JwtOptions;
const issued = (tokens: Tokens, revision = 3) =>
  new Promise<string | RosterError>((resolve) => {
    tokens.issue('u', revision, resolve);
  });
const found = (tokens: Tokens, token: string) =>
  new Promise<Identity | undefined>((resolve) => {
    tokens.identify(token, resolve);
  });

describe('JSON web tokens', () => {
  it.each(
    ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
      .map((method) => [method, 'rsa'])
      .concat([
        ['ES256', 'p256'],
        ['ES384', 'p384'],
        ['ES512', 'p521'],
        ['EdDSA', 'ed'],
        ['HS256', 'secret'],
        ['HS384', 'secret'],
        ['HS512', 'secret'],
      ]),
  )('%s with a key of %s', async (method, key) => {
    const options = jwt(`sign-method=${method},priv-key=${files[key!]!}`);
    expect(options.ttlSeconds).toBe(300);
    const tokens = new JwtTokens(options);
    const token = (await issued(tokens)) as string;
    expect(await found(tokens, token)).toEqual({ user: 'u', revision: 3 });
    expect(await found(new JwtTokens(options), token), 'on another member').toEqual({ user: 'u', revision: 3 });
    const claims = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>;
    expect(Object.keys(claims).sort()).toEqual(['exp', 'revision', 'username']);
    expect(await found(tokens, `${token.slice(0, -4)}AAAA`)).toBeUndefined();
  });

  it('are only checked without a private key', async () => {
    const signing = new JwtTokens(jwt(`sign-method=RS256,priv-key=${files.rsa!},pub-key=${files['rsa.pub']!}`));
    const checking = new JwtTokens(jwt(`sign-method=RS256,pub-key=${files['rsa.pub']!}`));
    expect(await found(checking, (await issued(signing)) as string)).toEqual({ user: 'u', revision: 3 });
    const refusal = (await issued(checking)) as RosterError;
    expect([refusal.status, refusal.message]).toEqual([2, 'auth: token signing attempted with verify-only key']);
  });

  it('end with their time, remembered or not', async () => {
    const tokens = new JwtTokens(jwt(`sign-method=HS256,priv-key=${files.secret!},ttl=10m`));
    const now = vi.spyOn(Date, 'now').mockReturnValue(1_700_000_000_000);
    try {
      const token = (await issued(tokens)) as string;
      const exp = 1_700_000_600;
      expect(JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())).toMatchObject({ exp });
    } finally {
      now.mockRestore();
    }
    const secret = createSecretKey(Buffer.alloc(64, 's'));
    const sign = (claims: object) => new SignJWT({ ...claims }).setProtectedHeader({ alg: 'HS256' }).sign(secret);
    const seconds = Math.floor(Date.now() / 1000);
    expect(await found(tokens, await sign({ username: 'u', revision: 1, exp: seconds - 1 }))).toBeUndefined();
    const short = await sign({ username: 'u', revision: 1, exp: seconds + 100 });
    expect(await found(tokens, short)).toBeDefined();
    const later = vi.spyOn(Date, 'now').mockReturnValue((seconds + 101) * 1000);
    try {
      expect(await found(tokens, short), 'it was good before').toBeUndefined();
    } finally {
      later.mockRestore();
    }
  });

  it('must say who, and as of when, with the one method (etcd PR 15676)', async () => {
    const options = jwt(`sign-method=RS256,priv-key=${files.rsa!}`);
    const tokens = new JwtTokens(options);
    const sign = (claims: object, alg = 'RS256', key: KeyObject = rsa.privateKey) =>
      new SignJWT({ ...claims }).setProtectedHeader({ alg }).sign(key);
    expect(await found(tokens, await sign({ username: 'u', revision: 1 }))).toBeDefined();
    for (const claims of [
      {},
      { username: 'u' },
      { revision: 1 },
      { username: '', revision: 1 },
      { username: 7, revision: 1 },
      { username: 'u', revision: '1' },
      { username: 'u', revision: -1 },
      { username: 'u', revision: 1.5 },
      { username: ['u'], revision: 1 },
    ]) {
      expect(await found(tokens, await sign(claims)), JSON.stringify(claims)).toBeUndefined();
    }
    expect(await found(tokens, await sign({ username: 'u', revision: 1 }, 'RS512')), 'another method').toBeUndefined();
    const publicAsSecret = createSecretKey(rsa.publicKey.export({ type: 'spki', format: 'der' }));
    expect(await found(tokens, await sign({ username: 'u', revision: 1 }, 'HS256', publicAsSecret))).toBeUndefined();
    for (const nonsense of ['', 'a.b.c', '..', 'x'.repeat(10_000)])
      expect(await found(tokens, nonsense)).toBeUndefined();
  });

  it('are remembered up to a bound', async () => {
    const tokens = new JwtTokens(jwt(`sign-method=HS256,priv-key=${files.secret!}`));
    const first = (await issued(tokens, 0)) as string;
    await found(tokens, first);
    for (let i = 1; i <= VERIFIED_MAX; i++) await found(tokens, (await issued(tokens, i)) as string);
    let answered = false;
    const asked = new Promise<void>((resolve) => {
      tokens.identify(first, () => {
        answered = true;
        resolve();
      });
    });
    expect(answered, 'the first is no longer known and must be checked').toBe(false);
    await asked;
  });
});

describe('--auth-token', () => {
  it.each([
    ['', /neither/],
    ['Simple', /neither/],
    ['simple,x=1', /neither/],
    ['jwt', /needs sign-method/],
    ['jwt,sign-method=none', /not one of/],
    ['jwt,sign-method=toString', /not one of/],
    ['jwt,sign-method=RS256', /needs priv-key/],
    ['jwt,sign-method=HS256,pub-key=x', /shared secret/],
    ['jwt,sign-method=RS256,sign-method=RS256', /twice/],
    ['jwt,sign-method=RS256,color=red', /takes/],
    ['jwt,sign-method=RS256,priv-key=/nonexistent', /nonexistent/],
    ['jwt,sign-method=RS256,priv-key=RSA,ttl=0s', /at least/],
    ['jwt,sign-method=ES256,priv-key=RSA', /cannot use a key of type rsa/],
    ['jwt,sign-method=ES256,priv-key=P384', /cannot use a key of type ec/],
    ['jwt,sign-method=RS256,priv-key=RSA,pub-key=P384PUB', /cannot use/],
    ['jwt,sign-method=ES256,priv-key=P256,pub-key=P384PUB', /cannot use/],
  ])('%s is refused', (value, why) => {
    const names: Record<string, string> = { RSA: 'rsa', P384PUB: 'p384.pub', P384: 'p384', P256: 'p256' };
    const named = value.replace(/\b(?:RSA|P384PUB|P384|P256)\b/g, (name) => files[names[name]!]!);
    expect(() => readAuthToken(named)).toThrow(why);
  });

  it('refuses two keys that do not belong together', () => {
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const path = join(folder, 'other.pub');
    writeFileSync(path, other.publicKey.export({ type: 'spki', format: 'pem' }));
    expect(() => readAuthToken(`jwt,sign-method=RS256,priv-key=${files.rsa!},pub-key=${path}`)).toThrow(
      /belong together/,
    );
    expect(readAuthToken('simple')).toBe('simple');
  });
});
