/**
 * Random operations under auth: by users with rights, without them, with old tokens and with none, while users and roles
 * change. Left out is what etcd 3.4 crashes by (a grant without a permission) or takes into its state though it is none
 * (no key, a range that ends before it begins, several ends for one key of a role).
 */
import fc from 'fast-check';
import { leaseKeepAlive, unaryOperation, watchRequest } from './generators.ts';
import type { AuthOperation, Caller, Operation } from './operations.ts';

const USERS = ['u1', 'u2', 'u3', 'root', ''];
const ROLES = ['r1', 'r2', 'r3', 'root', ''];
/** What may be granted, with which end: one for each key of a role. */
const GRANTS: readonly (readonly [role: string, key: string, rangeEnd: string])[] = [
  ['r1', 'a', 'c'],
  ['r1', 'c', 'd'],
  ['r1', 'b', ''],
  ['r1', '\0', ''],
  ['r2', '\0', '\0'],
  ['r2', 'a', ''],
  ['r2', 'ab', 'b'],
  ['r2', 'a\0', 'ab'],
  ['r3', 'a', 'd'],
  ['r3', 'c', '\0'],
  ['r3', '\0', 'a'],
  ['root', 'a', ''],
  ['r4', 'a', ''],
];

const often = <T>(weight: number, common: fc.Arbitrary<T>, rare: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  fc.oneof({ weight, arbitrary: common }, { weight: 1, arbitrary: rare });

const user = fc.oneof({ weight: 9, arbitrary: fc.constantFrom('u1', 'u2', 'u3') }, fc.constantFrom(...USERS, 'u4'));
const role = fc.oneof({ weight: 9, arbitrary: fc.constantFrom('r1', 'r2', 'r3') }, fc.constantFrom(...ROLES, 'r4'));
const grant = fc.constantFrom(...GRANTS);
const permType = fc.constantFrom(0, 1, 2);

/** Root's password is its name: without it nobody could clear up. */
const named = (password: fc.Arbitrary<string>) =>
  fc
    .record({ name: user, other: password, usual: often(6, fc.constant(true), fc.constant(false)) })
    .map(({ name, other, usual }) => ({ name, password: usual || name === 'root' ? name : other }));
const without = { options: { no_password: true }, password: '' };

const change: fc.Arbitrary<AuthOperation> = fc.oneof(
  { weight: 3, arbitrary: op('userAdd', named(fc.constant(''))) },
  {
    weight: 1,
    arbitrary: op(
      'userAdd',
      fc.constantFrom('u1', 'u2', 'u3').map((name) => ({ name, ...without })),
    ),
  },
  { weight: 2, arbitrary: op('userDelete', fc.record({ name: user })) },
  { weight: 2, arbitrary: op('userChangePassword', named(fc.constantFrom('other', ''))) },
  { weight: 6, arbitrary: op('userGrantRole', fc.record({ user, role })) },
  { weight: 3, arbitrary: op('userRevokeRole', fc.record({ name: user, role })) },
  { weight: 3, arbitrary: op('roleAdd', fc.record({ name: role })) },
  { weight: 1, arbitrary: op('roleDelete', fc.record({ role })) },
  {
    weight: 6,
    arbitrary: op(
      'roleGrantPermission',
      fc.record({ grant, permType }).map(({ grant: [name, key, range_end], permType: type }) => {
        return { name, perm: { permType: type, key, range_end } };
      }),
    ),
  },
  {
    weight: 3,
    arbitrary: op(
      'roleRevokePermission',
      fc
        .record({ grant, end: fc.option(fc.constantFrom('', 'b', '\0')) })
        .map(({ grant: [name, key, rangeEnd], end }) => {
          return { role: name, key, range_end: end ?? rangeEnd };
        }),
    ),
  },
);

const question: fc.Arbitrary<AuthOperation> = fc.oneof(
  op('userGet', fc.record({ name: user })),
  op('userList', fc.constant({})),
  op('roleGet', fc.record({ role })),
  op('roleList', fc.constant({})),
);

const login: fc.Arbitrary<AuthOperation> = op('authenticate', named(fc.constantFrom('other', '', 'wrong')));

const caller: fc.Arbitrary<Caller> = fc.oneof(
  { weight: 30, arbitrary: fc.record({ user, token: fc.constant('last' as const) }) },
  { weight: 3, arbitrary: fc.record({ user, token: fc.constant('before' as const) }) },
  { weight: 2, arbitrary: fc.record({ raw: fc.constantFrom('', 'x', 'abcdefghijklmnop.1', 'a.b.c', 'Bearer x') }) },
  { weight: 2, arbitrary: fc.constant('nobody' as const) },
);

/** The administrator's, mostly. */
const byFew = <T extends Operation>(operation: fc.Arbitrary<T>): fc.Arbitrary<Operation> =>
  often(5, operation as fc.Arbitrary<Operation>, byAnybody(operation));
const byAnybody = <T extends Operation>(operation: fc.Arbitrary<T>): fc.Arbitrary<Operation> =>
  fc.record({ operation, by: caller }).map(({ operation: inner, by }) => ({ ...inner, by }) as Operation);

const unary: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 28, arbitrary: byFew(change) },
  { weight: 8, arbitrary: byAnybody(question) },
  { weight: 8, arbitrary: byFew(login) },
  { weight: 3, arbitrary: byFew(op('authEnable', fc.constant({}))) },
  { weight: 1, arbitrary: byFew(op('authDisable', fc.constant({}))) },
  { weight: 80, arbitrary: byAnybody(unaryOperation) },
);

