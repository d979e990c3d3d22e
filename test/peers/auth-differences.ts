/**
 * What etcd 3.4.23 says differently from 3.7, or from what Roster does on purpose, under auth: part of the table of
 * differences.ts, by its rules.
 */
import { isDeepStrictEqual } from 'node:util';
import { founded } from './auth-generators.ts';
import type { AnswerCase, Difference } from './differences.ts';
import type { Caller, Operation } from './operations.ts';

const DENIED = 'etcdserver: permission denied';
const EMPTY = 'etcdserver: user name is empty';
const INVALID = 'etcdserver: invalid auth token';
const FAILED = 'etcdserver: authentication failed, invalid user ID or password';
const REFUSED: readonly string[] = [DENIED, EMPTY, INVALID];

const refusal = ({ roster }: AnswerCase): string | undefined => ('refusal' in roster ? roster.refusal.text : undefined);
const isRefused = (found: AnswerCase): boolean =>
  found.auth && found.by !== undefined && REFUSED.includes(refusal(found) ?? '');
const isTaken = ({ etcd }: AnswerCase): boolean => 'message' in etcd;

const u1: Caller = { user: 'u1', token: 'last' };
const leased: Operation[] = [
  ...founded,
  { op: 'leaseGrant', slot: 0, ttlSeconds: 600n },
  { op: 'put', request: { key: 'd', lease: { leaseIn: 0 } } },
];

