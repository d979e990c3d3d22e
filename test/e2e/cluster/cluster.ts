/**
 * A cluster of real processes on loopback: founding it, asking who leads, replacing members, and leaving nothing
 * behind. With `links`, all traffic between members goes through proxies of the test.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Member as ListedMember } from '../../../core/wire/messages.ts';
import { Admin } from './admin.ts';
import { atExit } from './at-exit.ts';
import { Links } from './links.ts';
import { type ClusterKind, Member, type MemberPlace, placeMember } from './processes.ts';

const LEADER_TIMEOUT_MS = 30_000;
const CHANGE_TIMEOUT_MS = 60_000;
/** One question to a member that may be stopped. */
const STATUS_TIMEOUT_MS = 500;

export interface ClusterOptions {
  kind: ClusterKind;
  size: number;
  /** Flags of every member. */
  flags?: readonly string[];
  /** Proxies between the members. */
  links?: boolean;
  /** Where the data directory of the first member goes, instead of the cluster's folder. */
  firstDataDir?: string;
}

export class Cluster {
  readonly kind: ClusterKind;
  readonly folder: string;
  readonly links: Links | undefined;
  readonly members: Member[] = [];
  readonly #flags: readonly string[];
  readonly #admins = new Map<string, Admin>();
  #named = 0;
  readonly #forget: () => void;

