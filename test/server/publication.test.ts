import { describe, expect, it } from 'vitest';
import { rosterError } from '../../core/errors.ts';
import { Membership } from '../../core/membership/membership.ts';
import { MemoryBackend } from '../../core/mvcc/memory-backend.ts';
import type { MemberAttributes } from '../../core/wire/stored.ts';
import { publish } from '../../server/publication.ts';

const NEVER = new AbortController().signal;
const attributes: MemberAttributes = { ID: 1n, name: 'a', clientURLs: ['http://b:1', 'http://a:1'] };

function rig(answers: (object | 'apply')[]) {
  const membership = new Membership(new MemoryBackend(setImmediate));
  membership.add({ ID: 1n, name: '', peerURLs: ['http://p:1'], clientURLs: [], isLearner: false });
  const retries: string[] = [];
  let attempts = 0;
  const world = {
    node: {
      propose(request: { member_attributes?: MemberAttributes }, done: (result: object) => void) {
        attempts++;
        const answer = answers.shift() ?? 'apply';
        if (answer === 'apply')
          done(membership.setAttributes(request.member_attributes!) ? {} : rosterError('MemberNotFound'));
        else done(answer);
      },
    },
    membership: () => membership,
    onRetry: (error: Error) => retries.push(error.message),
  };
  return { membership, world, retries, attempts: () => attempts };
}

describe('publish()', () => {
  it('tries until the cluster has it', async () => {
    const { membership, world, retries, attempts } = rig([rosterError('Timeout')]);
    await publish(attributes, world, NEVER);
    expect(membership.member(1n)).toMatchObject({ name: 'a', clientURLs: attributes.clientURLs });
    expect([attempts(), retries]).toEqual([2, ['etcdserver: request timed out']]);
  });

  it('writes nothing when nothing has changed', async () => {
    const { membership, world, attempts } = rig([]);
    membership.setAttributes({ ...attributes, clientURLs: [...attributes.clientURLs].reverse() });
    await publish(attributes, world, NEVER);
    expect(attempts()).toBe(0);
    await publish({ ...attributes, name: 'renamed' }, world, NEVER);
    expect([attempts(), membership.member(1n)?.name]).toEqual([1, 'renamed']);
  });

  it.each(['MemberNotFound', 'Stopped'] as const)('gives up after %s', async (code) => {
    const { world, attempts } = rig([rosterError(code)]);
    await publish(attributes, world, NEVER);
    expect(attempts()).toBe(1);
  });

  it('ends when it is told to', async () => {
    const { world, attempts } = rig([rosterError('Timeout'), rosterError('Timeout')]);
    const stop = new AbortController();
    await publish(attributes, { ...world, onRetry: () => stop.abort() }, stop.signal);
    expect(attempts()).toBe(1);
  });
});
