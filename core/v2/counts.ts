/** What has become of v2 operations in this process, under the names of etcd's /v2/stats/store. Counts, decides nothing. */
import { V2Op } from '../wire/stored.ts';

interface Count {
  success: number;
  fail: number;
}

const none = (): Count => ({ success: 0, fail: 0 });

export class V2Counts {
  readonly gets: Count = none();
  readonly sets: Count = none();
  readonly deletes: Count = none();
  readonly updates: Count = none();
  readonly creates: Count = none();
  readonly compareAndSwaps: Count = none();
  readonly compareAndDeletes: Count = none();
  expired = 0;

  /** A write has been applied. */
  wrote(op: number, success: boolean): void {
    this.#of(op)[success ? 'success' : 'fail']++;
  }

  /** A read was answered. */
  read(success: boolean): void {
    this.gets[success ? 'success' : 'fail']++;
  }

  #of(op: number): Count {
    const { CREATE, POST, UPDATE, COMPARE_AND_SWAP, DELETE, COMPARE_AND_DELETE } = V2Op.values;
    if (op === CREATE || op === POST) return this.creates;
    if (op === UPDATE) return this.updates;
    if (op === COMPARE_AND_SWAP) return this.compareAndSwaps;
    if (op === DELETE) return this.deletes;
    return op === COMPARE_AND_DELETE ? this.compareAndDeletes : this.sets;
  }
}
