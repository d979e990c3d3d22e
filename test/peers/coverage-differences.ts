/**
 * The one list of what the table of coverage.test.ts shows differently from etcd 3.4.23, with the reason. An entry masks what
 * it names and no more; one that explains nothing fails the test.
 */
import { isDeepStrictEqual } from 'node:util';
import type { DoorName, Json, Seen } from './door.ts';

export interface Found {
  readonly rpc: string;
  readonly door: DoorName;
  readonly request: readonly object[];
  readonly etcd: Seen;
  readonly roster: Seen;
}

export interface CoverageDifference {
  readonly name: string;
  readonly reason: string;
  explains(found: Found): boolean;
}

/** RPCs that came after 3.4, with the release. */
export const NOT_IN_34: ReadonlyMap<string, string> = new Map([
  ['/etcdserverpb.KV/RangeStream', '3.7'],
  ['/etcdserverpb.Auth/AuthStatus', '3.5'],
  ['/etcdserverpb.Maintenance/Downgrade', '3.5'],
  ['/grpc.health.v1.Health/List', 'with the grpc-go of 3.6'],
]);

const MAINTENANCE = '/etcdserverpb.Maintenance/';
const FAILED_PRECONDITION = 9;

/** The messages without these fields. */
function without(seen: Seen, ...names: string[]): object {
  const messages = seen.messages.map((message) =>
    Object.fromEntries(Object.entries(message).filter(([name]) => !names.includes(name))),
  );
  return { ...seen, messages };
}

/** Both answers have come, and are equal but for these fields. */
function sameBut({ etcd, roster }: Found, ...names: string[]): boolean {
  const whole = etcd.messages.length > 0 && etcd.refusal === undefined;
  return whole && isDeepStrictEqual(without(etcd, ...names), without(roster, ...names));
}

export const COVERAGE_DIFFERENCES: readonly CoverageDifference[] = [
  {
    name: 'HTTP status of FAILED_PRECONDITION',
    reason: 'grpc-gateway v1 (etcd up to 3.5) maps it to 412, v2 to 400',
    explains: ({ etcd, roster }) =>
      etcd.refusal?.code === FAILED_PRECONDITION &&
      isDeepStrictEqual(etcd.refusal, { ...roster.refusal, httpStatus: 412 }) &&
      roster.refusal?.httpStatus === 400,
  },
  {
    name: 'header of Alarm',
    reason: '3.4 leaves it out',
    explains: (found) =>
      found.rpc === `${MAINTENANCE}Alarm` &&
      found.etcd.messages.every((message) => message.header === undefined) &&
      sameBut(found, 'header'),
  },
  {
    name: 'what Status says of the server',
    reason: 'version, size and log are the server’s own; storageVersion, dbSizeQuota and downgradeInfo are of 3.6',
    explains: (found) =>
      found.rpc === `${MAINTENANCE}Status` &&
      sameBut(
        found,
        ...['version', 'dbSize', 'dbSizeInUse', 'raftIndex', 'raftTerm', 'raftAppliedIndex'],
        ...['storageVersion', 'dbSizeQuota', 'downgradeInfo'],
      ),
  },
  {
    name: 'Hash',
    reason: 'it is of the whole database as it is stored, which no two implementations share',
    explains: (found) => found.rpc === `${MAINTENANCE}Hash` && sameBut(found, 'hash'),
  },
  {
    name: 'hash_revision of HashKV',
    reason: 'it came with 3.6; the hash itself is the same',
    explains: (found) =>
      found.rpc === `${MAINTENANCE}HashKV` &&
      found.roster.messages[0]?.hash === found.etcd.messages[0]?.hash &&
      sameBut(found, 'hash_revision'),
  },
  {
    name: 'path of HashKV',
    reason: '3.4 has no JSON path of its own for it',
    explains: ({ rpc, door, etcd }) =>
      rpc === `${MAINTENANCE}HashKV` && door === 'JSON' && etcd.refusal?.text === 'Not Found',
  },
  {
    name: 'file of Snapshot',
    reason: 'it is the server’s own database; its version came with 3.6',
    explains: (found) =>
      found.rpc === `${MAINTENANCE}Snapshot` &&
      [found.etcd, found.roster].every(({ messages }) => ((messages[0] as Json).blob as string).length > 100) &&
      sameBut(found, 'blob', 'remaining_bytes', 'version'),
  },
  {
    name: 'peer URLs that are none',
    reason:
      'etcd takes any text in MemberUpdate, after which nobody finds the member; Roster refuses it as in MemberAdd',
    explains: ({ rpc, etcd, roster }) =>
      rpc === '/etcdserverpb.Cluster/MemberUpdate' &&
      etcd.refusal === undefined &&
      roster.refusal?.text === 'etcdserver: given member URLs are invalid',
  },
];
