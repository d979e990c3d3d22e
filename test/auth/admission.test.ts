import { describe, expect, it, vi } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import { defaults } from '../../core/wire/binary.ts';
import type * as m from '../../core/wire/messages.ts';
import { guarded } from '../../server/rpc/guard.ts';
import { type CallContext, unary } from '../../server/rpc/service.ts';
import type { Tokens } from '../../server/security/tokens.ts';
import { bytes, codeOf, putRequest, rangeRequest } from '../apply/harness.ts';
import { Rig } from '../rpc/rig.ts';

/** What happens to a call when auth changes while it is under way. The token `u` speaks for the user u. */
const KV = '/etcdserverpb.KV/';
const ITSELF = { user: '', auth_revision: 0, internal: true };

/** Tokens that say who somebody is; as of `revision`, if one is given. */
function tokens(revision?: number): Tokens {
  return {
    identify: (token, done) => done({ user: token, revision }),
    issue: (_user, _revision, done) => done('none'),
    start: () => {},
    close: () => {},
  };
}

function rig(revision?: number) {
  const r = new Rig();
  Object.assign(r.context.security, { tokens: tokens(revision) });
  const change = (request: object) => r.node.propose({ requester: ITSELF, ...request }, () => {});
  for (const name of ['root', 'u']) change({ auth_user_add: { name, password_hash: bytes('x'), no_password: false } });
  change({ auth_user_grant_role: { user: 'root', role: 'root' } });
  change({ auth_role_add: { name: 'r' } });
  change({ auth_role_grant_permission: { name: 'r', perm: { permType: 2, key: 'a', range_end: 'c' } } });
  change({ auth_user_grant_role: { user: 'u', role: 'r' } });
  r.settle();
  const enable = () => change({ auth_enable: {} });
  /** The call has begun; what it comes to is known after `settle`. */
  const begin = (path: string, request: object, token: string | undefined = 'u') => {
    const method = r.methods.find((each) => each.path === path)!;
    if (method.kind !== 'unary') throw new Error('a stream');
    const call: CallContext = {
      metadata: (name) => (name === 'token' ? token : undefined),
      remote: '',
      cancelled: false,
      onCancel: () => {},
    };
    const results: object[] = [];
    method.handle(call, { ...defaults(method.request), ...request }, (result: object) => results.push(result));
    return () => {
      r.settle();
      expect(results).toHaveLength(1);
      return codeOf(results[0]);
    };
  };
  return { r, change, enable, begin };
}

/** As on a member that has yet to hear of what was done elsewhere: its read index comes after that. */
function behind<T>(r: Rig, run: () => T): T {
  const reads = vi.spyOn(r.node, 'linearizableRead').mockImplementationOnce((done) => {
    reads.mockRestore();
    r.settle();
    r.node.linearizableRead(done);
  });
  return run();
}

const put = (key = 'a') => putRequest(key);

describe('a write', () => {
  it('whose user has not changed does not hear that something else has', () => {
    const { r, change, enable, begin } = rig();
    enable();
    r.settle();
    change({ auth_role_add: { name: 'another' } });
    const code = begin(`${KV}Put`, put());
    expect(code()).toBe('ok');
    expect(r.context.machine.store.revision, 'and is done once').toBe(2);
  });

  it('gets the rights of its place in the log', () => {
    const { r, change, enable, begin } = rig();
    enable();
    r.settle();
    change({ auth_user_revoke_role: { name: 'u', role: 'r' } });
    const late = begin(`${KV}Put`, put());
    expect(late()).toBe('PermissionDenied');
    change({ auth_user_grant_role: { user: 'u', role: 'r' } });
    const early = behind(r, () => begin(`${KV}Put`, put()));
    expect(early(), 'a refusal is looked at again after a read index').toBe('ok');
  });

  it('with a token as of a revision does not outlive it', () => {
    const { r, change, enable, begin } = rig(7);
    enable();
    r.settle();
    expect(r.context.machine.auth.revision).toBe(7);
    expect(begin(`${KV}Put`, put())()).toBe('ok');
    change({ auth_role_add: { name: 'another' } });
    expect(begin(`${KV}Put`, put())()).toBe('AuthOldRevision');
    expect(begin(`${KV}Range`, rangeRequest('a'))()).toBe('AuthOldRevision');
    expect(begin('/etcdserverpb.Auth/UserList', {}, 'root')(), 'nor for root').toBe('AuthOldRevision');
  });

  it('that came while auth was off is refused when it is on by then', () => {
    const { enable, begin, r } = rig();
    enable();
    expect(begin(`${KV}Put`, put())()).toBe('UserEmpty');
    expect(r.context.machine.store.revision).toBe(1);
  });

  it('that came while auth was on is done when it is off by then', () => {
    const { r, change, enable, begin } = rig();
    enable();
    r.settle();
    change({ auth_disable: {} });
    expect(behind(r, () => begin(`${KV}Put`, put('z')))()).toBe('ok');
  });
});

describe('a read', () => {
  it('is decided when it is done', () => {
    const { r, change, enable, begin } = rig();
    const before = begin(`${KV}Range`, rangeRequest('z'));
    expect(before(), 'auth is off').toBe('ok');
    enable();
    r.settle();
    change({ auth_user_revoke_role: { name: 'u', role: 'r' } });
    r.settle();
    expect(begin(`${KV}Range`, rangeRequest('a'))()).toBe('PermissionDenied');
  });
});

describe('the guard', () => {
  it('takes no answer from a handler that has not asked', () => {
    const { r, enable } = rig();
    enable();
    r.settle();
    const forgetful = unary(`${KV}Range`, ...types(r), (_call, _request, done) =>
      done({ kvs: [], more: false, count: 0 }),
    );
    const [method] = guarded(r.context, [forgetful]);
    const call: CallContext = { metadata: () => 'u', remote: '', cancelled: false, onCancel: () => {} };
    if (method!.kind !== 'unary') throw new Error('a stream');
    const { handle } = method!;
    expect(() => handle(call, rangeRequest('z'), () => {})).toThrow(/nobody had asked/);
    const refusing = unary(`${KV}Range`, ...types(r), (_call, _request, done) =>
      done(new RosterError('Other', 2, 'no')),
    );
    const [other] = guarded(r.context, [refusing]);
    if (other!.kind !== 'unary') throw new Error('a stream');
    let result: object | undefined;
    other!.handle(call, rangeRequest('z'), (answer: object) => {
      result = answer;
    });
    expect(codeOf(result)).toBe('Other');
  });
});

type Types = [request: typeof m.RangeRequest, response: typeof m.RangeResponse];

function types(r: Rig): Types {
  const { request, response } = r.methods.find(({ path }) => path === `${KV}Range`)!;
  return [request, response] as Types;
}
