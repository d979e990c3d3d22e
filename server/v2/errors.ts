/** The errors of the v2 API as HTTP answers (etcd: v2error): code, words, status. Decides nothing. */
import { RosterError } from '../../core/errors.ts';
import { type ByteString, byteStringToUtf8 } from '../../core/util/bytes.ts';
import type { V2Refusal } from '../../core/v2/errors.ts';

export const V2ErrorCode = {
  UNAUTHORIZED: 110,
  PREV_VALUE_REQUIRED: 201,
  TTL_NAN: 202,
  INDEX_NAN: 203,
  INVALID_FIELD: 209,
  INVALID_FORM: 210,
  REFRESH_VALUE: 211,
  REFRESH_TTL_REQUIRED: 212,
  RAFT_INTERNAL: 300,
  EVENT_INDEX_CLEARED: 401,
} as const;

/** Code -> words and HTTP status. */
const TABLE: Readonly<Record<number, readonly [words: string, status: number]>> = {
  100: ['Key not found', 404],
  101: ['Compare failed', 412],
  102: ['Not a file', 403],
  104: ['Not a directory', 400],
  105: ['Key already exists', 412],
  107: ['Root is read only', 400],
  108: ['Directory not empty', 403],
  110: ['The request requires user authentication', 401],
  201: ['PrevValue is Required in POST form', 400],
  202: ['The given TTL in POST form is not a number', 400],
  203: ['The given index in POST form is not a number', 400],
  209: ['Invalid field', 400],
  210: ['Invalid POST form', 400],
  211: ['Value provided on refresh', 400],
  212: ['A TTL must be provided on refresh', 400],
  300: ['Raft Internal Error', 500],
  401: ['The event in requested index is outdated and cleared', 400],
};

/** An error answer yet to be written. */
export class V2Error {
  readonly code: number;
  readonly cause: string;
  readonly index: number;

  constructor(code: number, cause: string, index = 0) {
    this.code = code;
    this.cause = cause;
    this.index = index;
  }

  get status(): number {
    return TABLE[this.code]![1];
  }

  get message(): string {
    return TABLE[this.code]![0];
  }
}

export function storeError({ code, cause, index }: V2Refusal): V2Error {
  return new V2Error(code, textOf(cause), index);
}

/** What the RPCs refuse, as a v2 client knows it. */
export function callError(error: RosterError): V2Error {
  return isUnauthorized(error)
    ? new V2Error(V2ErrorCode.UNAUTHORIZED, 'Insufficient credentials')
    : new V2Error(V2ErrorCode.RAFT_INTERNAL, error.message);
}

/** Whether the caller may not, or nobody knows who it is. */
export function isUnauthorized({ code }: RosterError): boolean {
  return (
    code === 'PermissionDenied' ||
    code === 'UserEmpty' ||
    code === 'InvalidAuthToken' ||
    code === 'AuthFailed' ||
    code === 'UserNotFound'
  );
}

function textOf(bytes: ByteString): string {
  return byteStringToUtf8(bytes);
}

/** The one who asked has done something wrong that the error names. */
export function asV2Error(refusal: V2Refusal | RosterError): V2Error {
  return refusal instanceof RosterError ? callError(refusal) : storeError(refusal);
}
