import { describe } from 'vitest';
import { recipesSuite } from '../conformance/recipes.ts';
import { startEtcd } from '../support/etcd.ts';
import { findPeer } from '../support/peers.ts';
import { startRoster } from '../support/roster.ts';

const etcd = findPeer('etcd');

describe('the recipes against Roster', () => {
  recipesSuite(() => startRoster());
});

describe.skipIf(etcd === undefined)("the recipes against Debian's etcd (apt-get install etcd-server)", () => {
  recipesSuite(() => startEtcd(etcd));
});