const whole: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 128, arbitrary: unary },
  { weight: 4, arbitrary: byAnybody(leaseKeepAlive) },
  {
    weight: 6,
    arbitrary: byAnybody(
      fc.record({ op: fc.constant('watch' as const), stream: fc.constant(0), request: watchRequest }),
    ),
  },
);

function op<O extends AuthOperation['op'], R>(name: O, request: fc.Arbitrary<R>): fc.Arbitrary<AuthOperation> {
  return request.map((made) => ({ op: name, request: made }) as unknown as AuthOperation);
}

/** Three users who may do something, each something else. */
export const founded: readonly Operation[] = [
  { op: 'userAdd', request: { name: 'root', password: 'root' } },
  { op: 'userGrantRole', request: { user: 'root', role: 'root' } },
  ...['r1', 'r2', 'r3'].map((name): Operation => ({ op: 'roleAdd', request: { name } })),
  ...(
    [
      ['r1', 'a', 'c', 2],
      ['r1', 'c', 'd', 2],
      ['r2', '\0', '\0', 0],
      ['r3', 'a', 'd', 1],
    ] as const
  ).map(
    ([name, key, range_end, type]): Operation => ({
      op: 'roleGrantPermission',
      request: { name, perm: { permType: type, key, range_end } },
    }),
  ),
  ...['u1', 'u2', 'u3'].flatMap((name, index): Operation[] => [
    { op: 'userAdd', request: { name, password: name } },
    { op: 'userGrantRole', request: { user: name, role: `r${index + 1}` } },
  ]),
  { op: 'authEnable', request: {} },
  ...['u1', 'u2', 'u3', 'root'].map((name): Operation => ({ op: 'authenticate', request: { name, password: name } })),
];

const MAX = 150;

function sequences(operation: fc.Arbitrary<Operation>): fc.Arbitrary<Operation[]> {
  const start = often(9, fc.constant(founded), fc.constant(founded.slice(0, 2)));
  return fc
    .record({ start, rest: fc.array(operation, { minLength: 1, maxLength: MAX, size: 'max' }) })
    .map(({ start: first, rest }) => [...first, ...rest]);
}

/** Sequences that begin with users. */
export const authSequence = sequences(whole);
/** Of those without streams. */
export const unaryAuthSequence = sequences(unary);
