/**
 * Questions over HTTP to members of a cluster that this one does not belong to yet, or cannot reach otherwise. What comes
 * back is checked like anything from outside. Asks each URL once.
 */
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { z } from 'zod';
import { GrpcStatus, otherError } from '../../core/errors.ts';
import type { Member } from '../../core/wire/messages.ts';
import { dialOptions, type Tls } from '../tls/tls.ts';
import { CLUSTER_ID_HEADER, idOf } from './handshake.ts';
import { PEER_DEFAULTS } from './limits.ts';
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

const UINT64_MAX = 2n ** 64n - 1n;

const membersSchema = z.array(
  z.object({
    id: z
      .string()
      .regex(/^\d{1,20}$/)
      .transform(BigInt)
      .refine((id) => id > 0n && id <= UINT64_MAX),
    peerURLs: z.array(z.string()),
    isLearner: z.boolean().default(false),
    name: z.string().default(''),
    clientURLs: z.array(z.string()).nullish(),
  }),
);

const versionSchema = z.object({ etcdserver: z.string(), etcdcluster: z.string(), storage: z.string().default('') });
const hashSchema = z.object({
  hash: z.number().int(),
  revision: z.number().int(),
  compactRevision: z.number().int(),
  currentRevision: z.number().int(),
});
export type MemberVersion = z.infer<typeof versionSchema>;

/** The members, from the first of the peer URLs that answers; RosterError UNAVAILABLE, with every reason, when none does. */
export function fetchMembers(urls: readonly string[], options: AskOptions): Promise<ClusterMembers> {
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
export function fetchVersion(urls: readonly string[], options: AskOptions): Promise<MemberVersion> {
  return firstAnswer(urls, '/version', options, ({ body }) => versionSchema.parse(JSON.parse(body)));
}

/** The hash of the keys at `revision`, from the first of the peer URLs that answers; RosterError UNAVAILABLE when none does. */
export function fetchHash(urls: readonly string[], revision: number, options: AskOptions): Promise<KeysHash> {
  const path = `/members/hashkv?revision=${revision}`;
  return firstAnswer(urls, path, options, ({ body }) => hashSchema.parse(JSON.parse(body)));
}

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
      const text = error instanceof z.ZodError || error instanceof SyntaxError ? 'not the answer of a member' : '';
      reasons.push(`${url}: ${text || (error as Error).message}`);
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
