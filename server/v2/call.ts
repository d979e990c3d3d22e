/** One request of the v2 API as a call: who makes it - Basic credentials, a token, or a certificate - and its path. */
import type { Context } from 'hono';
import type { RosterError } from '../../core/errors.ts';
import type { HttpEnvironment } from '../http/access-control.ts';
import { HttpCall } from '../http/http-call.ts';
import { commonNameOf } from '../http2/common-name.ts';
import type { RpcContext } from '../rpc/context.ts';
import { type CredentialCheck, readBasic } from './credentials.ts';

export class V2Call extends HttpCall {
  /** Whoever has been found to call, by password or certificate. */
  commonName: string | undefined;
  readonly #authorization: string | undefined;

  constructor(c: Context) {
    super(c);
    this.#authorization = c.req.header('authorization');
    const environment = c.env as HttpEnvironment | undefined;
    const socket = environment?.incoming?.socket;
    this.commonName = socket === undefined ? environment?.commonName : commonNameOf(socket);
  }

  /** A password is no token. */
  override metadata(name: string): string | undefined {
    if (name !== 'authorization') return undefined;
    return readBasic(this.#authorization) === undefined ? this.#authorization : undefined;
  }

  /** Finds out who calls; `undefined`: that is settled, perhaps to be nobody. While auth is off nobody asks. */
  identify({ machine }: RpcContext, check: CredentialCheck): Promise<RosterError | undefined> | undefined {
    if (this.#authorization === undefined || !machine.auth.enabled) return undefined;
    const credentials = readBasic(this.#authorization);
    if (credentials === undefined) return undefined;
    return new Promise((resolve) => {
      check.check(credentials, this.remote, (error) => {
        if (error === undefined) this.commonName = credentials.user;
        resolve(error);
      });
    });
  }
}

/** Path and query as they were sent, a character for each byte. */
export function targetOf(c: Context): { path: string; query: string } {
  const { url } = c.req.raw;
  const start = url.indexOf('/', url.indexOf('://') + 3);
  const target = start < 0 ? '/' : url.slice(start);
  const hash = target.indexOf('#');
  const whole = hash < 0 ? target : target.slice(0, hash);
  const at = whole.indexOf('?');
  return at < 0 ? { path: whole, query: '' } : { path: whole.slice(0, at), query: whole.slice(at + 1) };
}
