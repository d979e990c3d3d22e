/** Versions this server reports. Digits and dots only: clients parse them (Patroni, etcd3gw), and decide by them. */

/** The etcd release whose API Roster speaks. */
export const ETCD_VERSION = '3.7.1';
/** What the members of the cluster have agreed on; one member agrees with itself. */
export const CLUSTER_VERSION = '3.7.0';
export const STORAGE_VERSION = '3.7.0';
/** Roster's own release; a test holds it against package.json. */
export const ROSTER_VERSION = '0.1.0';
