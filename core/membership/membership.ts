/**
 * Who belongs to the cluster: the members, the ids that were removed and never come back, and the version all go by.
 * Owns their rows in the backend (buckets members, members_removed, cluster) and applies changes the same way on every
 * replica. Never decides whether a change is wise: that is rules.ts, asked by the leader before the change enters its log.
 */
import { GrpcStatus, otherError, RosterError, rosterError } from '../errors.ts';
import type { Backend } from '../mvcc/backend.ts';
import { assert } from '../util/assert.ts';
import { type ByteString, byteStringToUtf8, fromByteString, toByteString, utf8ToByteString } from '../util/bytes.ts';
import { decode, encode } from '../wire/binary.ts';
import { Member } from '../wire/messages.ts';
import type { MemberAttributes } from '../wire/stored.ts';
import { parsePeerUrls } from './peer-urls.ts';

/** etcd's name in the bucket `cluster`. */
const CLUSTER_VERSION = 'clusterVersion';
const DOWNGRADE = 'downgrade';
/** etcd's mark of a removed member. */
const REMOVED = fromByteString('removed');

export class Membership {
  /** Called after every change, and after {@link restore}, when the new membership can be read. Must not write to it. */
  onChange: (() => void) | undefined;
  #backend: Backend;
  /** Immutable, sorted by ID. */
  #members: Member[] = [];
  #removed = new Set<bigint>();
  #clusterVersion = '';
  #downgradeTarget = '';

  /** Empty, whatever the backend holds: see {@link restore}. */
  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /**
   * Reads the membership from `backend`, which it lies in from now on: at start, and when a snapshot has taken the
   * backend's place. Throws a RosterError DATA_LOSS when a row is not what it should be.
   */
  restore(backend: Backend = this.#backend): void {
    const members: Member[] = [];
    const removed = new Set<bigint>();
    backend.scan('members', '', undefined, (key, value) => {
      const member = readMember(value);
      if (member === undefined || idKey(member.ID) !== key) throw damaged('a member');
      members.push(member);
      return true;
    });
    backend.scan('members_removed', '', undefined, (key) => {
      removed.add(readId(key));
      return true;
    });
    const text = (name: string) => {
      const bytes = backend.get('cluster', name);
      return bytes === undefined ? '' : byteStringToUtf8(toByteString(bytes));
    };
    this.#backend = backend;
    this.#members = members;
    this.#removed = removed;
    this.#clusterVersion = text(CLUSTER_VERSION);
    this.#downgradeTarget = text(DOWNGRADE);
    this.onChange?.();
  }

  /** All members, sorted by ID. Shared and immutable: a change makes a new list, and a new Member of what it changes. */
  get members(): Member[] {
    return this.#members;
  }

  member(id: bigint): Member | undefined {
    return this.#members.find(({ ID }) => ID === id);
  }

  /** Whether a member with this id was removed: it never comes back under it. */
  isRemoved(id: bigint): boolean {
    return this.#removed.has(id);
  }

  /** All ids that were removed, ever. The set is the one in force: do not keep it. */
  get removed(): ReadonlySet<bigint> {
    return this.#removed;
  }

  /** What the members have agreed on (`3.7.0`); '' until they have. */
  get clusterVersion(): string {
    return this.#clusterVersion;
  }

  /** What the members are to go back to (`3.6.0`), one after the other; '' while nobody wants that. */
  get downgradeTarget(): string {
    return this.#downgradeTarget;
  }

  // ---- changes, in the order of the log

  /** The first members, written into an empty backend. */
  bootstrap(members: readonly Member[]): void {
    assert(this.#members.length === 0 && this.#removed.size === 0, 'a membership begins once');
    for (const member of members) this.#put(member);
    this.onChange?.();
  }

  /** A new member. What it is called and where it serves clients it says itself when it starts. */
  add(member: Member): void {
    this.#put(member);
    this.onChange?.();
  }

  /** A learner becomes a voter. */
  promote(id: bigint): void {
    const member = this.member(id);
    if (member === undefined) return;
    this.#put({ ...member, isLearner: false });
    this.onChange?.();
  }

  remove(id: bigint): void {
    this.#members = this.#members.filter(({ ID }) => ID !== id);
    this.#removed.add(id);
    this.#backend.delete('members', idKey(id));
    this.#backend.put('members_removed', idKey(id), REMOVED);
    this.onChange?.();
  }

  /**
   * New peer URLs, and nothing else: a learner stays one (etcd #21694). MemberNotFound, MemberBadURLs, PeerURLExist;
   * then nothing has changed.
   */
  updatePeerUrls(id: bigint, urls: readonly string[]): RosterError | undefined {
    const member = this.member(id);
    if (member === undefined) return rosterError('MemberNotFound');
    const peerURLs = parsePeerUrls(urls);
    if (peerURLs === undefined) return rosterError('MemberBadURLs');
    if (peerUrlTaken(this.#members, peerURLs, id)) return rosterError('PeerURLExist');
    this.#put({ ...member, peerURLs });
    this.onChange?.();
    return undefined;
  }

  /** What a member says of itself. False, and nothing has changed, for one that was removed or never added. */
  setAttributes({ ID, name, clientURLs }: MemberAttributes): boolean {
    const member = this.member(ID);
    if (member === undefined) return false;
    this.#put({ ...member, name, clientURLs: [...clientURLs] });
    this.onChange?.();
    return true;
  }

  setClusterVersion(version: string): void {
    this.#clusterVersion = version;
    this.#backend.put('cluster', CLUSTER_VERSION, fromByteString(utf8ToByteString(version)));
    this.onChange?.();
  }

  setDowngradeTarget(version: string): void {
    this.#downgradeTarget = version;
    if (version === '') this.#backend.delete('cluster', DOWNGRADE);
    else this.#backend.put('cluster', DOWNGRADE, fromByteString(utf8ToByteString(version)));
    this.onChange?.();
  }

  #put(member: Member): void {
    const others = this.#members.filter(({ ID }) => ID !== member.ID);
    this.#members = [...others, member].sort((a, b) => (a.ID < b.ID ? -1 : 1));
    this.#backend.put('members', idKey(member.ID), encode(Member, member));
  }
}

/** Whether one of `urls` belongs to a member other than `self`, or comes twice. */
export function peerUrlTaken(members: readonly Member[], urls: readonly string[], self?: bigint): boolean {
  const taken = new Set(members.filter(({ ID }) => ID !== self).flatMap(({ peerURLs }) => peerURLs));
  for (const url of urls) {
    if (taken.has(url)) return true;
    taken.add(url);
  }
  return false;
}

/** 8 bytes, big endian. */
function idKey(id: bigint): ByteString {
  let key = '';
  for (let shift = 56n; shift >= 0n; shift -= 8n) key += String.fromCharCode(Number((id >> shift) & 0xffn));
  return key;
}

function readId(key: ByteString): bigint {
  if (key.length !== 8) throw damaged('the id of a removed member');
  let id = 0n;
  for (let i = 0; i < 8; i++) id = (id << 8n) | BigInt(key.charCodeAt(i));
  return id;
}

function readMember(value: Uint8Array): Member | undefined {
  try {
    return decode(Member, value);
  } catch (error) {
    if (error instanceof RosterError) return undefined;
    throw error;
  }
}

function damaged(what: string): RosterError {
  return otherError(GrpcStatus.DATA_LOSS, `the store is damaged: ${what} is not one`);
}
