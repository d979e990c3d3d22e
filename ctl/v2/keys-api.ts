/** /v2/keys: requests of the key verbs, their answers, and how these are printed. */

import type { Context } from '../context.ts';
import { PlainError } from '../context.ts';
import { goString } from '../output/go-json.ts';
import { Exit2, failure } from './exit.ts';
import { type Call2, json, type Reply2 } from './store.ts';

export interface Node2 {
  key?: string;
  dir?: boolean;
  value?: string;
  nodes?: Node2[];
  createdIndex?: number;
  modifiedIndex?: number;
  expiration?: string;
  ttl?: number;
}

export interface Event2 {
  action: string;
  node: Node2;
  prevNode?: Node2;
  /** X-Etcd-Index. */
  index: number;
}

interface KeyError {
  errorCode: number;
  message: string;
  cause: string;
  index: number;
}

/** The path of a key; what a URL cannot hold is escaped. */
export function keyPath(key: string): string {
  const segments = key.split('/').filter((segment) => segment !== '');
  return `/v2/keys/${segments.map(encodeURIComponent).join('/')}`;
}

/** Sends one request. Rejects with the server's error, in etcdctl's words. */
export async function callKeys(context: Context, call: Call2): Promise<Event2> {
  const reply = await context.store2.call(call);
  if (reply.status === 200 || reply.status === 201) return eventOf(reply);
  throw keyError(reply);
}

/** Undefined when the answer is empty: a watch that the server has ended. */
export function eventOf(reply: Reply2): Event2 {
  const event = json(reply) as Omit<Event2, 'index'>;
  return { ...event, index: Number(reply.headers['x-etcd-index'] ?? 0) };
}

export function keyError(reply: Reply2): Error {
  const { errorCode, message, cause, index } = json(reply) as Partial<KeyError>;
  const outdated = errorCode === EVENT_INDEX_CLEARED;
  const text = `${errorCode}: ${message} (${cause ?? ''}) [${index ?? 0}]`;
  const error = failure(errorCode === undefined ? reply.text.trim() : text, Exit2.SERVER_ERROR);
  if (errorCode === UNAUTHORIZED) error.hint = 'give --username NAME[:PASSWORD], or ETCDCTL_USERNAME';
  if (outdated)
    error.hint = `that is too long ago to be remembered; the store is at index ${index}: --after-index ${index}`;
  return error;
}

const UNAUTHORIZED = 110;
const EVENT_INDEX_CLEARED = 401;

/** A directory has nothing to show in plain output; all else has. */
export function printUnlessPlainDirectory(context: Context, event: Event2): void {
  if (event.node.dir !== true || context.store2.settings.output !== 'simple') printEvent(context, event);
}

export function printEvent(context: Context, event: Event2): void {
  const { output } = context.store2.settings;
  const { node, prevNode, action, index } = event;
  if (output === 'json') {
    context.print(`{"action":${goString(action)},"node":${nodeJson(node)},"prevNode":${nodeJson(prevNode)}}`);
    return;
  }
  if (output === 'extended') {
    context.print(`Key: ${node.key ?? ''}`);
    context.print(`Created-Index: ${node.createdIndex ?? 0}`);
    context.print(`Modified-Index: ${node.modifiedIndex ?? 0}`);
    if (prevNode !== undefined) context.print(`PrevNode.Value: ${prevNode.value ?? ''}`);
    context.print(`TTL: ${node.ttl ?? 0}`);
    context.print(`Index: ${index}`);
    if (action === 'delete') return;
    context.print('');
  }
  if (action === 'delete') context.print(`PrevNode.Value: ${prevNode?.value ?? ''}`);
  else context.print(node.value ?? '');
}

/** As Go writes the client's struct of a node. */
function nodeJson(node: Node2 | undefined): string {
  if (node === undefined) return 'null';
  const members = [`"key":${goString(node.key ?? '')}`];
  if (node.dir === true) members.push('"dir":true');
  members.push(`"value":${goString(node.value ?? '')}`);
  members.push(`"nodes":${node.nodes === undefined ? 'null' : `[${node.nodes.map(nodeJson).join(',')}]`}`);
  members.push(`"createdIndex":${node.createdIndex ?? 0}`, `"modifiedIndex":${node.modifiedIndex ?? 0}`);
  if (node.expiration !== undefined) members.push(`"expiration":${goString(node.expiration)}`);
  if (node.ttl !== undefined) members.push(`"ttl":${node.ttl}`);
  return `{${members.join(',')}}`;
}

export const isDirectory = (key: string): PlainError => new PlainError(`${key}: is a directory`, Exit2.BAD_ARGUMENTS);
