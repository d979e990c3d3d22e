/** /v2/members and /v2/machines (etcd: v2http.membersHandler), by way of the Cluster RPCs. Owns the forms only. */
import type { Context } from 'hono';
import { RosterError } from '../../core/errors.ts';
import type { Member, MemberAddResponse, MemberListResponse } from '../../core/wire/messages.ts';
import { type Admin, type Asked, HttpRefusal } from './admin.ts';
import { targetOf } from './call.ts';
import { notAllowed } from './keys.ts';

const CLUSTER = '/etcdserverpb.Cluster/';
const PREFIX = '/v2/members';

export class MembersHandler {
  readonly #admin: Admin;

  constructor(admin: Admin) {
    this.#admin = admin;
  }

  handle(c: Context): Promise<Response> {
    const name = targetOf(c).path.slice(PREFIX.length).replace(/^\//, '');
    return this.#admin.run(c, ['GET', 'POST', 'DELETE', 'PUT'], (asked) => {
      if (asked.method === 'GET') return this.#get(asked, name);
      if (asked.method === 'POST') return this.#add(asked);
      return this.#change(asked, name);
    });
  }

  machines(c: Context): Promise<Response> {
    return this.#admin.run(c, ['GET', 'HEAD'], async (asked) => {
      const members = await this.#list(asked);
      if (members instanceof RosterError) return members;
      const urls = members.flatMap(({ clientURLs }) => clientURLs).sort();
      return new Response(urls.join(', '), { headers: { 'Content-Type': 'text/plain; charset=utf-8' } });
    });
  }

  async #get(asked: Asked, name: string): Promise<Response | HttpRefusal | RosterError> {
    const members = await this.#list(asked);
    if (members instanceof RosterError) return members;
    if (name === '') return asked.json({ members: members.map(shown) });
    if (name !== 'leader') return new HttpRefusal(404, 'Not found');
    const { leader } = this.#admin.context.node.status();
    const member = members.find(({ ID }) => ID === leader);
    return member === undefined ? new HttpRefusal(503, 'During election') : asked.json(shown(member));
  }

  async #add(asked: Asked): Promise<Response | HttpRefusal | RosterError> {
    const peerURLs = await peerUrls(asked);
    if (peerURLs instanceof HttpRefusal) return peerURLs;
    const added = await asked.rpc<MemberAddResponse>(`${CLUSTER}MemberAdd`, { peerURLs, isLearner: false });
    return added instanceof RosterError ? refusalOf(added, '') : asked.json(shown(added.member!), 201);
  }

  async #change(asked: Asked, name: string): Promise<Response | HttpRefusal | RosterError> {
    if (name === '') return notAllowed(['GET', 'POST']);
    const noSuch = new HttpRefusal(404, `No such member: ${name}`);
    const ID = /^[0-9a-fA-F]{1,16}$/.test(name) ? BigInt(`0x${name}`) : undefined;
    if (ID === undefined) return noSuch;
    let result: object;
    if (asked.method === 'DELETE') result = await asked.rpc(`${CLUSTER}MemberRemove`, { ID });
    else {
      const peerURLs = await peerUrls(asked);
      if (peerURLs instanceof HttpRefusal) return peerURLs;
      result = await asked.rpc(`${CLUSTER}MemberUpdate`, { ID, peerURLs });
    }
    if (!(result instanceof RosterError)) return asked.empty(204);
    if (result.code === 'MemberNotFound' && this.#admin.context.machine.membership.isRemoved(ID)) {
      return new HttpRefusal(410, `Member permanently removed: ${name}`);
    }
    return refusalOf(result, name);
  }

  async #list(asked: Asked): Promise<Member[] | RosterError> {
    const listed = await asked.rpc<MemberListResponse>(`${CLUSTER}MemberList`, { linearizable: false });
    return listed instanceof RosterError ? listed : listed.members;
  }
}

async function peerUrls(asked: Asked): Promise<string[] | HttpRefusal> {
  if (asked.contentType !== 'application/json') {
    return new HttpRefusal(415, `Bad Content-Type ${asked.contentType}, accept application/json`);
  }
  const body = await asked.body();
  if (body === undefined) return new HttpRefusal(400, 'the request body is not a JSON object');
  const urls = body.peerURLs;
  if (!Array.isArray(urls) || urls.length === 0 || !urls.every((url) => typeof url === 'string')) {
    return new HttpRefusal(400, 'no valid URLs given');
  }
  return urls;
}

function refusalOf(error: RosterError, id: string): HttpRefusal | RosterError {
  if (error.code === 'MemberNotFound') return new HttpRefusal(404, `No such member: ${id}`);
  if (error.code === 'PeerURLExist') return new HttpRefusal(409, 'membership: peerURL exists');
  if (error.code === 'MemberExist') return new HttpRefusal(409, 'membership: ID exists');
  if (error.code === 'MemberBadURLs') return new HttpRefusal(400, error.message);
  return error;
}

function shown({ ID, name, peerURLs, clientURLs }: Member): object {
  return { id: ID.toString(16), name, peerURLs, clientURLs };
}
