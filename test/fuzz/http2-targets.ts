/**
 * HTTP/2 frames, header blocks, and gRPC and JSON calls of all RPCs behind them: limits hold, every stream is closed once,
 * nothing is left behind, and nothing is thrown that is not an error of the caller's.
 */
import { Hono } from 'hono';
import { encode } from '../../core/wire/binary.ts';
import { toJson } from '../../core/wire/json.ts';
import { grpcHandler } from '../../server/grpc/server.ts';
import { mountGateway } from '../../server/http/gateway.ts';
import { GATEWAY_PATHS } from '../../server/http/gateway-paths.ts';
import { CLIENT_PREFACE, Flag, FrameType, frame } from '../../server/http2/frames.ts';
import type { HeaderField } from '../../server/http2/header-list.ts';
import { HpackDecoder, HpackEncoder, HpackError } from '../../server/http2/hpack.ts';
import type { Http2Stream } from '../../server/http2/stream.ts';
import { Client, POST, REQUEST, type Recorded, record, settings, settle } from '../http2/support.ts';
import { Rig } from '../rpc/rig.ts';
import type { Chance } from './chance.ts';
import type { Target } from './runner.ts';
import { mustBe } from './wire-targets.ts';

const LIST_BYTES_MAX = 2000;
const STREAMS_MAX = 3;
const REQUEST_BYTES_MAX = 1_000_000;
/** Turns of the event loop after which a call that has not answered is waiting for something. */
const TURNS_MAX = 20;

const NAMES = [
  'content-type',
  'te',
  'host',
  'cookie',
  'x',
  'grpc-timeout',
  'content-length',
  ':path',
  'Upper',
  '__proto__',
];
const VALUES = ['', 'application/grpc', 'trailers', '3', '1S', 'x'.repeat(200), 'a\0b', '\xff', '/'];

function fields(chance: Chance): HeaderField[] {
  const more = Array.from({ length: chance.int(4) }, () => [chance.pick(NAMES), chance.pick(VALUES)] as const);
  return [...chance.pick([REQUEST, POST]), ...more];
}

const hpack: Target = {
  name: 'hpack',
  executions: 4000,
  share: 1,
  run(chance) {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(LIST_BYTES_MAX);
    for (let n = 1 + chance.int(5); n > 0; n--) {
      if (chance.one(8)) encoder.resize(chance.pick([0, 100, 4096]));
      const list = fields(chance);
      const block = encoder.encode(list);
      const isWhole = chance.one(2);
      try {
        const found = decoder.decode(isWhole ? block : chance.one(8) ? chance.bytes(60) : chance.mutated(block));
        if (isWhole && !found.tooLarge)
          mustBe(found.fields.join() === list.flat().join(), 'other fields than were sent');
        let bytes = 0;
        for (let i = 0; i < found.fields.length; i += 2)
          bytes += found.fields[i]!.length + found.fields[i + 1]!.length + 32;
        mustBe(bytes <= LIST_BYTES_MAX, `a list of ${bytes} bytes`);
        found.request?.get('x');
      } catch (error) {
        if (!(error instanceof HpackError)) throw error;
        mustBe(!isWhole, `what was encoded is refused: ${error.message}`);
        return;
      }
      // The tables of the two do not agree any more.
      if (!isWhole) return;
    }
  },
};

/** Frames that are nearly right, in any order. */
function frames(chance: Chance, encoder: HpackEncoder, call: (chance: Chance) => [HeaderField[], Buffer]): Buffer {
  const made: Buffer[] = [];
  for (let n = 1 + chance.int(20); n > 0; n--) {
    const id = chance.one(7) ? chance.pick([0, 2, 0x7fffffff]) : 1 + 2 * chance.int(6);
    const flags = chance.one(6) ? chance.int(256) : chance.pick([0, Flag.END_HEADERS, Flag.END_STREAM, 5]);
    const word = Buffer.alloc(4);
    word.writeUInt32BE(chance.pick([0, 1, 8, 65_535, 0x7fffffff, 0xffffffff]));
    switch (chance.int(10)) {
      case 0:
      case 1:
      case 2: {
        const [list, body] = call(chance);
        const block = encoder.encode(list);
        const at = chance.int(block.length);
        if (chance.one(4)) {
          made.push(frame(FrameType.HEADERS, 0, id, block.subarray(0, at)));
          made.push(frame(FrameType.CONTINUATION, Flag.END_HEADERS, id, block.subarray(at)));
        } else made.push(frame(FrameType.HEADERS, Flag.END_HEADERS | (flags & Flag.END_STREAM), id, block));
        if (!chance.one(4)) made.push(frame(FrameType.DATA, chance.one(3) ? 0 : Flag.END_STREAM, id, body));
        break;
      }
      case 3:
        made.push(frame(FrameType.DATA, flags, id, chance.bytes(40)));
        break;
      case 4:
        made.push(frame(FrameType.WINDOW_UPDATE, 0, id, word));
        break;
      case 5:
        made.push(frame(FrameType.RST_STREAM, 0, id, word));
        break;
      case 6:
        made.push(settings([[1 + chance.int(7), chance.pick([0, 1, 100, 16_384, 65_535, 0x7fffffff])]]));
        break;
      case 7:
        made.push(frame(FrameType.PING, flags & 1, 0, chance.bytes(9)));
        break;
      case 8:
        made.push(frame(chance.int(11), flags, id, chance.bytes(40)));
        break;
      default:
        made.push(chance.bytes(20));
    }
  }
  return Buffer.concat(made);
}

