/**
 * What a request names, byte for byte: the key after `/kv/` and the parameters. Reads the request's target as it came over
 * the wire, because a URL would drop `.` and `..` from it and so name another key. Decides nothing.
 */
import { type ByteString, utf8ToByteString } from '../../core/util/bytes.ts';
import { badRequest } from './errors.ts';

/** What the key comes after. */
export const ROOT = '/kv/';

export interface Target {
  /** '' for `/kv/`. */
  readonly key: ByteString;
  /** As given, in order; '' where there is no value. */
  readonly query: readonly (readonly [name: string, value: ByteString])[];
}

/** The target of an HTTP/1.1 request, or what the listener knows of an HTTP/2 stream. */
interface Environment {
  readonly incoming?: { readonly url?: string };
  readonly target?: string;
}

/** Path and query, as sent if that can be, when they name a key; else undefined. */
export function keyTarget(request: Request, environment: unknown): string | undefined {
  const { incoming, target } = (environment ?? {}) as Environment;
  const sent = incoming?.url ?? target;
  if (sent !== undefined && namesKey(sent)) return sent;
  // An absolute target, or one with steps in front.
  const resolved = request.url.replace(/^[^:]+:\/\/[^/?#]*/, '');
  return namesKey(resolved) ? resolved : undefined;
}

function namesKey(target: string): boolean {
  return target === '/kv' || target.startsWith('/kv?') || target.startsWith(ROOT);
}

/** The path alone of such a target, as the router takes it. */
export function keyPath(request: Request, environment: unknown): string | undefined {
  return keyTarget(request, environment)?.split('?', 1)[0];
}

/** Throws a RosterError when it is not percent-encoded as it should be. */
export function parseTarget(target: string): Target {
  const at = target.indexOf('?');
  const path = at < 0 ? target : target.slice(0, at);
  const query = (at < 0 ? '' : target.slice(at + 1))
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const equals = part.indexOf('=');
      const name = equals < 0 ? part : part.slice(0, equals);
      return [decoded(name), equals < 0 ? '' : decoded(part.slice(equals + 1).replaceAll('+', ' '))] as const;
    });
  return { key: decoded(path.slice(ROOT.length)), query };
}

/** The path that names `key`; of all keys only `.` and `..` have none that survives in a URL. */
export function pathOf(key: ByteString): string {
  // A segment of dots alone would be taken for a step in the path.
  const dots = /(^|\/)\.{1,2}(?=\/|$)/.test(key);
  const text = key.replace(dots ? /[^A-Za-z0-9_~-]/g : /[^A-Za-z0-9_.~/-]/g, (unit) => {
    return `%${unit.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
  });
  return `${ROOT}${text}`;
}

function decoded(text: string): ByteString {
  let wrong = false;
  const bytes = text.replace(/%(.{0,2})/gs, (_whole, digits: string) => {
    if (/^[0-9a-fA-F]{2}$/.test(digits)) return String.fromCharCode(Number.parseInt(digits, 16));
    wrong = true;
    return '';
  });
  if (wrong) {
    throw badRequest('BadEncoding', `"${text}" is not percent-encoded`, 'Write a percent sign itself as %25.');
  }
  // Over the wire each character is a byte; whoever calls the app itself may use any.
  return /^[\0-\xff]*$/.test(bytes) ? bytes : utf8ToByteString(bytes);
}
