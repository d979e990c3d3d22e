import type * as m from '../../core/wire/messages.ts';

/**
 * The key space as the documentation tells it: every revision is a whole copy of the map, every question is answered
 * by looking at all keys. An oracle for the state machine: slow, short, and without shared code.
 */
export class Model {
  revision = 1;
  compacted = -1;
  readonly states = new Map<number, Map<string, m.KeyValue>>([[1, new Map()]]);
  readonly leases = new Set<bigint>();

  get now(): Map<string, m.KeyValue> {
    return this.states.get(this.revision)!;
  }

  put(request: m.PutRequest): object {
    if (request.lease !== 0n && !this.leases.has(request.lease)) return refused('LeaseNotFound');
    const draft = new Draft(this);
    if ((request.ignore_value || request.ignore_lease) && !draft.state.has(request.key)) return refused('KeyNotFound');
    const response = draft.put(request);
    draft.end();
    return response;
  }

  deleteRange(request: m.DeleteRangeRequest): object {
    const draft = new Draft(this);
    const response = draft.deleteRange(request);
    draft.end();
    return response;
  }

  txn(request: m.TxnRequest): object {
    const before = this.now;
    const refusal = this.#check(request, before);
    if (refusal !== undefined) return refused(refusal);
    const draft = new Draft(this);
    const response = draft.txn(request, before);
    draft.end();
    return { ...response, header: header(this.revision) };
  }

  range(request: m.RangeRequest): object {
    if (request.revision > this.revision) return refused('FutureRev');
    if (request.revision > 0 && request.revision < this.compacted) return refused('Compacted');
    return answer(request, this.states.get(request.revision > 0 ? request.revision : this.revision)!, this.revision);
  }

  compact(revision: number): object {
    if (revision <= this.compacted) return refused('Compacted');
    if (revision > this.revision) return refused('FutureRev');
    this.compacted = revision;
    return { header: header(this.revision) };
  }

  revoke(id: bigint): object {
    if (!this.leases.delete(id)) return refused('LeaseNotFound');
    const draft = new Draft(this);
    for (const [key, kv] of [...draft.state]) if (kv.lease === id) draft.remove(key);
    draft.end();
    return { header: header(this.revision) };
  }

  #check(request: m.TxnRequest, before: Map<string, m.KeyValue>, deleted: string[] = []): string | undefined {
    for (const op of chosen(request, before)) {
      const { request_range: range, request_put: put, request_delete_range: remove, request_txn: inner } = op;
      if (range !== undefined && range.revision !== 0) {
        if (range.revision > this.revision) return 'FutureRev';
        if (range.revision < this.compacted) return 'Compacted';
      }
      if (remove !== undefined) deleted.push(...[...before.keys()].filter((key) => inRange(key, remove)));
      if (put !== undefined) {
        const exists = before.has(put.key) && !deleted.includes(put.key);
        if ((put.ignore_value || put.ignore_lease) && !exists) return 'KeyNotFound';
        if (put.lease !== 0n && !this.leases.has(put.lease)) return 'LeaseNotFound';
      }
      const refusal = inner && this.#check(inner, before, deleted);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }
}

/** One write: a copy of the newest state that becomes the next revision if it was changed. */
class Draft {
  readonly state: Map<string, m.KeyValue>;
  readonly #model: Model;
  #changed = false;

  constructor(model: Model) {
    this.#model = model;
    this.state = new Map(model.now);
  }

  get revision(): number {
    return this.#model.revision + (this.#changed ? 1 : 0);
  }

  put(request: m.PutRequest): object {
    this.#changed = true;
    const old = this.state.get(request.key);
    this.state.set(request.key, {
      key: request.key,
      create_revision: old?.create_revision ?? this.revision,
      mod_revision: this.revision,
      version: (old?.version ?? 0) + 1,
      value: request.ignore_value ? old!.value : request.value,
      lease: request.ignore_lease ? old!.lease : request.lease,
    });
    return { header: header(this.revision), prev_kv: request.prev_kv ? old : undefined };
  }

  remove(key: string): void {
    this.#changed = true;
    this.state.delete(key);
  }

  deleteRange(request: m.DeleteRangeRequest): object {
    const gone = sortedKeys(this.state).filter((key) => inRange(key, request));
    const prev_kvs = request.prev_kv ? gone.map((key) => this.state.get(key)) : [];
    for (const key of gone) this.remove(key);
    return { header: header(this.revision), deleted: gone.length, prev_kvs };
  }