  private constructor(options: ClusterOptions, folder: string) {
    this.kind = options.kind;
    this.folder = folder;
    this.#flags = options.flags ?? [];
    this.#forget = atExit(() => rmSync(folder, { recursive: true, force: true }));
    this.links = options.links ? new Links(() => this.#pids()) : undefined;
  }

  /** Founds a cluster; ready when every member is healthy. Nothing is left when that fails. */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const cluster = new Cluster(options, await mkdtemp(join(tmpdir(), `roster-cluster-${options.kind}-`)));
    try {
      const places: MemberPlace[] = [];
      for (let i = 0; i < options.size; i++)
        places.push(await cluster.place(i === 0 ? options.firstDataDir : undefined));
      const initial = places.map(({ name, advertisedPeerPort }) => `${name}=http://127.0.0.1:${advertisedPeerPort}`);
      const flags = [...cluster.#flags, '--initial-cluster', initial.join(','), '--initial-cluster-state', 'new'];
      cluster.members.push(...places.map((place) => new Member(place, { flags })));
      for (const member of cluster.members) member.start();
      await Promise.all(cluster.members.map((member) => member.healthy()));
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  /** Ports and a folder for one more member, behind a proxy where there are proxies. */
  async place(dataDir?: string): Promise<MemberPlace> {
    const name = `m${this.#named++}`;
    const place = await placeMember(this.kind, name, this.folder, dataDir);
    const advertisedPeerPort = (await this.links?.add(name, place.peerPort)) ?? place.peerPort;
    return { ...place, advertisedPeerPort };
  }

  get endpoints(): string[] {
    return this.members.map((member) => member.endpoint);
  }

  admin(member: Member): Admin {
    const admin = this.#admins.get(member.name) ?? new Admin(member.endpoint);
    this.#admins.set(member.name, admin);
    return admin;
  }

  /** The member that says it leads, in the highest term that any member knows of; undefined when there is none. */
  async currentLeader(): Promise<Member | undefined> {
    const asked = this.members.filter((member) => member.running && !member.paused);
    const answers = await Promise.all(
      asked.map(async (member) => ({
        member,
        status: await this.admin(member)
          .status(STATUS_TIMEOUT_MS)
          .catch(() => undefined),
      })),
    );
    let best: { member: Member; term: number } | undefined;
    for (const { member, status } of answers) {
      if (status === undefined || status.leader === 0n || status.leader !== status.header!.member_id) continue;
      const term = Number(status.raftTerm);
      if (best === undefined || term > best.term) best = { member, term };
    }
    return best?.member;
  }

  /** Waits until there is a leader. */
  async leader(timeoutMs = LEADER_TIMEOUT_MS): Promise<Member> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const leader = await this.currentLeader();
      if (leader !== undefined) return leader;
      if (Date.now() > deadline) throw new Error(`no leader within ${timeoutMs} ms:\n${this.tails()}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Adds a member that has its data yet to get, and starts it. Resolves when it is healthy, a voter. */
  async addMember(asLearner: boolean): Promise<Member> {
    const place = await this.place();
    const peerUrl = `http://127.0.0.1:${place.advertisedPeerPort}`;
    await this.#untilListed(
      peerUrl,
      (listed) => listed !== undefined,
      (admin) => admin.memberAdd(peerUrl, asLearner),
    );
    const initial = this.members.map((member) => `${member.name}=${member.peerUrl}`).concat(`${place.name}=${peerUrl}`);
    const flags = [...this.#flags, '--initial-cluster', initial.join(','), '--initial-cluster-state', 'existing'];
    const member = new Member(place, { flags });
    this.members.push(member);
    member.start();
    if (asLearner) {
      const promote = (admin: Admin, id: bigint) => admin.memberPromote(id);
      await this.#untilListed(peerUrl, (listed) => listed?.isLearner === false, promote);
    }
    await member.healthy();
    return member;
  }

  /** Takes a member out of the cluster, and its process and data away. */
  async removeMember(member: Member): Promise<void> {
    const remove = (admin: Admin, id: bigint) => admin.memberRemove(id);
    await this.#untilListed(member.peerUrl, (listed) => listed === undefined, remove, member);
    this.members.splice(this.members.indexOf(member), 1);
    await member.kill();
    this.links?.remove(member.name);
    this.#admins.get(member.name)?.close();
    this.#admins.delete(member.name);
    await rm(member.place.dataDir, { recursive: true, force: true });
  }

  /** The ends of all logs, for a failure's text. */
  tails(lines = 15): string {
    return this.members.map((member) => `--- ${member.name} (pid ${member.pid})\n${member.tail(lines)}`).join('\n');
  }

  /** SIGKILL to all, and folders away. `CLUSTER_LOGS=folder` keeps the logs there. */
  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()));
    this.links?.close();
    for (const admin of this.#admins.values()) admin.close();
    const logs = process.env.CLUSTER_LOGS;
    if (logs !== undefined && logs !== '') await this.#keepLogs(join(logs, basename(this.folder)));
    await rm(this.folder, { recursive: true, force: true });
    this.#forget();
  }

  async #keepLogs(folder: string): Promise<void> {
    mkdirSync(folder, { recursive: true });
    for (const { name, place } of this.members) await cp(place.logFile, join(folder, `${name}.log`), { force: true });
  }

  /**
   * Asks for a change, one member after another, until the list of members shows it: after an accident a change needs a
   * moment, and one whose answer was lost may have been made.
   */
  async #untilListed(
    peerUrl: string,
    done: (listed: ListedMember | undefined) => boolean,
    change: (admin: Admin, id: bigint) => Promise<unknown>,
    except?: Member,
  ): Promise<void> {
    const deadline = Date.now() + CHANGE_TIMEOUT_MS;
    for (let attempt = 0; ; attempt++) {
      const able = this.members.filter((member) => member !== except && member.running);
      const admin = this.admin(able[attempt % able.length]!);
      try {
        const listed = (await admin.memberList()).find(({ peerURLs }) => peerURLs.includes(peerUrl));
        if (done(listed)) return;
        await change(admin, listed?.ID ?? 0n);
      } catch (error) {
        if (Date.now() > deadline) throw new Error(`${error}\n${this.tails()}`, { cause: error });
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  #pids(): Map<string, number> {
    return new Map(this.members.flatMap((member) => (member.pid === undefined ? [] : [[member.name, member.pid]])));
  }
}
