/** Versions this server reports. Digits and dots only: clients parse them (Patroni, etcd3gw), and decide by them. */

/** The etcd release whose API Roster speaks. */
export const ETCD_VERSION = '3.7.1';
export const STORAGE_VERSION = '3.7.0';
/** Roster's own release; a test holds it against package.json. */
export const ROSTER_VERSION = '0.1.0';

/** What /version answers: of this member, and of the cluster, which is '' until its members have agreed. */
export function versions(clusterVersion: string): { etcdserver: string; etcdcluster: string; storage: string } {
  const decided = clusterVersion !== '';
  return {
    etcdserver: ETCD_VERSION,
    etcdcluster: decided ? clusterVersion : 'not_decided',
    storage: decided ? STORAGE_VERSION : 'unknown',
  };
}
