import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type RunningRoster, startRoster } from '../support/roster.ts';
import { send } from './door.ts';

/**
 * Watches of each kind while the server is stopped once and killed once: each goes on where it was, and has in the end
 * every change, once, whole and in order. ROSTER_KV_WATCHES=1000 is the full size.
 */

const WATCHES = Number(process.env.ROSTER_KV_WATCHES ?? 30);
const RETRY_MS = 50;
/** Before the first restart, between both, and after. */
const WRITES_PER_PHASE = 15;
const TIMEOUT_MS = 900_000;

let server: RunningRoster;
beforeAll(async () => {
  server = await startRoster();
});
afterAll(() => server.stop());

interface Message {
  type?: string;
  revision: number;
  from?: number;
  events?: object[];
}

/** One client, connected again and again. */
abstract class Watcher {
  /** Revisions with their events as text. */
  readonly seen: [number, string][] = [];
  /** The first revision that it was promised. */
  from: number | undefined;
  connections = 0;
  closed = false;
  /** Everything up to it has come. */
  protected last: number | undefined;

  abstract connect(): void;

  protected take(message: Message): void {
    if (message.type === 'watching') {
      this.from ??= message.from!;
      this.last ??= message.from! - 1;
      this.connections++;
    } else if (message.events !== undefined) this.seen.push([message.revision, JSON.stringify(message.events)]);
    // A revision that went back would be asked for twice, and found.
    if (message.type === 'events' || message.type === 'progress' || message.events !== undefined)
      this.last = message.revision;
  }

  protected again(): void {
    if (!this.closed) setTimeout(() => this.connect(), RETRY_MS);
  }

  protected get path(): string {
    return `/kv/w/?watch&prefix${this.last === undefined ? '' : `&rev=${this.last + 1}`}`;
  }

  close(): void {
    this.closed = true;
  }
}

/** What both kinds over HTTP have in common. */
abstract class Reader extends Watcher {
  #request: ClientRequest | undefined;

  protected open(path: string, headers: Record<string, string>, line: (text: string) => void): void {
    if (this.closed) return;
    const [host, port] = server.endpoint.split(':');
    let answered = false;
    const asked = request({ host, port, path, headers, agent: false }, (response: IncomingMessage) => {
      answered = true;
      let rest = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop()!;
        if (response.statusCode === 200) for (const each of lines) line(each);
      });
      response.on('error', () => {});
      response.on('close', () => this.again());
    });
    asked.on('error', () => {
      if (!answered) this.again();
    });
    asked.end();
    this.#request = asked;
  }

  override close(): void {
    super.close();
    this.#request?.destroy();
  }
}

class NdjsonWatcher extends Reader {
  connect(): void {
    this.open(this.path, {}, (line) => this.take(JSON.parse(line) as Message));
  }
}

/** As a browser does it: the URL stays, the last id goes in a header, an event counts when its empty line has come. */
class SseWatcher extends Reader {
  #lastEventId = '';

  connect(): void {
    let [event, id, data] = ['', '', ''];
    const headers = {
      Accept: 'text/event-stream',
      ...(this.#lastEventId === '' ? {} : { 'Last-Event-ID': this.#lastEventId }),
    };
    this.open('/kv/w/?watch&prefix', headers, (line) => {
      if (line.startsWith('event: ')) event = line.slice(7);
      else if (line.startsWith('id: ')) id = line.slice(4);
      else if (line.startsWith('data: ')) data = line.slice(6);
      else if (line === '' && data !== '') {
        if (id !== '') this.#lastEventId = id;
        this.take({ type: event === '' ? 'events' : event, ...(JSON.parse(data) as Message) });
        [event, id, data] = ['', '', ''];
      }
    });
  }
}

class SocketWatcher extends Watcher {
  #socket: WebSocket | undefined;

  connect(): void {
    if (this.closed) return;
    const socket = new WebSocket(`ws://${server.endpoint}${this.path}`);
    socket.on('message', (data: Buffer) => this.take(JSON.parse(data.toString()) as Message));
    socket.on('error', () => {});
    socket.on('close', () => this.again());
    this.#socket = socket;
  }

  override close(): void {
    super.close();
    this.#socket?.terminate();
  }
}

const url = () => `http://${server.endpoint}`;

/** Writes until it is told to stop, whatever happens to the server; every fifth change is of many keys at once. */
async function write(until: () => boolean, onWritten: () => void): Promise<void> {
  for (let i = 0; !until(); i++) {
    const asked =
      i % 5 === 4 ? { path: '/kv/w/g/?prefix', method: 'DELETE' } : { path: `/kv/w/g/${i % 5}`, method: 'PUT' };
    const asking = { method: asked.method, body: `value ${i}` };
    const answer = await send(url(), asked.path, asking).catch(() => undefined);
    if (answer?.status === 200) onWritten();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

it(
  `${WATCHES} watches, two restarts: nothing is lost and nothing comes twice`,
  async () => {
    const watchers = Array.from({ length: WATCHES }, (_, i) => {
      if (i % 3 === 0) return new NdjsonWatcher();
      return i % 3 === 1 ? new SseWatcher() : new SocketWatcher();
    });
    let over = false;
    const everyone = (connections: number) => () =>
      watchers.filter((watcher) => watcher.connections < connections).length;
    const patience = { timeout: 200_000, interval: 200 };
    try {
      for (const watcher of watchers) watcher.connect();
      await expect.poll(everyone(1), patience).toBe(0);
      let written = 0;
      const writing = write(
        () => over,
        () => written++,
      );
      const someMore = async () => {
        const enough = written + WRITES_PER_PHASE;
        await expect.poll(() => written, patience).toBeGreaterThan(enough);
      };
      await someMore();
      expect(await server.terminate()).toBe(0);
      await server.start();
      await expect.poll(everyone(2), patience).toBe(0);
      await someMore();
      await server.kill();
      await server.start();
      await expect.poll(everyone(3), patience).toBe(0);
      await someMore();
      over = true;
      await writing;
      const end = (await send(url(), '/kv/w/end', { method: 'PUT', body: 'end' })).json.revision as number;
      await expect.poll(() => watchers.filter(({ seen }) => seen.at(-1)?.[0] !== end).length, patience).toBe(0);

      const all = new NdjsonWatcher();
      watchers.push(all);
      all.from = 1;
      Object.assign(all, { last: 0 });
      all.connect();
      await expect.poll(() => all.seen.at(-1)?.[0], patience).toBe(end);
      expect(all.seen.length).toBeGreaterThan(3 * WRITES_PER_PHASE);
      expect(all.seen.filter(([, events]) => (JSON.parse(events) as object[]).length > 1).length).toBeGreaterThan(2);
      for (const { seen, from } of watchers) expect(seen).toEqual(all.seen.filter(([revision]) => revision >= from!));
    } finally {
      over = true;
      for (const watcher of watchers) watcher.close();
    }
  },
  TIMEOUT_MS,
);
