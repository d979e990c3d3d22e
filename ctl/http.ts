/** HTTP requests to an endpoint that is otherwise spoken to over gRPC: metrics, health. Follows nothing, keeps nothing. */
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as secureRequest } from 'node:https';
import { isIP } from 'node:net';
import type { Context } from './context.ts';

/** The body of a 200. Rejects with an Error that says what came instead. */
export async function getText(context: Context, endpoint: string, path: string): Promise<string> {
  return (await get(context, endpoint, path)).text;
}

/** What time the server says it is (epoch, ms; it tells whole seconds); undefined when it does not say. */
export async function getDate(context: Context, endpoint: string, path: string): Promise<number | undefined> {
  const { date } = (await get(context, endpoint, path)).headers;
  const ms = Date.parse(date ?? '');
  return Number.isNaN(ms) ? undefined : ms;
}

async function get(
  context: Context,
  endpoint: string,
  path: string,
): Promise<{ text: string; headers: IncomingMessage['headers'] }> {
  const { tls, commandTimeoutMs } = context.globals;
  const named = /^https?:\/\//.test(endpoint) ? endpoint : `${tls === undefined ? 'http' : 'https'}://${endpoint}`;
  const url = new URL(path, named);
  if (url.port === '' && !/:\d+\/?$/.test(endpoint)) url.port = '2379';
  const signal = AbortSignal.any([context.io.signal, AbortSignal.timeout(commandTimeoutMs)]);
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const secure = url.protocol === 'https:';
    const name = url.hostname.replace(/^\[|\]$/g, '');
    const options = {
      signal,
      agent: false,
      ...(secure && {
        ca: tls?.ca as string | Buffer | undefined,
        cert: tls?.cert as string | Buffer | undefined,
        key: tls?.key as string | Buffer | undefined,
        rejectUnauthorized: tls?.insecureSkipVerify !== true,
        ...(isIP(name) === 0 && { servername: name }),
      }),
    };
    (secure ? secureRequest : plainRequest)(url, options, resolve).once('error', reject).end();
  });
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  if (response.statusCode !== 200)
    throw new Error(`${url} answers ${response.statusCode}: ${text.slice(0, 200).trim()}`);
  return { text, headers: response.headers };
}
