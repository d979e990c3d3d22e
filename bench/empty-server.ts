/**
 * A server that does nothing: it answers every gRPC call with the same bytes, so that what is measured against it is the
 * load generator. A process of its own: prints its port, and ends with its input.
 */
import { createServer, type Socket } from 'node:net';
import { FrameReader } from '../server/http2/frame-reader.ts';
import {
  CLIENT_PREFACE,
  Flag,
  FrameType,
  frame,
  INITIAL_WINDOW_BYTES,
  putUint32,
  Setting,
  settingsPayload,
} from '../server/http2/frames.ts';
import { encodeHeaderBlock } from '../server/http2/hpack.ts';

const FRAME_BYTES_MAX = 1 << 20;
const WINDOW_BYTES = 0x3fff_ffff;
/** As long as a put's. */
const REPLY_BYTES = 28;

const headers = encodeHeaderBlock([
  [':status', '200'],
  ['content-type', 'application/grpc'],
]);
const trailers = encodeHeaderBlock([
  ['grpc-status', '0'],
  ['grpc-message', ''],
]);
const message = Buffer.alloc(5 + REPLY_BYTES);
putUint32(message, 1, REPLY_BYTES);
const answer = Buffer.concat([
  frame(FrameType.HEADERS, Flag.END_HEADERS, 0, headers),
  frame(FrameType.DATA, 0, 0, message),
  frame(FrameType.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, 0, trailers),
]);
/** Where the stream's number is, in each of the three frames. */
const streamAt = [5, 9 + headers.length + 5, 9 + headers.length + 9 + message.length + 5];

function serve(socket: Socket): void {
  socket.setNoDelay(true);
  socket.on('error', () => {});
  let prefaceLeft = CLIENT_PREFACE.length;
  let out: Buffer[] = [];
  let received = 0;
  const control = (): void => {
    const window = Buffer.alloc(4);
    putUint32(window, 0, received);
    received = 0;
    out.push(frame(FrameType.WINDOW_UPDATE, 0, 0, window));
  };
  const reader = new FrameReader(
    {
      frame(type, flags, stream, _bytes, start, end) {
        if (type === FrameType.SETTINGS && (flags & Flag.ACK) === 0)
          out.push(frame(FrameType.SETTINGS, Flag.ACK, 0, new Uint8Array(0)));
        if (type !== FrameType.DATA) return true;
        received += end - start;
        if ((flags & Flag.END_STREAM) === 0) return true;
        const bytes = Buffer.from(answer);
        for (const at of streamAt) putUint32(bytes, at, stream);
        out.push(bytes);
        return true;
      },
      oversizedFrame: () => socket.destroy(),
    },
    FRAME_BYTES_MAX,
  );
  received = WINDOW_BYTES - INITIAL_WINDOW_BYTES;
  out.push(frame(FrameType.SETTINGS, 0, 0, settingsPayload([[Setting.INITIAL_WINDOW_SIZE, WINDOW_BYTES]])));
  control();
  socket.on('data', (chunk: Buffer) => {
    const skipped = Math.min(prefaceLeft, chunk.length);
    prefaceLeft -= skipped;
    reader.push(chunk, skipped);
    if (received > WINDOW_BYTES / 2) control();
    if (out.length > 0) socket.write(out.length === 1 ? out[0]! : Buffer.concat(out));
    out = [];
  });
}

const server = createServer(serve);
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(address.port);
});
process.stdin.resume().once('end', () => process.exit(0));
