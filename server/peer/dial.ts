/**
 * One attempt to reach a member: TCP, TLS and the WebSocket handshake, to a connection or to the reason why there is
 * none. Never tries twice.
 */
import type { IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import type { Identity } from '../rpc/context.ts';
import { dialOptions, type Tls } from '../tls/tls.ts';
import { greeting, LANE_PATHS, type Lane, saysRemoved } from './handshake.ts';
import type { PeerLimits } from './limits.ts';

export interface DialTarget {
  readonly url: string;
  readonly lane: Lane;
  readonly to: bigint;
}

export interface DialFailure {
  readonly text: string;
  /** The member says that this one has been removed from the cluster. */
  readonly removed: boolean;
}

/** Who was dialed has nothing to send: pongs and the end. */
const ANSWER_BYTES_MAX = 1024;

/**
 * Masking protects proxies from bytes that scripts in browsers choose (RFC 6455, 10.3). A member is no browser, and
 * masking in JavaScript costs 12 ns a byte at both ends together: ten times all the rest. The zero key masks nothing.
 */
function zeroKey(mask: Buffer): void {
  mask.fill(0);
}

/**
 * Calls `done` once, later, with an open connection or the reason why there is none; never after the returned function was
 * called, which gives up. Errors of the open connection end it ('close' follows).
 */
export function dial(
  target: DialTarget,
  identity: Identity,
  tls: Tls | undefined,
  limits: PeerLimits,
  done: (result: WebSocket | DialFailure) => void,
): () => void {
  let settled = false;
  const settle = (result: WebSocket | DialFailure): void => {
    if (settled) return;
    settled = true;
    clearTimeout(timer);
    done(result);
  };
  let socket: WebSocket | undefined;
  const fail = (text: string, removed = false): void => {
    settle({ text, removed });
    socket?.terminate();
  };
  const timer = setTimeout(() => fail(`no answer within ${limits.dialTimeoutMs} ms`), limits.dialTimeoutMs);
  const giveUp = (): void => {
    settled = true;
    clearTimeout(timer);
    socket?.terminate();
  };
  try {
    socket = new WebSocket(new URL(LANE_PATHS[target.lane], target.url), {
      headers: greeting(identity, target.to),
      perMessageDeflate: false,
      maxPayload: ANSWER_BYTES_MAX,
      generateMask: zeroKey,
      ...(target.url.startsWith('https:') ? dialOptions(tls) : {}),
    });
  } catch (error) {
    // A URL that is none, a certificate that is none.
    const { message } = error as Error;
    queueMicrotask(() => fail(message));
    return giveUp;
  }
  socket.on('error', (error) => fail(error.message));
  socket.once('open', () => settle(socket!));
  socket.once('unexpected-response', (_request, response: IncomingMessage) => {
    const { statusCode, headers } = response;
    readText(response, limits.refusalBytesMax, (text) => {
      const removed = saysRemoved(statusCode, headers, identity.memberId);
      fail(`refused with status ${statusCode}: ${text.trim()}`, removed);
    });
  });
  return giveUp;
}

/** What comes until the end, but no more than `bytesMax`. The dial's timeout covers it. */
function readText(response: IncomingMessage, bytesMax: number, done: (text: string) => void): void {
  let bytes: Buffer = Buffer.alloc(0);
  const finish = (): void => {
    response.removeAllListeners('data');
    done(bytes.toString('utf8', 0, bytesMax));
  };
  response.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    if (bytes.length >= bytesMax) finish();
  });
  response.on('error', () => {});
  response.once('close', finish);
}
