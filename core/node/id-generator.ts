/** Ids of requests: unique over members and restarts without any agreement (the scheme of etcd's idutil). */

const SUFFIX_BITS = 48;
const COUNT_BITS = 8n;

/**
 * 64 bits: the low 16 of the member id, then 48 that begin with the time of the start in milliseconds (its low 40) and
 * count up from there. Two runs of a member collide only if the earlier one made over 256 ids per millisecond it lived.
 */
export class IdGenerator {
  readonly #prefix: bigint;
  #suffix: bigint;

  constructor(memberId: bigint, nowMs: number) {
    this.#prefix = BigInt.asUintN(16, memberId) << BigInt(SUFFIX_BITS);
    this.#suffix = BigInt.asUintN(SUFFIX_BITS, BigInt(Math.floor(nowMs)) << COUNT_BITS);
  }

  next(): bigint {
    this.#suffix = BigInt.asUintN(SUFFIX_BITS, this.#suffix + 1n);
    return this.#prefix | this.#suffix;
  }
}
