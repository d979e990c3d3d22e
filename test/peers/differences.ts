/**
 * The one table of what etcd 3.4.23 (Debian's) says differently from 3.7, whose behaviour Roster has. Each entry says
 * why and masks exactly that; everything else must be equal. `shows` is a sequence in which the difference occurs: an
 * entry that no longer explains anything fails its test.
 */
import { isDeepStrictEqual } from 'node:util';
import { authDifferences } from './auth-differences.ts';
import type { Caller, Operation } from './operations.ts';

/** An answer brought into canonical form. */
export type PlainAnswer = { message: Record<string, unknown> } | { refusal: { code: number; text: string } & object };

/** Two answers to one operation that are not equal. `request` as Roster got it. */
export interface AnswerCase {
  op: Operation['op'];
  request: Record<string, unknown>;
  /** Who asked; undefined: the administrator. */
  by: Caller | undefined;
  /** Auth is turned on. */
  auth: boolean;
  etcd: PlainAnswer;
  roster: PlainAnswer;
}

export interface PlainEvent {
  type: number;
  kv: { key: string; mod_revision: number };
}

/** What one watch has got from each server, where that is not equal. */
export interface WatchCase {
  /** The compact revision when the watch was created. */
  compacted: number;
  /** First revision the watch is about. */
  start: number;
  etcd: PlainEvent[];
  roster: PlainEvent[];
}

export interface ProgressCase {
  /** Watches that live on the stream, and how many of them start in the future. */
  watches: number;
  future: number;
}

export interface Difference {
  name: string;
  reason: string;
  /** Leaves nothing behind. */
  shows: readonly Operation[];
  /** With which transport it shows; default gRPC. */
  transport?: 'json';
  /** One has done what this one refused: it does it for the administrator then, and that answer is compared. */
  redo?: 'etcd' | 'roster' | 'denied';
  /** Whether this is the whole difference between two answers. */
  answer?(found: AnswerCase): boolean;
  /** Whether this is the whole difference between two sequences of events. */
  watch?(found: WatchCase): boolean;
  /** Whether etcd answers a progress request that 3.7 leaves unanswered. */
  progress?(found: ProgressCase): boolean;
}

const INVALID_SORT = 'etcdserver: invalid sort option';
const FAILED_PRECONDITION = 9;

/** What can be said against a put, and against a range, once its transaction is being applied. */
const PUT_REFUSALS = ['etcdserver: key not found', 'etcdserver: requested lease not found'];
const RANGE_REFUSALS = [
  'etcdserver: mvcc: required revision is a future revision',
  'etcdserver: mvcc: required revision has been compacted',
];

/** What 3.7 says only to who asks for something that can be. */
const AUTH_REFUSALS = [
  'etcdserver: permission denied',
  'etcdserver: user name is empty',
  'etcdserver: invalid auth token',
];

const put = (key: string): Operation => ({ op: 'put', request: { key } });

export const differences: readonly Difference[] = [
  {
    name: 'unknown sort order',
    reason: '3.4 sorts by an unknown order as if there were none (and by an unknown target stops with a panic)',
    shows: [{ op: 'range', request: { key: 'a', sort_order: 3 } }],
    answer: ({ op, request, etcd, roster }) =>
      op === 'range' &&
      ![0, 1, 2].includes(request.sort_order as number) &&
      ('message' in etcd || [...RANGE_REFUSALS, ...AUTH_REFUSALS].includes(etcd.refusal.text)) &&
      'refusal' in roster &&
      roster.refusal.text === INVALID_SORT,
  },
  {
    name: 'which of several refusals',
    reason: '3.4 checks all puts of a transaction before its ranges; 3.7 goes through the operations in order',
    shows: [
      {
        op: 'txn',
        request: {
          success: [
            { request_range: { key: 'a', revision: { revisionOf: 'current', plus: 1 } } },
            { request_put: { key: 'a', lease: 99n } },
          ],
        },
      },
    ],
    answer: ({ op, etcd, roster }) =>
      op === 'txn' &&
      'refusal' in etcd &&
      'refusal' in roster &&
      PUT_REFUSALS.includes(etcd.refusal.text) &&
      RANGE_REFUSALS.includes(roster.refusal.text),
  },
  {
    name: 'watch from a negative revision',
    reason: '3.4 begins it (and ends it as compacted, once anything is); later ones refuse it',
    shows: [{ op: 'watch', stream: 0, request: { key: 'a', start_revision: -1 } }],
    answer: ({ op, request, etcd, roster }) =>
      op === 'watch' &&
      (request.start_revision as number) < 0 &&
      'message' in etcd &&
      'message' in roster &&
      isDeepStrictEqual(roster.message, {
        ...etcd.message,
        watch_id: '-1',
        canceled: true,
        cancel_reason: 'etcdserver: mvcc: required revision has been compacted',
      }),
  },
  {
    name: 'HTTP status of FAILED_PRECONDITION',
    reason: 'grpc-gateway v1 (etcd up to 3.5) maps it to 412, v2 to 400',
    shows: [
      { op: 'leaseGrant', slot: 0, ttlSeconds: 600n },
      { op: 'leaseGrant', slot: 0, ttlSeconds: 600n },
    ],
    transport: 'json',
    answer: ({ etcd, roster }) =>
      'refusal' in etcd &&
      'refusal' in roster &&
      etcd.refusal.code === FAILED_PRECONDITION &&
      isDeepStrictEqual(etcd.refusal, { ...roster.refusal, httpStatus: 412 }) &&
      isDeepStrictEqual(roster.refusal, { ...roster.refusal, httpStatus: 400 }),
  },
  {
    name: 'tombstone at the compact revision',
    reason:
      'since 3.4.34 and 3.5.16 a compaction keeps tombstones of exactly its revision, so a watch from there sees them',
    shows: [
      put('a'),
      { op: 'deleteRange', request: { key: 'a' } },
      { op: 'compact', request: { revision: { revisionOf: 'current', plus: 0 }, physical: true } },
      { op: 'watch', stream: 0, request: { key: 'a', start_revision: { revisionOf: 'current', plus: 0 } } },
    ],
    watch({ compacted, start, etcd, roster }) {
      if (start > compacted) return false;
      // What comes after it in the same revision is there: a transaction may delete everything and put something.
      const isGone = ({ kv }: PlainEvent, at: number) =>
        kv.mod_revision === compacted &&
        roster.some(
          (other, index) =>
            index >= at && other.type === 1 && other.kv.key === kv.key && other.kv.mod_revision === compacted,
        );
      const expected = roster.filter((event, at) => !isGone(event, at));
      return isDeepStrictEqual(etcd, expected);
    },
  },
  {
    name: 'progress of a stream that is not synced',
    reason: '3.4 before 3.4.25 answers every progress request at once; later ones only when all watches are synced',
    shows: [{ op: 'progress', stream: 0 }],
    progress: ({ watches, future }) => watches === 0 || future > 0,
  },
  ...authDifferences,
];
