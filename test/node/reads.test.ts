import { expect, it } from 'vitest';
import { rosterError } from '../../core/errors.ts';
import { Reads } from '../../core/node/reads.ts';

it('counts the reads that came to nothing, and no others', () => {
  const reads = new Reads(10);
  const answers: (string | undefined)[] = [];
  const done = (error?: Error) => answers.push(error?.message);
  reads.ask(done, 5);
  reads.ask(done, 5);
  reads.waitApplied(7, done, 9);
  reads.expire(5);
  expect([reads.failed, reads.count]).toEqual([2, 1]);
  reads.applied(7);
  expect([reads.failed, reads.count]).toEqual([2, 0]);
  reads.ask(done, 20);
  reads.refuseAll(rosterError('Stopped'));
  expect(reads.failed).toBe(3);
  expect(answers).toEqual([
    'etcdserver: request timed out',
    'etcdserver: request timed out',
    undefined,
    'etcdserver: server stopped',
  ]);
});

it('counts the rounds that are begun again', () => {
  const reads = new Reads(10);
  reads.ask(() => {}, 5);
  expect(reads.beginRound()).toBe(1n);
  reads.reopenRound(7n);
  expect(reads.reopened).toBe(0);
  reads.reopenRound();
  reads.reopenRound();
  expect([reads.reopened, reads.wantsRound]).toEqual([1, true]);
});