  txn(request: m.TxnRequest, before: Map<string, m.KeyValue>): object {
    const responses = chosen(request, before).map((op) => {
      if (op.request_put) return { response_put: this.put(op.request_put) };
      if (op.request_delete_range) return { response_delete_range: this.deleteRange(op.request_delete_range) };
      if (op.request_txn) return { response_txn: { ...this.txn(op.request_txn, before), header: header(0) } };
      const past = this.#model.states.get(op.request_range!.revision);
      return { response_range: answer(op.request_range!, past ?? this.state, this.revision) };
    });
    return { succeeded: holds(request, before), responses };
  }

  end(): void {
    if (!this.#changed) return;
    this.#model.revision++;
    this.#model.states.set(this.#model.revision, this.state);
  }
}

export function refused(code: string): object {
  return { refused: code };
}

function header(revision: number): object {
  return { cluster_id: 0n, member_id: 0n, revision, raft_term: 0 };
}

function sortedKeys(state: Map<string, unknown>): string[] {
  return [...state.keys()].sort((a, b) => Buffer.compare(Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1')));
}

function inRange(key: string, { key: from, range_end: end }: { key: string; range_end: string }): boolean {
  if (end === '') return key === from;
  return key >= from && (end === '\0' || key < end);
}

function chosen(request: m.TxnRequest, before: Map<string, m.KeyValue>): m.RequestOp[] {
  return holds(request, before) ? request.success : request.failure;
}

function holds(request: m.TxnRequest, before: Map<string, m.KeyValue>): boolean {
  return request.compare.every((c) => {
    const kvs = sortedKeys(before).filter((key) => inRange(key, c));
    if (kvs.length === 0) return c.target !== 3 && relation(c, undefined);
    return kvs.every((key) => relation(c, before.get(key)));
  });
}

function relation(c: m.Compare, kv: m.KeyValue | undefined): boolean {
  const pairs: [bigint | number, bigint | number][] = [
    [kv?.version ?? 0, c.version ?? 0],
    [kv?.create_revision ?? 0, c.create_revision ?? 0],
    [kv?.mod_revision ?? 0, c.mod_revision ?? 0],
    [Buffer.compare(kv?.value ?? Buffer.alloc(0), c.value ?? Buffer.alloc(0)), 0],
    [kv?.lease ?? 0n, c.lease ?? 0n],
  ];
  const [left, right] = pairs[c.target] ?? [0, 0];
  return [left === right, left > right, left < right, left !== right][c.result] ?? true;
}

function answer(request: m.RangeRequest, state: Map<string, m.KeyValue>, revision: number): object {
  const all = sortedKeys(state)
    .filter((key) => inRange(key, request))
    .map((key) => state.get(key)!);
  const result = { header: header(revision), kvs: [] as m.KeyValue[], more: false, count: all.length };
  if (request.count_only) return result;
  const bounded = (value: number, min: number, max: number) => (!min || value >= min) && (!max || value <= max);
  let kvs = all.filter(
    (kv) =>
      bounded(kv.mod_revision, request.min_mod_revision, request.max_mod_revision) &&
      bounded(kv.create_revision, request.min_create_revision, request.max_create_revision),
  );
  const { limit, sort_order: order, sort_target: target } = request;
  const filtered = kvs.length < all.length || hasFilter(request);
  // With the default order the store stops early, before anything is sorted.
  if (limit > 0 && order === 0 && !filtered) kvs = kvs.slice(0, limit + 1);
  const by = [
    (a: m.KeyValue, b: m.KeyValue) => Buffer.compare(Buffer.from(a.key, 'latin1'), Buffer.from(b.key, 'latin1')),
    (a: m.KeyValue, b: m.KeyValue) => a.version - b.version,
    (a: m.KeyValue, b: m.KeyValue) => a.create_revision - b.create_revision,
    (a: m.KeyValue, b: m.KeyValue) => a.mod_revision - b.mod_revision,
    (a: m.KeyValue, b: m.KeyValue) => Buffer.compare(a.value, b.value),
  ][target]!;
  kvs.sort(order === 2 ? (a, b) => by(b, a) : by);
  result.more = limit > 0 && kvs.length > limit;
  if (result.more) kvs = kvs.slice(0, limit);
  result.kvs = request.keys_only ? kvs.map((kv) => ({ ...kv, value: Buffer.alloc(0) })) : kvs;
  return result;
}

function hasFilter(r: m.RangeRequest): boolean {
  return [r.min_mod_revision, r.max_mod_revision, r.min_create_revision, r.max_create_revision].some((n) => n !== 0);
}