export const authDifferences: readonly Difference[] = [
  {
    name: 'token while auth is off',
    reason: '3.4 refuses one that it does not know; later ones do not look at it',
    shows: [{ op: 'put', request: { key: 'a' }, by: { raw: 'x' } }],
    redo: 'etcd',
    answer: ({ op, auth, by, etcd, roster }) =>
      !auth &&
      by !== undefined &&
      (op === 'watch'
        ? 'message' in etcd && (etcd.message.cancel_reason as string).endsWith(INVALID)
        : 'refusal' in etcd &&
          etcd.refusal.text === INVALID &&
          !('refusal' in roster && roster.refusal.text === INVALID)),
  },
  {
    name: 'lease without a user',
    reason: '3.4 lets anybody grant leases (CVE-2026-33413)',
    shows: [...founded, { op: 'leaseGrant', slot: 0, ttlSeconds: 600n, by: 'nobody' }],
    redo: 'roster',
    answer: (found) => found.op === 'leaseGrant' && found.auth && refusal(found) === EMPTY,
  },
  {
    name: 'compaction by anybody',
    reason: '3.4 asks for no rights (CVE-2026-33413)',
    shows: [
      ...founded,
      { op: 'put', request: { key: 'a' } },
      { op: 'compact', request: { revision: { revisionOf: 'current', plus: 0 } }, by: u1 },
    ],
    redo: 'roster',
    answer: (found) => found.op === 'compact' && isRefused(found),
  },
  {
    name: 'login with a token',
    reason: '3.4 refuses it for a token that it does not know; later ones do not look at it',
    shows: [...founded, { op: 'authenticate', request: { name: 'u1', password: 'u1' }, by: { raw: 'x' } }],
    redo: 'etcd',
    answer: ({ op, auth, etcd }) => op === 'authenticate' && auth && 'refusal' in etcd && etcd.refusal.text === INVALID,
  },
  {
    name: 'login of a user without a password',
    reason: 'etcd tells that there is none; Roster tells as little as of any other failed login',
    shows: [
      ...founded,
      { op: 'userAdd', request: { name: 'u4', options: { no_password: true } } },
      { op: 'authenticate', request: { name: 'u4', password: 'u4' } },
    ],
    answer: (found) =>
      found.op === 'authenticate' &&
      'refusal' in found.etcd &&
      found.etcd.refusal.text.endsWith('authentication failed, password was given for no password user') &&
      refusal(found) === FAILED,
  },
  {
    name: 'too many failed logins',
    reason: 'Roster lets nobody fail more than ten times in a row, and then once a second',
    shows: [
      ...founded,
      ...Array.from(
        { length: 12 },
        (): Operation => ({
          op: 'authenticate',
          request: { name: 'u9', password: 'wrong' },
        }),
      ),
    ],
    answer: (found) => found.op === 'authenticate' && refusal(found) === 'etcdserver: too many requests',
  },
  {
    name: 'watch from a key on',
    reason: '3.4 asks for the right to read the one key it begins with (GHSA-xg4h-6gfc-h4m8)',
    shows: [...founded, { op: 'watch', stream: 0, request: { key: 'a', range_end: '\0' }, by: u1 }],
    answer: ({ op, auth, request, etcd, roster }) =>
      op === 'watch' &&
      auth &&
      request.range_end === '\0' &&
      'message' in etcd &&
      'message' in roster &&
      !etcd.message.canceled &&
      isRefusedWatch(roster.message),
  },
  {
    name: 'end of a lease without a user',
    reason: '3.4 looks at the keys on it only; later ones want to know who asks first',
    shows: [...founded, { op: 'leaseRevoke', request: { ID: 99n }, by: 'nobody' }],
    redo: 'roster',
    answer: (found) => found.op === 'leaseRevoke' && found.auth && refusal(found) === EMPTY,
  },
  {
    name: 'keeping a lease alive',
    reason: '3.4 asks for no rights; later ones for those to write all its keys',
    shows: [...leased, { op: 'leaseKeepAlive', request: { ID: { leaseIn: 0 } }, by: u1 }],
    answer: (found) => found.op === 'leaseKeepAlive' && isTaken(found) && isRefused(found),
  },
  {
    name: 'keys on a lease',
    reason: '3.4 tells them to anybody; later ones to who may read them all',
    shows: [...leased, { op: 'leaseTimeToLive', request: { ID: { leaseIn: 0 }, keys: true }, by: u1 }],
    answer: (found) => found.op === 'leaseTimeToLive' && isTaken(found) && isRefused(found),
  },
  {
    name: 'which leases there are',
    reason: '3.4 tells anybody; later ones who may read all their keys',
    shows: [...leased, { op: 'leaseLeases', by: u1 }],
    answer: (found) => found.op === 'leaseLeases' && isTaken(found) && isRefused(found),
  },
  {
    name: 'transaction of nothing',
    reason: 'etcd asks for rights operation by operation, so that anybody may run it; Roster answers nobody',
    shows: [...founded, { op: 'txn', request: { compare: [], success: [], failure: [] }, by: 'nobody' }],
    answer: (found) =>
      found.op === 'txn' &&
      isTaken(found) &&
      isRefused(found) &&
      ['compare', 'success', 'failure'].every((list) => ((found.request[list] ?? []) as object[]).length === 0),
  },
  {
    name: 'nested transaction',
    reason: '3.4 asks for no rights for what is in it (CVE-2026-33343)',
    shows: [
      ...founded,
      { op: 'txn', request: { success: [{ request_txn: { success: [{ request_put: { key: 'd' } }] } }] }, by: u1 },
    ],
    redo: 'roster',
    answer: (found) =>
      found.op === 'txn' && isRefused(found) && JSON.stringify(found.request).includes('"request_txn"'),
  },
  {
    name: 'put in a transaction',
    reason:
      '3.4 asks for the right to write its key only: not for that to read what it tells (prev_kv), nor for the other keys on its lease (CVE-2026-44283)',
    shows: [
      ...founded,
      {
        op: 'txn',
        request: { compare: [], success: [{ request_put: { key: 'a', prev_kv: true } }], failure: [] },
        by: { user: 'u3', token: 'last' },
      },
    ],
    redo: 'roster',
    answer: (found) =>
      found.op === 'txn' &&
      found.auth &&
      refusal(found) === DENIED &&
      /"request_put":\{[^}]*("prev_kv":true|"lease":"[^"0])/.test(JSON.stringify(found.request)),
  },
  {
    name: 'size or rights first',
    reason:
      'etcd finds out who may when the entry is applied, after its size; Roster lets nothing into its log that is refused',
    shows: [...founded, { op: 'put', request: { key: 'a', value: { fill: 1_572_864 } }, by: 'nobody' }],
    answer: (found) =>
      isRefused(found) && 'refusal' in found.etcd && found.etcd.refusal.text === 'etcdserver: request is too large',
  },
  {
    name: 'user without a name',
    reason: '3.4 takes nobody for it, and tells that there is none',
    shows: [...founded, { op: 'userGet', request: { name: '' }, by: 'nobody' }],
    answer: (found) => found.op === 'userGet' && isRefused(found) && found.request.name === '',
  },
  {
    name: 'role root',
    reason: '3.4 tells what was granted to it instead of what it permits, everything',
    shows: [...founded, { op: 'roleAdd', request: { name: 'root' } }, { op: 'roleGet', request: { role: 'root' } }],
    answer: ({ op, request, etcd, roster }) =>
      op === 'roleGet' &&
      request.role === 'root' &&
      'message' in etcd &&
      'message' in roster &&
      isDeepStrictEqual({ ...etcd.message, perm: [] }, { ...roster.message, perm: [] }) &&
      isDeepStrictEqual(roster.message.perm, [{ permType: 2, key: '', range_end: '\0' }]),
  },
  {
    name: 'range of no keys',
    reason:
      'one that ends before it begins: which grants etcd finds for it depends on the shape of its tree; Roster wants one for where it begins',
    shows: [
      ...founded,
      ...(['r2', 'r3'] as const).map((role): Operation => ({ op: 'userGrantRole', request: { user: 'u1', role } })),
      { op: 'roleGrantPermission', request: { name: 'r3', perm: { permType: 0, key: 'c', range_end: '\0' } } },
      { op: 'range', request: { key: '\xff', range_end: 'a' }, by: u1 },
    ],
    redo: 'denied',
    answer({ request, auth, etcd, roster }) {
      if (!auth || !hasEmptyRange(request)) return false;
      const denials = [etcd, roster].map((answer) =>
        'refusal' in answer ? answer.refusal.text === DENIED : isRefusedWatch(answer.message),
      );
      return denials.includes(true);
    },
  },
];

/** Anywhere in it. */
function hasEmptyRange(request: unknown): boolean {
  if (typeof request !== 'object' || request === null) return false;
  const { key, range_end: end } = request as { key?: unknown; range_end?: unknown };
  if (typeof key === 'string' && typeof end === 'string' && end !== '' && end !== '\0' && end <= key) return true;
  return Object.values(request).some(hasEmptyRange);
}

function isRefusedWatch({ canceled, cancel_reason: reason }: Record<string, unknown>): boolean {
  return canceled === true && REFUSED.some((text) => (reason as string).endsWith(text));
}
