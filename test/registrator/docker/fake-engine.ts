/** A Docker engine made of a map: the few calls the registrator makes, over a unix socket, with every fault on request. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ContainerInspect, EngineEvent } from '../../../registrator/docker/engine.ts';

export class FakeEngine {
  readonly containers = new Map<string, ContainerInspect>();
  readonly requests: string[] = [];
  /** Events are lost instead of sent. */
  deaf = false;
  /** Every call but the ping answers with this status. */
  failStatus = 0;
  /** Answers to inspections wait this long; asked anew for each. */
  inspectDelayMs: (id: string) => number = () => 0;
  /** Taken before the wait (what a slow daemon would answer), not after it. */
  staleInspections = false;
  inspectionsAtOnceMax = 0;
  #inspections = 0;
  readonly #server = createServer((request, response) => void this.#serve(request.url ?? '', response));
  readonly #streams = new Set<ServerResponse>();
  readonly #sockets = new Set<Socket>();
  #folder = '';
  #clockNano = BigInt(Date.now()) * 1_000_000n;
  #ports = 32_768;

  constructor() {
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  get socketPath(): string {
    return join(this.#folder, 'docker.sock');
  }

  get streams(): number {
    return this.#streams.size;
  }

  async open(): Promise<void> {
    this.#folder ||= await mkdtemp(join(tmpdir(), 'roster-engine-'));
    await new Promise<void>((resolve) => this.#server.listen(this.socketPath, resolve));
  }

  /** Breaks every connection and stops listening. */
  async hide(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async close(): Promise<void> {
    if (this.#server.listening) await this.hide();
    await rm(this.#folder, { recursive: true, force: true });
  }

  endStreams(): void {
    for (const stream of this.#streams) stream.end();
    this.#streams.clear();
  }

  /** Ends every stream in the middle of an event. */
  breakStreams(): void {
    for (const stream of this.#streams) {
      stream.write('{"Type":"container","Act');
      stream.socket?.destroy();
    }
    this.#streams.clear();
  }

  /** Starts (again) a container with one published port, a new one each time; returns the host port. */
  start(id: string, over: Partial<ContainerInspect> = {}): number {
    const port = this.#ports++;
    const [seconds, nanos] = [this.#tick() / 1_000_000_000n, this.#clockNano % 1_000_000_000n];
    const startedAt = `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${String(nanos).padStart(9, '0')}Z`;
    this.containers.set(id, {
      Id: id,
      Name: `/${id}`,
      Config: { Image: 'web:1' },
      HostConfig: { NetworkMode: 'default' },
      NetworkSettings: { Ports: { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: String(port) }] }, Networks: {} },
      ...over,
      State: { Running: true, StartedAt: startedAt, ...over.State },
    });
    this.emit(id, 'start');
    return port;
  }

  /** Ends a container; it stays known, as without `--rm`. */
  die(id: string, exitCode = 0): void {
    const container = this.containers.get(id)!;
    container.State = { ...container.State, Running: false, ExitCode: exitCode };
    container.NetworkSettings = { Ports: {}, Networks: {} };
    this.emit(id, 'die', { exitCode: String(exitCode) });
  }

  destroy(id: string): void {
    this.containers.delete(id);
    this.emit(id, 'destroy');
  }

  emit(id: string, action: string, attributes: Record<string, string> = {}): void {
    this.send({
      Type: 'container',
      Action: action,
      Actor: { ID: id, Attributes: attributes },
      timeNano: Number(this.#tick()),
    });
  }

  send(event: EngineEvent): void {
    if (this.deaf) return;
    // In two pieces: a line may arrive in any number of them.
    const line = `${JSON.stringify(event)}\n`;
    for (const stream of this.#streams) {
      stream.write(line.slice(0, 20));
      stream.write(line.slice(20));
    }
  }

  /** A millisecond later than the last time asked: JSON's numbers cannot tell apart what is closer than 256 ns. */
  #tick(): bigint {
    this.#clockNano += 1_000_000n;
    return this.#clockNano;
  }

  async #serve(url: string, response: ServerResponse): Promise<void> {
    this.requests.push(url);
    if (url === '/_ping') {
      response.writeHead(200, { 'api-version': '1.41' }).end('OK');
      return;
    }
    if (this.failStatus !== 0) {
      response.writeHead(this.failStatus).end('{"message":"as asked"}');
      return;
    }
    const path = url.replace(/^\/v1\.41/, '').replace(/\?.*/, '');
    if (path === '/events') {
      response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
      this.#streams.add(response);
      response.on('close', () => this.#streams.delete(response));
    } else if (path === '/containers/json') json(response, this.#list());
    else await this.#inspect(path.split('/')[2] ?? '', response);
  }

  #list(): object[] {
    const running = [...this.containers.values()].filter(({ State }) => State.Running);
    return running.map((container) => ({
      Id: container.Id,
      Names: [container.Name],
      State: container.State.Paused ? 'paused' : 'running',
      Status: `Up 3 minutes${container.State.Health?.Status ? ` (${container.State.Health.Status})` : ''}`,
      Ports: Object.entries(container.NetworkSettings?.Ports ?? {}).flatMap(([name, bindings]) =>
        (bindings ?? []).map(({ HostIp, HostPort }) => ({
          IP: HostIp,
          PublicPort: Number(HostPort),
          PrivatePort: Number.parseInt(name, 10),
          Type: 'tcp',
        })),
      ),
    }));
  }

  async #inspect(id: string, response: ServerResponse): Promise<void> {
    const early = structuredClone(this.containers.get(id));
    const delayMs = this.inspectDelayMs(id);
    this.inspectionsAtOnceMax = Math.max(this.inspectionsAtOnceMax, ++this.#inspections);
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
    this.#inspections--;
    const container = this.staleInspections ? early : this.containers.get(id);
    if (container === undefined) response.writeHead(404).end('{"message":"No such container"}');
    else json(response, container);
  }
}

function json(response: ServerResponse, body: object): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
