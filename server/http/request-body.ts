/** The body of a request to Hono, up to a limit. Knows nothing of what is in it. */
import type { Context } from 'hono';

/**
 * How much of a body that is too large is still read, and dropped, before it is refused. A client that writes its whole
 * request before it looks for an answer would find the connection broken instead of the reason.
 */
export const DISCARDED_BYTES_MAX = 16 * 1024 * 1024;

export class BodyTooLarge {
  /** What came of it. */
  readonly bytes: number;

  constructor(bytes: number) {
    this.bytes = bytes;
  }
}

/** Of a WebSocket the body is its first message. */
export async function readBody(c: Context, bytesMax: number): Promise<Buffer | BodyTooLarge> {
  const stream = c.req.raw.body;
  if (stream === null) return Buffer.alloc(0);
  const { webSocket } = (c.env ?? {}) as { webSocket?: true };
  let parts: Uint8Array[] = [];
  let bytes = 0;
  // To cancel the body would be to destroy the connection, and the answer with it.
  for await (const part of stream.values({ preventCancel: true })) {
    bytes += part.length;
    if (bytes <= bytesMax) parts.push(part);
    else parts = [];
    if (webSocket) break;
    if (bytes > bytesMax + DISCARDED_BYTES_MAX) {
      // What is left of the body is not read, so nothing more can come on this connection.
      c.header('Connection', 'close');
      break;
    }
  }
  return bytes > bytesMax ? new BodyTooLarge(bytes) : Buffer.concat(parts);
}
