/**
 * A machine whose state is a list of keys, so that a test can read it at a glance. What it would do on a disk - commits,
 * snapshots put in force - is done when the test says so; `crash` is what a restart finds.
 */
import { GrpcStatus, otherError, type RosterError } from '../../core/errors.ts';
import type {
  ApplyResult,
  ClusterView,
  CommitWish,
  Machine,
  StatePoint,
  StateReader,
  StateWriter,
} from '../../core/node/machine.ts';
import { type ConfChange, confStateOf } from '../../core/raft/conf-change.ts';
import type { ConfState } from '../../core/raft/messages.ts';
import { assert } from '../../core/util/assert.ts';
import { byteStringToUtf8, fromByteString, toByteString, utf8ToByteString } from '../../core/util/bytes.ts';
import { decode } from '../../core/wire/binary.ts';
import type { LeaseTimeToLiveResponse } from '../../core/wire/messages.ts';
import { type InternalRequest, type LeaseCheckpoint, MemberChange } from '../../core/wire/stored.ts';

/** Everything that a restart keeps. */
interface ListState {
  index: number;
  term: number;
  conf: ConfState;
  values: readonly string[];
  /** The state came as a snapshot, and the log may not have followed. */
  mark: { index: number; term: number } | undefined;
}

interface Commit extends ListState {
  done: (error?: Error) => void;
}

/** What is being received: the rows so far. */
export class ListWriter implements StateWriter {
  congested = false;
  /** The next rows are refused. */
  refusesRows = false;
  readonly rows: string[] = [];
  readonly #onDiscard: () => void;

  constructor(onDiscard: () => void) {
    this.#onDiscard = onDiscard;
  }

  write(rows: Uint8Array): RosterError | undefined {
    if (this.refusesRows) return otherError(GrpcStatus.DATA_LOSS, 'these are no rows');
    const text = byteStringToUtf8(toByteString(rows));
    if (text !== '') this.rows.push(...text.slice(0, -1).split('\n'));
    return undefined;
  }

  discard(): void {
    this.#onDiscard();
  }
}

export class ListMachine implements Machine {
  appliedIndex = 0;
  appliedTerm = 0;
  confState: ConfState;
  values: string[] = [];
  mark: ListState['mark'];
  requests: (InternalRequest | undefined)[] = [];
  leading: boolean[] = [];
  pendingWrites = 0;
  pendingRemovals = 0;
  commitWish: CommitWish = 'none';
  workLeft = 0;
  /** What happened to the disk, in order; a bench lets its log write here too. */
  events: string[] = [];

  commits: Commit[] = [];
  installs: { writer: ListWriter; point: StatePoint; done: (error?: Error) => void }[] = [];
  /** The state that is being received. */
  writer: ListWriter | undefined;
  openReaders = 0;
  #durable: ListState;

  expired: bigint[] = [];
  revoked: bigint[] = [];
  dueCheckpoints: LeaseCheckpoint[] = [];
  checkpointed: bigint[] = [];
  /** Lease -> seconds it was granted for. */
  leases = new Map<bigint, number>();
  renewed: bigint[] = [];

  /** What the rules say about a change of the members. */
  judge: (change: MemberChange, view: ClusterView) => RosterError | undefined = () => undefined;

  constructor(voters: readonly bigint[] = [1n]) {
    this.confState = confStateOf(voters);
    this.#durable = this.#state();
  }

