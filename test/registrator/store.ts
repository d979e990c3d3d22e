/** The store these tests run against, and ways to make it fail. */
import { connect, createServer, type Socket } from 'node:net';
import type { Event } from '../../client/index.ts';
import { byteStringToUtf8, type Client } from '../../client/index.ts';
import type { Log } from '../../registrator/log.ts';
import { startRoster } from '../support/roster.ts';

export interface RunningStore {
  endpoint: string;
  stop(): Promise<void>;
}

export function startStore(): Promise<RunningStore> {
  return startRoster();
}

/** A TCP relay in front of a store: `cut` breaks every connection and refuses new ones until `mend`. */
export interface Relay {
  endpoint: string;
  cut(): void;
  mend(): void;
  close(): Promise<void>;
}

export async function startRelay(target: string, open = true): Promise<Relay> {
  const [host, port] = target.split(':');
  const sockets = new Set<Socket>();
  let passing = open;
  const server = createServer((near) => {
    if (!passing) {
      near.destroy();
      return;
    }
    const far = connect(Number(port), host);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    passing = false;
    for (const socket of sockets) socket.destroy();
  };
  return {
    endpoint: `127.0.0.1:${(server.address() as { port: number }).port}`,
    cut,
    mend() {
      passing = true;
    },
    async close() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Key -> value and lease of everything under a prefix, and the store's revision. */
export async function contents(
  client: Client,
  prefix: string,
): Promise<{ pairs: Record<string, string>; leases: Set<bigint>; revision: number }> {
  const { kvs, revision } = await client.getPrefix(prefix);
  return {
    pairs: Object.fromEntries(kvs.map((kv) => [byteStringToUtf8(kv.key), Buffer.from(kv.value).toString()])),
    leases: new Set(kvs.map((kv) => kv.lease)),
    revision,
  };
}

/** Every event under a prefix from now on, as `put key value` and `delete key`. */
export async function recordEvents(client: Client, prefix: string, signal: AbortSignal): Promise<string[]> {
  const lines: string[] = [];
  const { revision } = await client.getPrefix(prefix);
  const watch = client.watch(prefix, { prefix: true, start_revision: revision + 1, signal });
  void (async () => {
    for await (const item of watch) if (item.kind === 'events') lines.push(...item.events.map(eventLine));
  })();
  return lines;
}

function eventLine(event: Event): string {
  const key = byteStringToUtf8(event.kv!.key);
  return event.type === 0 ? `put ${key} ${Buffer.from(event.kv!.value).toString()}` : `delete ${key}`;
}

/** A log that keeps its messages, and the reasons given with them. */
export function recordingLog(): Log & { lines: string[]; reasons: string[] } {
  const lines: string[] = [];
  const reasons: string[] = [];
  const keep = (level: string) => (fields: { reason?: string }, message: string) => {
    lines.push(`${level} ${message}`);
    if (fields.reason !== undefined) reasons.push(fields.reason);
  };
  return { lines, reasons, debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') };
}
