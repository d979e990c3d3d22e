/**
 * One request at this door as the RPCs see it: who calls, by token or certificate, and when the caller has gone. Owns what
 * counts as credentials; whether they are good is found out where it always is.
 */
import type { Context } from 'hono';
import { commonNameAt, type HttpEnvironment } from '../http/access-control.ts';
import { HttpCall } from '../http/http-call.ts';

/** What a request says about who makes it. */
export type Credentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'password'; readonly name: string; readonly password: string };

export class KvCall extends HttpCall {
  readonly commonName: string | undefined;
  readonly #token: string | undefined;

  /** `token`: what the credentials have come to. A certificate counts unless a page of another site made the request. */
  constructor(c: Context, token: string | undefined) {
    super(c);
    this.#token = token;
    this.commonName = isForeign(c) ? undefined : commonNameAt(c.env as HttpEnvironment | undefined);
  }

  override metadata(name: string): string | undefined {
    if (name === 'token') return undefined;
    return name === 'authorization' ? this.#token : super.metadata(name);
  }
}

/** Credentials that a browser adds by itself do not count when a page of another site made it do so. */
export function credentialsOf(c: Context): Credentials {
  const header = c.req.header('authorization')?.trim();
  if (header === undefined || header === '') return { kind: 'none' };
  const basic = /^basic +([A-Za-z0-9+/=_-]*)$/i.exec(header);
  if (basic === null) return { kind: 'token', token: header.replace(/^bearer +/i, '') };
  if (isForeign(c)) return { kind: 'none' };
  const text = Buffer.from(basic[1]!, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0) return { kind: 'password', name: text, password: '' };
  return { kind: 'password', name: text.slice(0, colon), password: text.slice(colon + 1) };
}

/**
 * A WebSocket is opened by any page, without asking first as for other requests (there, CORS decides). Its token in the
 * list of protocols is the page's own; passwords and certificates are the browser's.
 */
function isForeign(c: Context): boolean {
  const { webSocket } = (c.env ?? {}) as { webSocket?: true };
  const origin = c.req.header('origin');
  if (webSocket !== true || origin === undefined) return false;
  return !URL.canParse(origin) || new URL(origin).host !== c.req.header('host');
}
