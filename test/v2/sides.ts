/** Debian's `etcd --enable-v2` and Roster, side by side. */
import { startEtcd } from '../support/etcd.ts';
import { startRoster } from '../support/roster.ts';
import { Side } from './side.ts';

export interface Sides {
  /** Etcd first. */
  readonly sides: readonly Side[];
  stop(): Promise<void>;
}

export async function startSides(etcd: string | undefined): Promise<Sides> {
  const servers = await Promise.all([startEtcd(etcd, ['--enable-v2']), startRoster()]);
  const sides = servers.map((server, i) => new Side(i === 0 ? 'etcd' : 'roster', server.endpoint));
  // So that no number of a case is taken for an index.
  for (const side of sides) {
    for (let n = 0; n < 20; n++) await side.keys({ method: 'PUT', path: '/before', body: `value=${n}` });
  }
  return {
    sides,
    async stop() {
      for (const side of sides) side.close();
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}
