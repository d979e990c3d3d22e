/**
 * Which browsers may call: etcd's --cors and --host-whitelist. Looks at headers only; who may do what is decided with the
 * call itself.
 */
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { MiddlewareHandler } from 'hono';
import { originOf } from '../config/values.ts';
import { commonNameOf } from '../http2/common-name.ts';

/** What a request comes with: an HTTP/1.1 message, or what the listener knows of an HTTP/2 connection. */
export interface HttpEnvironment {
  readonly incoming?: { readonly socket: Duplex };
  readonly commonName?: string | undefined;
}

/** Whom the client's certificate names, if it has one. */
export function commonNameAt(environment: HttpEnvironment | undefined): string | undefined {
  const socket = environment?.incoming?.socket;
  return socket === undefined ? environment?.commonName : commonNameOf(socket);
}

export interface AccessControl {
  /** Origins in the form of originOf, or `*` alone. */
  readonly cors: readonly string[];
  /** Names in the Host header, or `*` alone. Not looked at over TLS, where the certificate says who is meant. */
  readonly hostWhitelist: readonly string[];
  /** A request was refused. */
  readonly onRefused?: (host: string) => void;
}

const MISDIRECTED_REQUEST = 421;
/** What pages may send to `/kv/` besides, and read of its answers. */
const PLAIN_HEADERS = ', if-match, if-none-match, last-event-id';
const PLAIN_EXPOSED =
  'etag, x-roster-revision, x-roster-create-revision, x-roster-version, x-roster-lease, x-roster-count';

/** Refuses, answers OPTIONS, and adds the headers that browsers ask for (etcd: embed.accessController). */
export function accessControl({ cors, hostWhitelist, onRefused }: AccessControl): MiddlewareHandler {
  const originFor = (sent: string | undefined) => {
    if (cors.includes('*')) return '*';
    const origin = sent === undefined ? undefined : originOf(sent);
    return origin !== undefined && cors.includes(origin) ? sent : undefined;
  };
  return async (c, next) => {
    if (!hostWhitelist.includes('*') && !isSecure(c.env as HttpEnvironment | undefined)) {
      const host = hostName(c.req.header('host') ?? new URL(c.req.url).host);
      if (!hostWhitelist.includes(host)) {
        onRefused?.(host);
        return c.text(unrecognized(host), MISDIRECTED_REQUEST);
      }
    }
    const origin = originFor(c.req.header('origin'));
    const headers = origin === undefined ? {} : corsHeaders(origin, cors.includes('*'), c.req.path);
    if (c.req.method === 'OPTIONS') return c.body(null, 200, headers);
    await next();
    for (const [name, value] of Object.entries(headers)) c.res.headers.set(name, value);
    return undefined;
  };
}

function corsHeaders(origin: string, anyone: boolean, path: string): Record<string, string> {
  const plain = path.startsWith('/kv/');
  return {
    'Access-Control-Allow-Methods': 'POST, GET, OPTIONS, PUT, DELETE',
    'Access-Control-Allow-Origin': origin,
    'Access-Control-Allow-Headers': `accept, content-type, authorization${plain ? PLAIN_HEADERS : ''}`,
    ...(plain ? { 'Access-Control-Expose-Headers': PLAIN_EXPOSED } : {}),
    // A cache must not give one origin's answer to another.
    ...(anyone ? {} : { Vary: 'Origin' }),
  };
}

/** HTTP/2 reaches the app over TLS only. */
function isSecure(environment: HttpEnvironment | undefined): boolean {
  const socket = environment?.incoming?.socket;
  return socket === undefined ? environment !== undefined && 'commonName' in environment : socket instanceof TLSSocket;
}

/** Without port and brackets. */
function hostName(host: string): string {
  return host.replace(/:\d*$/, '').replace(/^\[|\]$/g, '');
}

/** etcd's words (embed.errCVE20185702). */
function unrecognized(host: string): string {
  return `
etcd received your request, but the Host header was unrecognized.

To fix this, choose one of the following options:
- Enable TLS, then any HTTPS request will be allowed.
- Add the hostname you want to use to the whitelist in settings.
  - e.g. etcd --host-whitelist ${JSON.stringify(host)}

This requirement has been added to help prevent "DNS Rebinding" attacks (CVE-2018-5702).

`;
}
