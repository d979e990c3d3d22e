/**
 * Questions over HTTP to members of a cluster that this one does not belong to yet, or cannot reach otherwise. What comes
 * back is checked like anything from outside. Asks each URL once.
 */
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { GrpcStatus, otherError } from '../../core/errors.ts';
import type { Member } from '../../core/wire/messages.ts';
import { dialOptions, type Tls } from '../tls/tls.ts';
import { CLUSTER_ID_HEADER, idOf } from './handshake.ts';
import { PEER_DEFAULTS } from './limits.ts';
import type { MemberVersion } from './peer-answers.ts';
import type { KeysHash } from './peer-app.ts';

export interface AskOptions {
  readonly tls?: Tls | undefined;
  /** For each URL, from the first packet to the last. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** What a running member tells of its cluster. */
export interface ClusterMembers {
  readonly clusterId: bigint;
  readonly members: Member[];
}

/** The members, from the first of the peer URLs that answers; RosterError UNAVAILABLE, with every reason, when none does. */
export async function fetchMembers(urls: readonly string[], options: AskOptions): Promise<ClusterMembers> {
  const { membersSchema } = await loadSchemas();
  return firstAnswer(urls, '/members', options, ({ body, clusterId }) => {
    const id = idOf(clusterId);
    if (id === undefined) throw new Error(`an answer without ${CLUSTER_ID_HEADER}`);
    // JSON.parse would round the ids. Within a string this cannot stand: its quotes would be escaped.
    const members = membersSchema.parse(JSON.parse(body.replace(/"id"\s*:\s*(\d+)/g, '"id":"$1"')));
    return {
      clusterId: id,
      members: members.map((member) => ({
        ID: member.id,
        name: member.name,
        peerURLs: member.peerURLs,
        clientURLs: member.clientURLs ?? [],
        isLearner: member.isLearner,
      })),
    };
  });
}

/** The versions, from the first of the peer URLs that answers; RosterError UNAVAILABLE, with every reason, when none does. */
export async function fetchVersion(urls: readonly string[], options: AskOptions): Promise<MemberVersion> {
  const { versionSchema } = await loadSchemas();
  return firstAnswer(urls, '/version', options, ({ body }) => versionSchema.parse(JSON.parse(body)));
}

/** The hash of the keys at `revision`, from the first of the peer URLs that answers; RosterError UNAVAILABLE when none does. */
export async function fetchHash(urls: readonly string[], revision: number, options: AskOptions): Promise<KeysHash> {
  const { hashSchema } = await loadSchemas();
  const path = `/members/hashkv?revision=${revision}`;
  return firstAnswer(urls, path, options, ({ body }) => hashSchema.parse(JSON.parse(body)));
}

/** A member alone never asks: its start does without the library they are made with. */
const loadSchemas = () => import('./peer-answers.ts');

interface Answer {
  readonly body: string;
  readonly clusterId: string | string[] | undefined;
}

async function firstAnswer<T>(
  urls: readonly string[],
  path: string,
  options: AskOptions,
  read: (answer: Answer) => T,
): Promise<T> {
  const reasons: string[] = [];
  for (const url of urls) {
    try {
      return read(await ask(new URL(path, url), options));
    } catch (error) {
      options.signal?.throwIfAborted();
      const { name, message } = error as Error;
      const isOther = name === 'ZodError' || name === 'SyntaxError';
      reasons.push(`${url}: ${isOther ? 'not the answer of a member' : message}`);
    }
  }
  throw otherError(GrpcStatus.UNAVAILABLE, `no member answers: ${reasons.join('; ') || 'there is no URL to ask'}`);
}

function ask(url: URL, options: AskOptions): Promise<Answer> {
  const { tls, timeoutMs, signal } = options;
  const secure = url.protocol === 'https:';
  const timeout = AbortSignal.timeout(timeoutMs);
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      reject(timeout.aborted ? new Error(`no answer within ${timeoutMs} ms`) : error);
    };
    const request = (secure ? requestHttps : requestHttp)(url, {
      // A connection of its own: none is kept.
      agent: false,
      signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]),
      ...(secure ? dialOptions(tls) : {}),
    });
    request.on('error', fail);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('error', fail);
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > PEER_DEFAULTS.answerBytesMax) {
          fail(new Error(`an answer of more than ${PEER_DEFAULTS.answerBytesMax} bytes`));
          request.destroy();
        } else chunks.push(chunk);
      });
      response.on('end', () => {
        const body = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve({ body, clusterId: response.headers[CLUSTER_ID_HEADER] });
        else fail(new Error(`status ${response.statusCode}: ${body.slice(0, PEER_DEFAULTS.refusalBytesMax).trim()}`));
      });
    });
    request.end();
  });
}
