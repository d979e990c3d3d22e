/**
 * What an RPC is, whichever door it comes through (gRPC, JSON gateway). Handlers in this folder know requests,
 * responses and the store; they never see frames, JSON or HTTP.
 */
import type { RosterError } from '../../core/errors.ts';
import type { ApplyResult } from '../../core/node/machine.ts';
import type { ProposedRequest } from '../../core/node/node.ts';
import type { MessageType } from '../../core/wire/schema.ts';
import type { Copies } from './copies.ts';

/** The circumstances of one call. */
export interface CallContext {
  /** Request metadata by lower-case name; `-bin` values still base64. */
  metadata(name: string): string | undefined;
  /** Address of the peer, for logs. */
  readonly remote: string;
  /** True once the caller has gone, cancelled, or run out of time. */
  readonly cancelled: boolean;
  /** Runs `listener` once when the call is cancelled (deadline included); at once if it already is. */
  onCancel(listener: () => void): void;
  /**
   * Whether what is answered is turned into bytes at once, and into nothing else: then a PiecedReply (pieced-reply.ts) may
   * stand for the response of a unary method, and in a stream a message that has its encoding (encoded.ts) and nothing
   * else, lent until `send` returns.
   */
  readonly takesPieces?: boolean;
  /** The common name in the verified certificate of the client that speaks to this door itself. */
  readonly commonName?: string | undefined;
  /** Whether the caller may; set by the guard while auth is on, and on streams always. */
  admission?: Admission | undefined;
}

/** `undefined`: the call may go on. */
export type CheckDone = (refusal: RosterError | undefined) => void;

/**
 * Whether the caller of one call may do what it asks for. Checks call `done`, perhaps before they return, in the moment in
 * which they have decided: what is done there is done by the same state.
 */
export interface Admission {
  /** Something has been allowed. */
  readonly decided: boolean;
  /** By the state of this member. */
  check(request: object, done: CheckDone): void;
  /** The same, but refuses only when this member has everything that was acknowledged before. */
  checkConfirmed(request: object, done: CheckDone): void;
  /** Whether the caller may be told `response`, where that depends on what it holds. */
  checkAnswer(response: object, done: CheckDone): void;
  /** Whether the caller of a stream may still do what was allowed before: as who it was then, if that has not changed. */
  stillMay(request: object, done: CheckDone): void;
  /** Puts a request into the log in the caller's name. Whether it may is decided where the entry is applied. */
  propose(request: ProposedRequest, done: (result: ApplyResult) => void): void;
}

export interface UnaryMethod<Req extends object = object, Res extends object = object> {
  readonly kind: 'unary';
  /** `/package.Service/Method` */
  readonly path: string;
  readonly request: MessageType<Req>;
  readonly response: MessageType<Res>;
  /** Calls `done` exactly once. Never throws but for a bug. */
  handle(call: CallContext, request: Req, done: UnaryDone<Res>): void;
}

/** A unary method from its path, its two messages, and what it does. */
export function unary<Req extends object, Res extends object>(
  path: string,
  request: MessageType<Req>,
  response: MessageType<Res>,
  handle: UnaryMethod<Req, Res>['handle'],
): UnaryMethod<Req, Res> {
  return { kind: 'unary', path, request, response, handle };
}

export type UnaryDone<Res> = (result: Res | RosterError) => void;

/** The way out of a streaming call. */
export interface Responder<Res extends object> {
  /** Sends one response. False: it is queued, but the peer is slow; hold back until `onDrain` fires. */
  send(response: Res | Copies<Res>): boolean;
  /** Whether `send` may be given Copies (copies.ts): otherwise each is to be sent by itself. */
  readonly takesCopies?: boolean;
  /** Called when a `send` that returned false has been worked off. */
  onDrain: (() => void) | undefined;
  /** Ends the call, OK without an error. Later sends are ignored. */
  end(error?: RosterError): void;
}

/** The way in. */
export interface StreamHandler<Req> {
  message(request: Req): void;
  /** The client has finished sending; the call goes on. */
  halfClose(): void;
  /** The call is over for the client (cancelled, connection lost, deadline): release everything. Called at most once, not after `end`. */
  cancel(): void;
}

/** Both kinds of streaming: a server stream is one whose client sends one message. */
export interface StreamMethod<Req extends object = object, Res extends object = object> {
  readonly kind: 'stream';
  readonly path: string;
  /** The client sends one message, no less and no more. */
  readonly single?: true;
  readonly request: MessageType<Req>;
  readonly response: MessageType<Res>;
  open(call: CallContext, responder: Responder<Res>): StreamHandler<Req>;
}

// biome-ignore lint/suspicious/noExplicitAny: a table holds methods of every type; each checks its own messages
export type Method = UnaryMethod<any, any> | StreamMethod<any, any>;
