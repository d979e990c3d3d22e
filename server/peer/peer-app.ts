/** What a member answers over plain HTTP on its peer URLs, as etcd's members do: who is in the cluster, and versions. */
import { Hono } from 'hono';
import { RosterError } from '../../core/errors.ts';
import type { Member } from '../../core/wire/messages.ts';
import type { Identity } from '../rpc/context.ts';
import { CLUSTER_ID_HEADER, hexId, LANE_PATHS } from './handshake.ts';

export interface PeerAnswers {
  /** The members of the cluster as this one knows them. */
  readonly members: () => readonly Member[];
  readonly version: () => { etcdserver: string; etcdcluster: string; storage: string };
  /** '' or what is wrong, in the words of etcd's /health. */
  readonly health: () => Promise<string>;
  /** The hash of the keys at a revision; rejects with a RosterError when there is none to be had. */
  readonly hashKv?: (revision: number) => Promise<KeysHash>;
}

export interface KeysHash {
  readonly hash: number;
  /** What was hashed, and by which compaction. */
  readonly revision: number;
  readonly compactRevision: number;
  /** Of the store at the time. */
  readonly currentRevision: number;
}

/** `onBug`: a request failed in a way nobody foresaw. */
export function createPeerApp(identity: Identity, answers: PeerAnswers, onBug: (error: Error) => void): Hono {
  const app = new Hono();
  app.onError((error, c) => {
    onBug(error);
    return c.text('internal error\n', 500);
  });
  app.get('/version', (c) => c.json(answers.version()));
  app.get('/members', (c) =>
    c.text(membersJson(answers.members()), 200, {
      'Content-Type': 'application/json',
      [CLUSTER_ID_HEADER]: hexId(identity.clusterId),
    }),
  );
  app.get('/health', async (c) => {
    const reason = await answers.health();
    return c.json({ health: String(reason === ''), reason }, reason === '' ? 200 : 503);
  });
  app.get('/members/hashkv', async (c) => {
    const revision = Number(c.req.query('revision') ?? '0');
    if (answers.hashKv === undefined || !Number.isSafeInteger(revision)) return c.text('Not Found\n', 404);
    try {
      return c.json(await answers.hashKv(revision));
    } catch (error) {
      if (error instanceof RosterError) return c.text(`${error.message}\n`, 503);
      throw error;
    }
  });
  for (const path of ['/version', '/members', '/health', '/members/hashkv']) {
    app.all(path, (c) => c.text('Method Not Allowed\n', 405, { Allow: 'GET' }));
  }
  for (const path of Object.values(LANE_PATHS)) {
    app.all(path, (c) => c.text('only a WebSocket can be opened here\n', 426, { Upgrade: 'websocket' }));
  }
  return app;
}

/** etcd's JSON: ids are numbers of 64 bits, which JSON.stringify cannot write. */
export function membersJson(members: readonly Member[]): string {
  const objects = members.map(({ ID, name, peerURLs, clientURLs, isLearner }) => {
    const rest = {
      peerURLs,
      ...(isLearner ? { isLearner } : {}),
      ...(name === '' ? {} : { name }),
      ...(clientURLs.length === 0 ? {} : { clientURLs }),
    };
    return `{"id":${ID},${JSON.stringify(rest).slice(1)}`;
  });
  return `[${objects.join(',')}]\n`;
}
