import { expect, it } from 'vitest';
import { clusterId, memberId } from '../../server/config/identity.ts';

// What etcd with its default flags calls itself, as anybody can read in its first log lines.
it("computes etcd's well-known default ids", () => {
  const id = memberId(['http://localhost:2380'], 'etcd-cluster');
  expect(id.toString(16)).toBe('8e9e05c52164694d');
  expect(clusterId([id]).toString(16)).toBe('cdf818194e3a8c32');
});

it('does not depend on the order of URLs and members', () => {
  expect(memberId(['http://b:1', 'http://a:1'], 't')).toBe(memberId(['http://a:1', 'http://b:1'], 't'));
  expect(clusterId([1n, 2n ** 63n])).toBe(clusterId([2n ** 63n, 1n]));
});
