/** How much work a password hash takes: etcd's default and bounds for --bcrypt-cost, a power of two. */
export const BCRYPT_COST = 10;
export const BCRYPT_COST_MIN = 4;
export const BCRYPT_COST_MAX = 31;
