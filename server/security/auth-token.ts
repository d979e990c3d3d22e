/** Reads --auth-token: `simple`, or `jwt,sign-method=...,priv-key=...,pub-key=...,ttl=...` in etcd's form. Owns its checks. */
import { createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { UsageError } from '../config/flag-table.ts';
import { duration } from '../config/values.ts';
import type { JwtOptions } from './jwt-tokens.ts';

/** etcd's default for `ttl`. */
const TTL_MS = 5 * 60_000;
const OPTIONS = ['pub-key', 'priv-key', 'sign-method', 'ttl'] as const;

/** What Node calls the kind of key that a method needs; `oct`: the file's bytes are the key. */
const METHODS: Readonly<Record<string, { type: string; curve?: string }>> = {
  HS256: { type: 'oct' },
  HS384: { type: 'oct' },
  HS512: { type: 'oct' },
  RS256: { type: 'rsa' },
  RS384: { type: 'rsa' },
  RS512: { type: 'rsa' },
  PS256: { type: 'rsa' },
  PS384: { type: 'rsa' },
  PS512: { type: 'rsa' },
  ES256: { type: 'ec', curve: 'prime256v1' },
  ES384: { type: 'ec', curve: 'secp384r1' },
  ES512: { type: 'ec', curve: 'secp521r1' },
  EdDSA: { type: 'ed25519' },
};

/** `simple`, or what JWTs are made with. Throws a UsageError that says what is wrong with the flag or its files. */
export function readAuthToken(text: string): 'simple' | JwtOptions {
  const [kind, ...parts] = text.split(',');
  if (kind === 'simple' && parts.length === 0) return 'simple';
  if (kind !== 'jwt') throw wrong(`${JSON.stringify(text)} is neither "simple" nor "jwt,..."`);
  const given = readParts(parts);
  const method = given.get('sign-method');
  if (method === undefined) throw wrong('jwt needs sign-method=...');
  const kindOfKey = Object.hasOwn(METHODS, method) ? METHODS[method]! : undefined;
  if (kindOfKey === undefined) {
    throw wrong(`sign-method ${JSON.stringify(method)} is not one of ${Object.keys(METHODS).join(', ')}`);
  }
  return { method, ttlSeconds: readTtlSeconds(given.get('ttl')), ...readKeys(method, kindOfKey, given) };
}

function readParts(parts: readonly string[]): ReadonlyMap<string, string> {
  const given = new Map<string, string>();
  for (const part of parts) {
    const at = part.indexOf('=');
    const name = part.slice(0, at);
    if (at < 0 || !(OPTIONS as readonly string[]).includes(name)) {
      throw wrong(`jwt takes ${OPTIONS.map((option) => `${option}=...`).join(', ')}; got ${JSON.stringify(part)}`);
    }
    if (given.has(name)) throw wrong(`${name} is given twice`);
    given.set(name, part.slice(at + 1));
  }
  return given;
}

function readTtlSeconds(text: string | undefined): number {
  const ttlMs = text === undefined ? TTL_MS : duration(TTL_MS, 1000, '').parse(text);
  return Math.floor(ttlMs / 1000);
}

function readKeys(
  method: string,
  wanted: { type: string; curve?: string },
  given: ReadonlyMap<string, string>,
): Pick<JwtOptions, 'signKey' | 'verifyKey'> {
  const [publicFile, privateFile] = [given.get('pub-key'), given.get('priv-key')];
  if (wanted.type === 'oct') {
    if (privateFile === undefined) throw wrong(`${method} needs priv-key=..., the file with the shared secret`);
    const key = keyFrom('priv-key', privateFile, createSecretKey);
    return { signKey: key, verifyKey: key };
  }
  if (publicFile === undefined && privateFile === undefined)
    throw wrong(`${method} needs priv-key=..., pub-key=..., or both`);
  const signKey = privateFile === undefined ? undefined : keyFrom('priv-key', privateFile, createPrivateKey);
  const verifyKey =
    publicFile === undefined ? createPublicKey(signKey!) : keyFrom('pub-key', publicFile, createPublicKey);
  for (const key of [signKey, verifyKey]) {
    if (key === undefined) continue;
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
    const fits = type === wanted.type && (wanted.curve === undefined || details?.namedCurve === wanted.curve);
    if (!fits)
      throw wrong(`${method} cannot use a key of type ${type}${details?.namedCurve ? ` (${details.namedCurve})` : ''}`);
  }
  if (signKey !== undefined && !createPublicKey(signKey).equals(verifyKey)) {
    throw wrong('priv-key and pub-key do not belong together');
  }
  return { signKey, verifyKey };
}

function keyFrom(name: string, file: string, make: (bytes: Buffer) => KeyObject): KeyObject {
  try {
    return make(readFileSync(file));
  } catch (error) {
    throw wrong(`${name}=${file}: ${(error as Error).message}`);
  }
}

function wrong(what: string): UsageError {
  return new UsageError(`--auth-token: ${what}`);
}
