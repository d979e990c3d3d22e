import { describe, expect, it } from 'vitest';
import { rosterError } from '../../core/errors.ts';
import { CHECKS_WAITING_MAX, CheckedStream } from '../../server/rpc/checked-stream.ts';
import type { CheckDone } from '../../server/rpc/service.ts';
import { Stream } from '../rpc/rig.ts';

function open() {
  const seen: unknown[] = [];
  const checks: CheckDone[] = [];
  const responder = new Stream();
  const stream = new CheckedStream(responder, (_request, done) => void checks.push(done)).begin({
    message: (request) => void seen.push(request),
    halfClose: () => void seen.push('half closed'),
    cancel: () => void seen.push('cancelled'),
  });
  return { seen, checks, responder, stream };
}

describe('a checked stream', () => {
  it('keeps the order, however long a check takes', () => {
    const { seen, checks, stream } = open();
    for (const i of [1, 2]) stream.message({ i });
    stream.halfClose();
    expect([seen, checks.length]).toEqual([[], 1]);
    checks[0]!(undefined);
    expect([seen, checks.length]).toEqual([[{ i: 1 }], 2]);
    checks[1]!(undefined);
    expect(seen).toEqual([{ i: 1 }, { i: 2 }, 'half closed']);
  });

  it('ends with the first refusal, for both sides', () => {
    const { seen, checks, responder, stream } = open();
    for (const i of [1, 2]) stream.message({ i });
    checks[0]!(rosterError('PermissionDenied'));
    stream.message({ i: 3 });
    stream.halfClose();
    expect([seen, responder.ended, checks.length]).toEqual([['cancelled'], 'PermissionDenied', 1]);
  });

  it('does nothing after its end, when a check comes late', () => {
    const { seen, checks, responder, stream } = open();
    stream.message({ i: 1 });
    stream.end();
    checks[0]!(rosterError('PermissionDenied'));
    expect([seen, responder.ended]).toEqual([[], 'ok']);
    const other = open();
    other.stream.message({ i: 1 });
    other.stream.cancel();
    other.checks[0]!(undefined);
    expect([other.seen, other.responder.ended]).toEqual([['cancelled'], undefined]);
  });

  it('lets so many wait and no more', () => {
    const { responder, stream } = open();
    for (let i = 0; i <= CHECKS_WAITING_MAX; i++) stream.message({ i });
    expect(responder.ended).toBeUndefined();
    stream.message({ i: -1 });
    expect(responder.ended).toBe('Other');
  });
});
