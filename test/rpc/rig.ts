/** One member with real parts but its disk and its network, and calls of its RPCs as a transport makes them. */
import { createStateMachine } from '../../core/apply/create.ts';
import { RosterError } from '../../core/errors.ts';
import { MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import { Node } from '../../core/node/node.ts';
import type { PeerMessage } from '../../core/node/peer-message.ts';
import { nodeConfig } from '../../core/node/world.ts';
import { ConfState, type Message, MessageType, newMessage } from '../../core/raft/messages.ts';
import { crc32 } from '../../core/util/crc32.ts';
import { Prng } from '../../core/util/prng.ts';
import { decode, defaults, encode } from '../../core/wire/binary.ts';
import type * as m from '../../core/wire/messages.ts';
import type { MessageType as WireType } from '../../core/wire/schema.ts';
import { type RpcContext, rpcContext } from '../../server/rpc/context.ts';
import { allMethods } from '../../server/rpc/methods.ts';
import type { CallContext, Method, Responder, StreamHandler } from '../../server/rpc/service.ts';

export interface RigOptions {
  id?: bigint;
  voters?: bigint[];
  learners?: bigint[];
}

export class Rig {
  readonly node: Node;
  readonly context: RpcContext;
  readonly sent: PeerMessage[] = [];
  ms = 1_000_000;
  readonly #methods: Map<string, Method>;
  readonly #tasks: (() => void)[] = [];

  constructor({ id = 1n, voters = [id], learners = [] }: RigOptions = {}) {
    const defer = (task: () => void) => void this.#tasks.push(task);
    const clock = { nowMs: () => this.ms };
    const machine = createStateMachine({ backend: new MemoryBackend(defer), clock });
    const members = [...voters, ...learners].map((ID) => memberOf(ID, learners.includes(ID)));
    machine.bootstrap(members, { ...defaults(ConfState), voters, learners });
    const world = {
      wal: {
        append: (_entries: unknown, _hardState: unknown, done: () => void) => defer(() => done()),
        reset: (_index: unknown, _term: unknown, _hardState: unknown, done: () => void) => defer(() => done()),
        release: () => {},
        close: (done: () => void) => defer(() => done()),
      },
      machine,
      transport: { send: (messages: readonly PeerMessage[]) => void this.sent.push(...messages) },
      schedule: defer,
      scheduleIdle: defer,
      crc32,
      clock,
      prng: new Prng(1),
      onFatal: (error: RosterError) => {
        throw error;
      },
    };
    const start = { hardState: undefined, prevIndex: 0, prevTerm: 0, entries: [] };
    this.node = new Node(nodeConfig(id), world, start);
    machine.onWork = () => this.node.requestWork();
    const limits = { maxTxnOps: 128, maxRequestBytes: 1_000_000 };
    this.context = rpcContext({ identity: { clusterId: 77n, memberId: id }, node: this.node, machine, limits });
    this.#methods = new Map(allMethods(this.context).map((method) => [method.path, method]));
    this.node.start();
    this.settle();
  }

  settle(): void {
    for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) task();
  }

  tick(count = 1): void {
    for (let i = 0; i < count; i++) {
      this.ms += 100;
      this.node.tick();
      this.settle();
    }
  }

  /** Member `from` says that it leads. */
  heartbeatFrom(from: bigint, term = 1): void {
    const raft: Message = { ...newMessage(MessageType.values.HEARTBEAT, this.node.id, term), from };
    this.node.step({ from, to: this.node.id, raft, snapshot: 0n });
    this.settle();
  }

  get paths(): { path: string; kind: Method['kind'] }[] {
    return [...this.#methods.values()].map(({ path, kind }) => ({ path, kind }));
  }

  /** All of them, as the doors get them. */
  get methods(): Method[] {
    return [...this.#methods.values()];
  }

  /** A unary call, with everything done that it leads to. Its result; `undefined` while it waits. */
  call(path: string, request: object = {}, metadata: Record<string, string> = {}): object | undefined {
    const method = this.#method(path);
    if (method.kind !== 'unary') throw new Error(`${path} is a stream`);
    let result: object | undefined;
    const full = { ...defaults(method.request), ...request };
    method.handle(callContext(metadata), full, (answer: object) => {
      if (result !== undefined) throw new Error('answered twice');
      result = answer;
    });
    this.settle();
    return result;
  }

  /** The result of a call that must succeed. */
  ok<T>(path: string, request: object = {}): T {
    const result = this.call(path, request);
    if (result === undefined || result instanceof RosterError) throw result ?? new Error('no answer');
    return result as T;
  }

  /** The code of a refusal, 'ok', or 'waits'. */
  code(path: string, request: object = {}, metadata: Record<string, string> = {}): string {
    const result = this.call(path, request, metadata);
    if (result === undefined) return 'waits';
    return result instanceof RosterError ? result.code : 'ok';
  }

  /** A unary call that may wait, and be cancelled: see {@link Pending}. */
  begin(path: string, request: object = {}, metadata: Record<string, string> = {}): Pending {
    const method = this.#method(path);
    if (method.kind !== 'unary') throw new Error(`${path} is a stream`);
    const pending = new Pending(metadata);
    method.handle(pending, { ...defaults(method.request), ...request }, (answer: object) => pending.answered(answer));
    return pending;
  }

  /** Lets everything happen that can, promises included. */
  async rest(): Promise<void> {
    for (let i = 0; i < 30; i++) {
      this.settle();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** `takesPieces`: through a door that makes bytes of all it is given. */
  open(path: string, metadata: Record<string, string> = {}, takesPieces = false): Stream {
    const method = this.#method(path);
    if (method.kind !== 'stream') throw new Error(`${path} is no stream`);
    const stream = new Stream(takesPieces ? method.response : undefined);
    stream.handler = method.open({ ...callContext(metadata), takesPieces }, stream);
    this.settle();
    return stream;
  }

  #method(path: string): Method {
    const method = this.#methods.get(path);
    if (method === undefined) throw new Error(`no method ${path}`);
    return method;
  }
}

/** A unary call under way. */
export class Pending implements CallContext {
  readonly remote = '';
  cancelled = false;
  result: object | undefined;
  readonly #metadata: Record<string, string>;
  readonly #listeners: (() => void)[] = [];

  constructor(metadata: Record<string, string>) {
    this.#metadata = metadata;
  }

  /** 'ok', the text of a refusal, or 'waits'. */
  get outcome(): string {
    if (this.result === undefined) return 'waits';
    return this.result instanceof RosterError ? this.result.message : 'ok';
  }

  metadata(name: string): string | undefined {
    return this.#metadata[name];
  }

  onCancel(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** The caller leaves. */
  cancel(): void {
    this.cancelled = true;
    for (const listener of this.#listeners.splice(0)) listener();
  }

  answered(result: object): void {
    if (this.result !== undefined) throw new Error('answered twice');
    this.result = result;
  }
}

/** What a transport keeps of a streaming call. */
export class Stream implements Responder<object> {
  handler!: StreamHandler<object>;
  onDrain: (() => void) | undefined;
  readonly sent: object[] = [];
  /** How it ended: 'ok' or the code; `undefined` while it is open. */
  ended: string | undefined;
  readonly #type: WireType<object> | undefined;

  /** With a type it makes bytes of each response at once, since their memory may be lent. */
  constructor(type?: WireType<object>) {
    this.#type = type;
  }

  send(response: object): boolean {
    const type = this.#type;
    this.sent.push(type === undefined ? response : decode(type, encode(type, response)));
    return true;
  }

  end(error?: RosterError): void {
    if (this.ended !== undefined) throw new Error('ended twice');
    this.ended = error?.code ?? 'ok';
  }
}

function callContext(metadata: Record<string, string>): CallContext {
  return { metadata: (name) => metadata[name], remote: '', cancelled: false, onCancel: () => {} };
}

function memberOf(ID: bigint, isLearner: boolean): m.Member {
  return { ID, name: `m${ID}`, peerURLs: [`http://m${ID}:2380`], clientURLs: [`http://m${ID}:2379`], isLearner };
}