/** Sends what is nearly right to a server whose streams `serve` takes, and looks at what is left in the end. */
async function connect(
  chance: Chance,
  serve: (stream: Http2Stream) => void,
  call: (chance: Chance) => [HeaderField[], Buffer],
  more: () => void = () => {},
): Promise<void> {
  const seen: Http2Stream[] = [];
  const client = new Client({
    maxConcurrentStreams: STREAMS_MAX,
    streamWindowBytes: 100,
    onStream: (stream) => {
      seen.push(stream);
      serve(stream);
    },
  });
  try {
    const start = Buffer.concat([CLIENT_PREFACE, settings([])]);
    const tail = frames(chance, new HpackEncoder(), call);
    const bytes = Buffer.concat([
      chance.one(20) ? chance.mutated(start) : start,
      chance.one(3) ? chance.mutated(tail) : tail,
    ]);
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + chance.int(200);
      client.wire.push(Buffer.from(bytes.subarray(at, at + size)));
      at += size;
      mustBe(client.connection.streamCount <= STREAMS_MAX, `${client.connection.streamCount} streams`);
    }
    for (let turn = 0; turn < 2; turn++) {
      more();
      await settle();
    }
  } finally {
    client.destroy();
  }
  mustBe(client.connection.streamCount === 0, 'a stream outlives its connection');
  mustBe(client.connection.queuedBytes === 0, 'something is queued on a connection that has ended');
}

const http2: Target = {
  name: 'http2',
  executions: 800,
  share: 0.5,
  async run(chance) {
    const seen: Recorded[] = [];
    const serve = (stream: Http2Stream) => {
      const answer = chance.pick(['now', 'end', 'never', 'reset', 'large']);
      const respond = () => stream.respond(Buffer.from([0x88]), Buffer.from('body'), Buffer.from([0x89]));
      seen.push(record(stream, answer === 'end' ? { end: respond } : {}));
      if (answer === 'now') respond();
      else if (answer === 'reset') stream.reset(2);
      else if (answer === 'large') {
        stream.sendHeaders([[':status', '200']]);
        stream.sendData(Buffer.alloc(100_000), true);
      }
    };
    await connect(chance, serve, () => [fields(chance), chance.bytes(60)]);
    mustBe(
      seen.every(({ closes }) => closes === 1),
      'a stream was not closed once',
    );
  },
};

/** A call of any RPC with a message that is nearly right. */
function grpcCall(rig: Rig, chance: Chance): [HeaderField[], Buffer] {
  const method = chance.pick(rig.methods);
  const valid = Buffer.from(encode(method.request, chance.message(method.request, 3)));
  const body = chance.one(2) ? valid : chance.mutated(valid);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(chance.one(8) ? chance.pick([0, 1, 0xffffffff, 2_000_000]) : body.length, 1);
  if (chance.one(20)) prefix[0] = chance.int(256);
  const list: HeaderField[] = [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', chance.one(20) ? chance.text() : method.path],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
  ];
  if (chance.one(6)) list.push(['grpc-timeout', chance.pick(['1S', '0n', '99999999H', '-1S', 'x', '100m'])]);
  if (chance.one(6)) list.push(['token', chance.pick(['', 'x', 'abcdefghijklmnop.1'])]);
  if (chance.one(10)) list.push(['grpc-encoding', chance.pick(['gzip', 'identity', 'x'])]);
  return [list, Buffer.concat([prefix, body])];
}

const grpc: Target = {
  name: 'grpc',
  executions: 150,
  share: 0.05,
  async run(chance) {
    const rig = new Rig();
    const bugs: unknown[] = [];
    const handler = grpcHandler(rig.methods, { maxRequestBytes: REQUEST_BYTES_MAX, onBug: (bug) => bugs.push(bug) });
    await connect(
      chance,
      handler,
      () => grpcCall(rig, chance),
      () => rig.settle(),
    );
    rig.settle();
    if (bugs.length > 0) throw bugs[0];
  },
};

const gateway: Target = {
  name: 'gateway',
  executions: 60,
  share: 0.02,
  async run(chance) {
    const rig = new Rig();
    const bugs: unknown[] = [];
    const app = new Hono();
    app.onError((error, c) => {
      bugs.push(error);
      return c.text('', 500);
    });
    mountGateway(app, rig.methods, REQUEST_BYTES_MAX);
    const byPath = new Map(rig.methods.map((method) => [method.path, method]));
    for (let n = 1 + chance.int(4); n > 0; n--) {
      const [path, rpc] = chance.pick(GATEWAY_PATHS);
      const type = byPath.get(rpc)!.request;
      const valid = toJson(type, chance.message(type, 3));
      const body = chance.one(3) ? valid : chance.one(10) ? chance.bytes(60) : chance.mutatedText(valid);
      await post(app, rig, path, body);
    }
    if (bugs.length > 0) throw bugs[0];
  },
};

/** Waits for the answer for as long as anything happens; streams, and what waits for a lock, are left. */
async function post(app: Hono, rig: Rig, path: string, body: string | Buffer): Promise<void> {
  const leave = new AbortController();
  const request = new Request(`http://member${path}`, {
    method: 'POST',
    body: typeof body === 'string' ? body : new Uint8Array(body),
    signal: leave.signal,
  });
  let answer: Response | undefined;
  let isDone = false;
  const answered = Promise.resolve(app.fetch(request)).then((response) => {
    answer = response;
    isDone = true;
  });
  for (let turn = 0; turn < TURNS_MAX && !isDone; turn++) {
    rig.settle();
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (isDone) await answered;
  void answer?.body?.cancel().catch(() => {});
  leave.abort();
  rig.settle();
}

export const http2Targets: readonly Target[] = [hpack, http2, grpc, gateway];
