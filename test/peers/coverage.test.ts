import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { planOf } from '../../core/wire/plan.ts';
import type { MessageType } from '../../core/wire/schema.ts';
import type { Method } from '../../server/rpc/service.ts';
import { METHODS } from '../auth/member.ts';
import { startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { startRoster } from '../support/roster.ts';
import { CASES, type Case, type Here } from './coverage-cases.ts';
import { COVERAGE_DIFFERENCES, NOT_IN_34 } from './coverage-differences.ts';
import { Door, type DoorName, hasJson, type Json, type Seen } from './door.ts';

/**
 * Every RPC x every field of its request (and every value of an enum), through gRPC and as JSON, against Debian's etcd and
 * Roster: the table is made from the schema, no cell of it may be empty, and the answers must be equal, or differ for a
 * reason that is on the list. What etcd 3.4 does not have runs on Roster alone.
 */
const etcd = findPeer('etcd');
const DOORS: readonly DoorName[] = ['gRPC', 'JSON'];

/** Requests that are parts of others: their fields are cells of their own RPC. */
const OWN_ROWS = new Set(
  ['RangeRequest', 'PutRequest', 'DeleteRangeRequest', 'TxnRequest'].map((n) => `etcdserverpb.${n}`),
);

/** The cells of one request: a field, a field of a part, a value of an enum. */
function cellsOf(type: MessageType<object>, path = '', within: readonly string[] = []): string[] {
  return planOf(type).fields.flatMap((field) => {
    const here = `${path}${field.name}`;
    if (field.kind === 'enum') {
      const names = Object.keys(field.enumType!.values);
      // A zero is only seen where the field is a list, or always there.
      return names
        .filter((name) => field.repeated || field.enumType!.values[name] !== 0)
        .map((name) => `${here}=${name}`);
    }
    if (field.kind !== 'message') return [here];
    const part = field.type!();
    if (OWN_ROWS.has(part.name) || within.includes(part.name)) return [here];
    const inner = cellsOf(part, `${here}.`, [...within, part.name]);
    return inner.length === 0 ? [here] : inner;
  });
}

/** The cells that `request` fills. */
function filledBy(type: MessageType<object>, request: object, path = ''): string[] {
  return planOf(type).fields.flatMap((field) => {
    const value = (request as Json)[field.name];
    const here = `${path}${field.name}`;
    return [field.repeated ? ((value as unknown[] | undefined) ?? []) : value].flat().flatMap((item): string[] => {
      if (item === undefined) return [];
      if (field.kind === 'enum') {
        const { values } = field.enumType!;
        return Object.keys(values)
          .filter((name) => values[name] === item)
          .map((name) => `${here}=${name}`);
      }
      if (field.kind === 'message') return [here, ...filledBy(field.type!(), item as object, `${here}.`)];
      return [here];
    });
  });
}

const NO_FIELDS = '(no fields)';

function tableOf(): Map<string, Set<string>> {
  const table = new Map<string, Set<string>>();
  for (const method of METHODS.values()) {
    const cells = cellsOf(method.request);
    table.set(method.path, new Set(cells.length === 0 ? [NO_FIELDS] : cells));
  }
  return table;
}

const ANYONE: Here = { self: 1n, learner: 2n, peerUrl: 'http://a:1' };

describe('the table', () => {
  it('has no empty cell', () => {
    const empty: string[] = [];
    for (const [path, cells] of tableOf()) {
      const method = METHODS.get(path)!;
      const cases = CASES.filter(({ rpc }) => rpc === path);
      const requests = cases.flatMap((one) => one.requests(ANYONE));
      const filled = new Set(requests.flatMap((request) => filledBy(method.request, request)));
      if (requests.length > 0) filled.add(NO_FIELDS);
      for (const cell of cells) if (!filled.has(cell)) empty.push(`${path} ${cell}`);
    }
    expect(empty).toEqual([]);
  });

  it('has no case without an RPC', () => {
    expect(CASES.filter(({ rpc }) => !METHODS.has(rpc))).toEqual([]);
  });
});

class Server {
  readonly here: Here;
  readonly door: Door;
  readonly #names: [string, string][];

  private constructor(door: Door, here: Here, names: [string, string][]) {
    this.door = door;
    this.here = here;
    this.#names = names;
  }

  static async of(endpoint: string): Promise<Server> {
    const door = new Door(endpoint);
    const { messages } = await door.call('gRPC', METHODS.get('/etcdserverpb.Cluster/MemberList')!, [{}], 1);
    const [list] = messages as [{ header: { cluster_id: string }; members: { ID: string; peerURLs: string[] }[] }];
    const { ID, peerURLs } = list.members[0]!;
    const names: [string, string][] = [
      [ID, 'SELF'],
      [list.header.cluster_id, 'CLUSTER'],
      [endpoint, 'HERE'],
      [peerURLs[0]!, 'PEER'],
    ];
    return new Server(door, { self: BigInt(ID), learner: 2n, peerUrl: peerURLs[0]! }, names);
  }

  async run(door: DoorName, method: Method, one: Case): Promise<Seen> {
    const seen = await this.door.call(door, method, one.requests(this.here), one.count);
    const [first] = seen.messages as { member?: { ID: string }; token?: string }[];
    if (method.path.endsWith('MemberAdd') && first?.member !== undefined) this.#learner(first.member.ID);
    return this.#plain(seen);
  }

  #learner(id: string): void {
    this.here.learner = BigInt(id);
    this.#names.push([id, 'LEARNER']);
  }

  /** Without what names the server; lists in an order that means nothing are sorted. */
  #plain(seen: Seen): Seen {
    let text = JSON.stringify(seen);
    for (const [name, meaning] of this.#names) text = text.replaceAll(name, meaning);
    return JSON.parse(text, (name, value: unknown) => {
      if (name === 'raft_term' || name === 'token') return 'SET';
      if (name === 'members' || name === 'leases') {
        return (value as object[]).map((item) => JSON.stringify(item)).sort();
      }
      return value;
    }) as Seen;
  }
}

