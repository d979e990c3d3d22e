/** The errors of the v2 API that the store decides: its numbers. What they are called over HTTP is server/v2's. */
import type { ByteString } from '../util/bytes.ts';

export const V2Code = {
  KEY_NOT_FOUND: 100,
  TEST_FAILED: 101,
  NOT_FILE: 102,
  NOT_DIR: 104,
  NODE_EXIST: 105,
  ROOT_READ_ONLY: 107,
  DIR_NOT_EMPTY: 108,
} as const;
export type V2Code = (typeof V2Code)[keyof typeof V2Code];

/** A refusal, as a value: every replica comes to the same. */
export class V2Refusal {
  readonly code: V2Code;
  /** UTF-8, mostly the path it is about. */
  readonly cause: ByteString;
  /** The store's revision. */
  readonly index: number;

  constructor(code: V2Code, cause: ByteString, index: number) {
    this.code = code;
    this.cause = cause;
    this.index = index;
  }
}