  #state(): ListState {
    const { appliedIndex: index, appliedTerm: term, confState: conf, mark } = this;
    return { index, term, conf, mark, values: [...this.values] };
  }

  #take({ index, term, conf, mark, values }: ListState): void {
    this.appliedIndex = index;
    this.appliedTerm = term;
    this.confState = conf;
    this.mark = mark;
    this.values = [...values];
  }

  get leads(): boolean {
    return this.leading.at(-1) === true;
  }

  get durableIndex(): number {
    return this.#durable.index;
  }

  apply(index: number, term: number, request: InternalRequest | undefined): ApplyResult | undefined {
    this.#next(index, term);
    this.requests.push(request);
    if (request === undefined) return undefined;
    this.pendingWrites++;
    if (request.lease_revoke !== undefined) {
      this.revoked.push(request.lease_revoke.ID);
      return {};
    }
    if (request.lease_checkpoint !== undefined) {
      this.checkpointed.push(...request.lease_checkpoint.checkpoints.map(({ ID }) => ID));
      return {};
    }
    this.values.push(request.put!.key);
    return { index, key: request.put!.key };
  }

  applyConfChange(index: number, term: number, { context }: ConfChange, conf: ConfState): ApplyResult | undefined {
    this.#next(index, term);
    this.confState = conf;
    this.pendingWrites++;
    if (context.length === 0) return undefined;
    const key = nameOf(decode(MemberChange, context));
    this.values.push(key);
    return { index, key };
  }

  #next(index: number, term: number): void {
    assert(this.installs.length === 0, 'applied while another state takes the place of this one');
    assert(index === this.appliedIndex + 1 && term > 0 && term >= this.appliedTerm, 'out of order');
    this.appliedIndex = index;
    this.appliedTerm = term;
  }

  checkMemberChange(change: MemberChange, view: ClusterView): RosterError | undefined {
    return this.judge(change, view);
  }

  setLeader(leading: boolean): void {
    this.leading.push(leading);
  }

  work(): boolean {
    this.workLeft--;
    return this.workLeft > 0;
  }

  // ---- leases

  expiredLeases(limit: number): bigint[] {
    return this.expired.splice(0, limit);
  }

  leaseCheckpoints(limit: number): LeaseCheckpoint[] {
    return this.dueCheckpoints.splice(0, limit);
  }

  renewLease(id: bigint): number | undefined {
    assert(this.leads, 'a lease is renewed where nobody leads');
    this.renewed.push(id);
    return this.leases.get(id);
  }

  leaseTimeToLive(id: bigint, keys: boolean): LeaseTimeToLiveResponse {
    assert(this.leads, 'a lease is counted where nobody leads');
    const grantedTTL = this.leases.get(id);
    const header = { cluster_id: 0n, member_id: 0n, revision: 0, raft_term: 0 };
    const own = keys && grantedTTL !== undefined ? ['key'] : [];
    return { header, ID: id, TTL: grantedTTL ?? -1, grantedTTL: grantedTTL ?? 0, keys: own };
  }

  // ---- the disk

  commit(done: (error?: Error) => void): void {
    assert(this.installs.length === 0, 'committed while another state takes the place of this one');
    this.pendingWrites = 0;
    this.commits.push({ ...this.#state(), done });
  }

  finishCommit(error?: Error): void {
    const commit = this.commits.shift()!;
    if (error === undefined) {
      this.events.push(`commit ${commit.index}`);
      this.#durable = commit;
    }
    commit.done(error);
  }

  crash(): ListMachine {
    const machine = new ListMachine();
    machine.#take(this.#durable);
    machine.#durable = this.#durable;
    return machine;
  }

  // ---- snapshots

  /** Rows are named by their number. */
  read(): StateReader {
    const { index, term, conf, values } = this.#durable;
    this.openReaders++;
    let open = true;
    return {
      point: { index, term, conf },
      read: (from, bytesMax) => {
        assert(open, 'read after close');
        let at = Number(from);
        let rows = '';
        do rows += at < values.length ? `${values[at++]}\n` : '';
        while (at < values.length && rows.length + values[at]!.length < bytesMax);
        const next = at < values.length ? `${at}` : undefined;
        return { rows: fromByteString(utf8ToByteString(rows)), next };
      },
      close: () => {
        assert(open, 'closed twice');
        open = false;
        this.openReaders--;
      },
    };
  }

  receive(): StateWriter {
    assert(this.writer === undefined, 'one state is received at a time');
    const writer = new ListWriter(() => {
      assert(this.writer === writer, 'discarded what is not being received');
      this.writer = undefined;
    });
    this.writer = writer;
    return writer;
  }

  install(writer: StateWriter, point: StatePoint, done: (error?: Error) => void): void {
    assert(writer === this.writer, 'installed what has not been received');
    assert(this.commits.length === 0, 'a commit is under way');
    assert(point.index > this.appliedIndex && !this.leads, 'a snapshot leads forward, and no leader takes one');
    this.events.push(`install ${point.index}`);
    this.installs.push({ writer: writer as ListWriter, point, done });
  }

  finishInstall(error?: Error): void {
    const { writer, point, done } = this.installs.shift()!;
    if (error === undefined) {
      const { index, term, conf } = point;
      this.#durable = { index, term, conf, values: writer.rows, mark: { index, term } };
      this.#take(this.#durable);
      this.pendingWrites = 0;
      this.writer = undefined;
      this.events.push(`in force ${index}`);
    }
    done(error);
  }

  installed(): void {
    assert(this.mark !== undefined, 'nothing was installed');
    this.events.push(`installed ${this.mark.index}`);
    this.mark = undefined;
    this.pendingWrites++;
  }
}

/** `add 4`, `promote 4`, `remove 4`. */
function nameOf({ add, promote, remove }: MemberChange): string {
  if (add !== undefined) return `add ${add.ID}`;
  return promote === undefined ? `remove ${remove}` : `promote ${promote}`;
}