/** Time goes on between two servers: what is left of a lease is there, or it is not. */
function settled(path: string, seen: Seen): Seen {
  if (!path.endsWith('LeaseTimeToLive')) return seen;
  const messages = seen.messages.map((message) => {
    const left = Number(message.TTL ?? 0);
    // Etcd lists a lease's keys as its map has them, in no order.
    const keys = message.keys as unknown[] | undefined;
    return {
      ...message,
      ...(left > 0 && { TTL: 'SOME' }),
      ...(keys && { keys: [...keys].sort((a, b) => (String(a) < String(b) ? -1 : 1)) }),
    };
  });
  return { ...seen, messages };
}

describe.skipIf(etcd === undefined)('beside etcd', () => {
  let theirs: Server;
  let ours: Server;
  const stops: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    const [one, other] = await Promise.all([
      startEtcd(etcd, ['--bcrypt-cost', '4']),
      startRoster(['--bcrypt-cost', '4']),
    ]);
    stops.push(
      () => one.stop(),
      () => other.stop(),
    );
    [theirs, ours] = await Promise.all([Server.of(one.endpoint), Server.of(other.endpoint)]);
  }, 90_000);
  afterAll(async () => {
    theirs?.door.close();
    ours?.door.close();
    for (const stop of stops) await stop();
  });

  const prepare = async () => {
    const ask = (path: string, request: object) =>
      Promise.all(
        [theirs, ours].map(async ({ door }) => {
          const { refusal } = await door.call('gRPC', METHODS.get(path)!, [request], 1);
          expect(refusal, path).toBeUndefined();
        }),
      );
    await ask('/etcdserverpb.Lease/LeaseGrant', { ID: 100n, TTL: 1000n });
    for (const key of ['a', 'b', 'c', 'd', 'e', 't0']) {
      await ask('/etcdserverpb.KV/Put', { key, value: new Uint8Array(Buffer.from(key)) });
    }
    await ask('/etcdserverpb.Auth/UserAdd', { name: 'root', password: 'root' });
    await ask('/etcdserverpb.Auth/RoleAdd', { name: 'root' });
    await ask('/etcdserverpb.Auth/UserGrantRole', { user: 'root', role: 'root' });
  };
  const login = async (server: Server) => {
    const path = '/etcdserverpb.Auth/Authenticate';
    const { messages } = await server.door.call('gRPC', METHODS.get(path)!, [{ name: 'root', password: 'root' }], 1);
    server.door.token = messages[0]!.token as string;
  };

  it('every cell is answered alike, or differs for a reason', async () => {
    await prepare();
    const unexplained: unknown[] = [];
    const used = new Map<string, number>();
    const counts = { cells: 0, compared: 0, equal: 0, explained: 0, onlyRoster: 0, refusals: 0 };
    for (const cells of tableOf().values()) counts.cells += cells.size;
    for (const door of DOORS) {
      for (const one of CASES) {
        const method = METHODS.get(one.rpc)!;
        if (door === 'JSON' && !hasJson(method)) continue;
        if (one.rpc.endsWith('AuthDisable')) await Promise.all([login(theirs), login(ours)]);
        const mine = settled(one.rpc, await ours.run(door, method, one));
        if (one.rpc.endsWith('AuthDisable')) ours.door.token = '';
        if (mine.refusal !== undefined) counts.refusals++;
        if (NOT_IN_34.has(one.rpc)) {
          expect(mine.messages.length > 0 || mine.refusal !== undefined, one.rpc).toBe(true);
          counts.onlyRoster++;
          continue;
        }
        const other = settled(one.rpc, await theirs.run(door, method, one));
        if (one.rpc.endsWith('AuthDisable')) theirs.door.token = '';
        counts.compared++;
        if (JSON.stringify(sorted(mine)) === JSON.stringify(sorted(other))) {
          counts.equal++;
          continue;
        }
        const found = { rpc: one.rpc, door, request: one.requests(ANYONE), etcd: other, roster: mine };
        const reason = COVERAGE_DIFFERENCES.find((each) => each.explains(found));
        if (reason === undefined) unexplained.push(found);
        else {
          counts.explained++;
          used.set(reason.name, (used.get(reason.name) ?? 0) + 1);
        }
      }
    }
    const rpcs = tableOf().size;
    process.stdout.write(
      `coverage: ${rpcs} RPCs, ${JSON.stringify(counts)}, differences ${JSON.stringify([...used])}\n`,
    );
    expect(
      unexplained.map((found) => JSON.stringify(found, (_k, v: unknown) => (typeof v === 'bigint' ? `${v}` : v))),
    ).toEqual([]);
    const idle = COVERAGE_DIFFERENCES.filter(({ name }) => !used.has(name)).map(({ name }) => name);
    expect(idle, 'explains nothing').toEqual([]);
  }, 300_000);
});

/** Fields in one order: what order they have in JSON means nothing. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, inner]) => [name, sorted(inner)]),
  );
}
