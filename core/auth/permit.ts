/**
 * What one user may do, as of one auth revision: the permissions of all its roles merged. Deny by default. Made by
 * AuthStore; never changes.
 */
import type { ByteString } from '../util/bytes.ts';
import { type Permission, PermissionType, type Role } from '../wire/messages.ts';
import { type KeyRange, keyRange, RangeSet } from './ranges.ts';

/** Who holds it may do everything. It may be granted without being there. */
export const ROOT_ROLE = 'root';

const { READ, WRITE, READWRITE } = PermissionType.values;

export class Permit {
  readonly user: string;
  readonly isRoot: boolean;
  readonly #roleNames: readonly string[];
  readonly #reads: RangeSet;
  readonly #writes: RangeSet;

  /** `roles`: those of `roleNames` that exist. */
  constructor(user: string, roleNames: readonly string[], roles: readonly Role[]) {
    this.user = user;
    this.#roleNames = roleNames;
    this.isRoot = roleNames.includes(ROOT_ROLE);
    const permissions = roles.flatMap((role) => role.keyPermission);
    this.#reads = rangesOf(permissions, READ);
    this.#writes = rangesOf(permissions, WRITE);
  }

  hasRole(role: string): boolean {
    return this.#roleNames.includes(role);
  }

  /** All keys that a request names by `key` and `rangeEnd`: '' that one key, "\0" from it on, else up to the end. */
  mayRead(key: ByteString, rangeEnd: ByteString): boolean {
    return this.isRoot || this.#reads.contains(key, rangeEnd);
  }

  /** See {@link mayRead}. */
  mayWrite(key: ByteString, rangeEnd: ByteString): boolean {
    return this.isRoot || this.#writes.contains(key, rangeEnd);
  }
}

/** An unknown type of permission permits nothing. */
function rangesOf(permissions: readonly Permission[], type: number): RangeSet {
  const ranges: KeyRange[] = [];
  for (const { permType, key, range_end } of permissions) {
    if (permType !== type && permType !== READWRITE) continue;
    const range = keyRange(key, range_end);
    if (range !== undefined) ranges.push(range);
  }
  return new RangeSet(ranges);
}
