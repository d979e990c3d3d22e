/** The latest revision of the store that anything which passed has told of. */
import type { WithHeader } from '../rpc/context.ts';

export class Revisions {
  #latest = 0;

  get latest(): number {
    return this.#latest;
  }

  /** Takes note of the header of `response`, and returns it. */
  seen<T extends WithHeader>(response: T): T {
    const revision = response.header?.revision ?? 0;
    if (revision > this.#latest) this.#latest = revision;
    return response;
  }
}
