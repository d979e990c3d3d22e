/** What a test asks of one member beyond keys and values: its state, its hash, and changes of the membership. */
import { Endpoint } from '../../../client/endpoint.ts';
import type { Method } from '../../../client/methods.ts';
import {
  HashKVRequest,
  HashKVResponse,
  type Member as ListedMember,
  MemberAddRequest,
  MemberAddResponse,
  MemberListRequest,
  MemberListResponse,
  MemberPromoteRequest,
  MemberPromoteResponse,
  MemberRemoveRequest,
  MemberRemoveResponse,
  MoveLeaderRequest,
  MoveLeaderResponse,
  RangeRequest,
  RangeResponse,
  StatusRequest,
  StatusResponse,
} from '../../../core/wire/messages.ts';
import type { MessageType } from '../../../core/wire/schema.ts';

const CALL_TIMEOUT_MS = 5_000;
const PAGE_PAIRS = 1_000;

function method<Req extends object, Res extends object>(
  path: string,
  request: MessageType<Req>,
  response: MessageType<Res>,
): Method<Req, Res> {
  return { path: `/etcdserverpb.${path}`, request, response, repeatable: false };
}

const methods = {
  status: method('Maintenance/Status', StatusRequest, StatusResponse),
  hashKv: method('Maintenance/HashKV', HashKVRequest, HashKVResponse),
  moveLeader: method('Maintenance/MoveLeader', MoveLeaderRequest, MoveLeaderResponse),
  memberList: method('Cluster/MemberList', MemberListRequest, MemberListResponse),
  memberAdd: method('Cluster/MemberAdd', MemberAddRequest, MemberAddResponse),
  memberPromote: method('Cluster/MemberPromote', MemberPromoteRequest, MemberPromoteResponse),
  memberRemove: method('Cluster/MemberRemove', MemberRemoveRequest, MemberRemoveResponse),
  range: method('KV/Range', RangeRequest, RangeResponse),
} as const;

export class Admin {
  readonly #endpoint: Endpoint;

  constructor(endpoint: string) {
    this.#endpoint = new Endpoint(endpoint, undefined);
  }

  status(timeoutMs = CALL_TIMEOUT_MS): Promise<StatusResponse> {
    return this.#call(methods.status, {}, timeoutMs);
  }

  /** `revision` 0: the newest. */
  hashKv(revision: number): Promise<HashKVResponse> {
    return this.#call(methods.hashKv, { revision });
  }

  async moveLeader(targetID: bigint): Promise<void> {
    await this.#call(methods.moveLeader, { targetID });
  }

  async memberList(): Promise<ListedMember[]> {
    return (await this.#call(methods.memberList, { linearizable: true })).members;
  }

  memberAdd(peerUrl: string, isLearner: boolean): Promise<MemberAddResponse> {
    return this.#call(methods.memberAdd, { peerURLs: [peerUrl], isLearner });
  }

  async memberPromote(id: bigint): Promise<void> {
    await this.#call(methods.memberPromote, { ID: id });
  }

  async memberRemove(id: bigint): Promise<void> {
    await this.#call(methods.memberRemove, { ID: id });
  }

  /** What this member itself holds of all keys at `revision`. */
  async content(revision: number): Promise<RangeResponse['kvs']> {
    const kvs: RangeResponse['kvs'] = [];
    for (let key = '\0'; ; ) {
      const page = await this.#call(methods.range, {
        key,
        range_end: '\0',
        revision,
        limit: PAGE_PAIRS,
        serializable: true,
      });
      for (const pair of page.kvs) kvs.push(pair);
      const last = page.kvs.at(-1);
      if (!page.more || last === undefined) return kvs;
      key = `${last.key}\0`;
    }
  }

  close(): void {
    this.#endpoint.close();
  }

  async #call<Req extends object, Res extends object>(
    called: Method<Req, Res>,
    request: Partial<Req>,
    timeoutMs = CALL_TIMEOUT_MS,
  ): Promise<Res> {
    const deadline = Date.now() + timeoutMs;
    if (!(await this.#endpoint.connect(deadline))) throw new Error(`${this.#endpoint.name}: no connection`);
    return this.#endpoint.unary(called, request, deadline);
  }
}
