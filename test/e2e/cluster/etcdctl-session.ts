/**
 * Debian's `etcdctl` at a cluster of three: every command about members and endpoints, with its mistakes, and members
 * really started with the environment it prints. Written down as a transcript in which everything that may differ
 * between two clusters is masked, and each id and address replaced by whose it is.
 */
import { execFile } from 'node:child_process';
import { expect } from 'vitest';
import { sleep } from '../../../client/wait.ts';
import { Cluster } from './cluster.ts';
import { type ClusterKind, Member } from './processes.ts';

const COMMAND_TIMEOUT_MS = 20_000;
const RETRY_TIMEOUT_MS = 30_000;
const NOTICED_MS = 3_000;

interface Options {
  /** Again, unrecorded, while the output matches: what needs a moment. */
  while?: RegExp;
  /** Whom to ask, instead of the first member. */
  endpoints?: readonly Member[];
}

class Session {
  readonly cluster: Cluster;
  readonly transcript: string[] = [];
  readonly #etcdctl: string;
  /** Decimal and hexadecimal ids, and addresses, with what stands for them. */
  readonly #names = new Map<string, string>();
  readonly #ids = new Map<string, bigint>();
  readonly #hashes = new Map<string, string>();

  constructor(cluster: Cluster, etcdctl: string) {
    this.cluster = cluster;
    this.#etcdctl = etcdctl;
    for (const member of cluster.members) this.introduce(member);
  }

  introduce(member: Member): void {
    this.#names.set(`127.0.0.1:${member.place.clientPort}`, `<client ${member.name}>`);
    for (const host of ['127.0.0.1', 'localhost']) {
      this.#names.set(`${host}:${member.place.advertisedPeerPort}`, `<peer ${member.name} at ${host}>`);
    }
  }

  /** Learns the ids of all members, by their peer URLs: who has not started has no name. */
  async learn(): Promise<void> {
    const admin = this.cluster.admin(this.cluster.members[0]!);
    const status = await admin.status();
    this.#name(status.header!.cluster_id, '<cluster>');
    for (const { ID, peerURLs } of await admin.memberList()) {
      const port = new URL(peerURLs[0]!).port;
      const name = this.#names.get(`127.0.0.1:${port}`)!.split(' ')[1]!;
      this.#ids.set(name, ID);
      this.#name(ID, `<id ${name}>`);
    }
  }

  idOf(name: string): string {
    return this.#ids.get(name)!.toString(16);
  }

  /** Runs one command; `$name` stands for a member's id. Resolves with what it printed, unmasked. */
  async run(line: string, options: Options = {}): Promise<string> {
    const args = line.split(' ').map((word) => word.replace(/^\$(\w+)$/, (_, name: string) => this.idOf(name)));
    const deadline = Date.now() + RETRY_TIMEOUT_MS;
    for (;;) {
      const output = await this.#execute(args, options.endpoints ?? this.cluster.members.slice(0, 1));
      if (options.while?.test(output) && Date.now() < deadline) {
        await sleep(200);
        continue;
      }
      this.transcript.push(`$ etcdctl ${this.#mask(line)}\n${this.#mask(output)}`);
      return output;
    }
  }

  /** Makes `name` the leader, so that what is printed does not depend on elections. */
  async ledBy(name: string): Promise<void> {
    const wanted = this.cluster.members.find((member) => member.name === name)!;
    for (;;) {
      const leader = await this.cluster.leader();
      if (leader === wanted) return;
      // An election may be under way.
      await this.cluster
        .admin(leader)
        .moveLeader(this.#ids.get(name)!)
        .catch(() => sleep(100));
    }
  }

  #name(id: bigint, name: string): void {
    this.#names.set(id.toString(16), name);
    this.#names.set(id.toString(), name);
  }

  #execute(args: readonly string[], endpoints: readonly Member[]): Promise<string> {
    const env = {
      ...process.env,
      ETCDCTL_API: '3',
      ETCDCTL_ENDPOINTS: endpoints.map(({ endpoint }) => endpoint).join(','),
    };
    return new Promise((resolve) => {
      execFile(this.#etcdctl, args, { env, timeout: COMMAND_TIMEOUT_MS }, (error, stdout, stderr) => {
        resolve(`${stdout}${stderr}\n~ exit ${error === null ? 0 : error.code}`);
      });
    });
  }

  #mask(output: string): string {
    let text = output;
    for (const [value, name] of this.#names) text = text.replaceAll(value, name);
    for (const [pattern, replacement] of masks) text = text.replace(pattern, replacement);
    text = text.replace(/(?<=ETCD_INITIAL_CLUSTER=")[^"]*/g, (members) => members.split(',').sort().join());
    text = text.replace(/("hash":|"Hash" : |<client \w+>(?:, | \| ))(\d+)/g, (_, before: string, hash: string) => {
      const known = this.#hashes.get(hash) ?? `<hash ${this.#hashes.size}>`;
      this.#hashes.set(hash, known);
      return before + known;
    });
    // Members come in the order of their ids, which differ; how often the client tries again, too.
    const lines = text.split('\n').map((line) => sortedJson(line).trimEnd());
    return lines
      .filter((line, i) => line !== '' && !(line.startsWith('{"level"') && lines.indexOf(line) < i))
      .sort()
      .join('\n');
  }
}

const masks: readonly [RegExp, string][] = [
  [/(<id \w+>(?:, | \| +))[\d.]+(, | \| +)[\d.]+ [kM]?B/g, '$1<version>$2<size>'],
  [
    /((?:true|false)(?:, | \| +)(?:true|false)(?:, | \| +))\d+(, | \| +)\d+(, | \| +)\d+/g,
    '$1<term>$2<index>$3<applied>',
  ],
  [/("(?:raft_term|raftIndex|raftTerm|raftAppliedIndex|dbSize|dbSizeInUse|revision)":)\d+/g, '$1#'],
  [/("(?:Revision|RaftTerm|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse)" : )\d+/g, '$1#'],
  [/("[vV]ersion"(?: : |:))"[^"]*"/g, '$1"<version>"'],
  [/took = [^\s"]+/g, 'took = #'],
  [/"took":"[^"]+"/g, '"took":"#"'],
  [/\{"level":"warn","ts":"[^"]*","caller":"[^"]*"/g, '{"level":"warn"'],
  [/"target":"[^"]*","attempt":\d+/g, '"target":"#","attempt":#'],
  // etcd 3.7 says so; its code was another in 3.4.
  [/code = Unavailable(?= desc = etcdserver: rpc not supported for learner)/g, 'code = FailedPrecondition'],
  // An id that is nobody's yet, or no longer: what is added and refused has none to learn.
  [/\b(?=\w*\d)[0-9a-f]{11,16}\b/g, '<new id>'],
  // Columns are as wide as what was masked.
  [/[-+]{3,}/g, '---'],
  [/ {2,}/g, ' '],
];

/** Arrays in a fixed order; other text as it is. */
function sortedJson(line: string): string {
  if (!/^[[{]/.test(line)) return line;
  const sorted = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sorted).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, sorted(inner)]));
  };
  try {
    // Ids have been replaced by names, as bare words.
    return JSON.stringify(sorted(JSON.parse(line.replace(/(?<=[:[,])(<[^<>]+>|#)(?=[,\]}])/g, '"$1"'))));
  } catch {
    return line;
  }
}

/** The environment `member add` prints. */
function environmentOf(output: string): Record<string, string> {
  return Object.fromEntries([...output.matchAll(/^(ETCD_\w+)="(.*)"$/gm)].map((match) => [match[1]!, match[2]!]));
}

/** Founds a cluster, goes through everything, and leaves nothing behind. */
export async function memberSession(kind: ClusterKind, etcdctl: string): Promise<string[]> {
  const cluster = await Cluster.start({ kind, size: 3 });
  try {
    const session = new Session(cluster, etcdctl);
    await session.learn();
    await session.ledBy('m0');
    await lookAround(session);
    await moveLeadership(session);
    const voter = await addVoter(session);
    const learner = await addLearner(session);
    await removeVoter(session, voter);
    await unhealthy(session, learner);
    return session.transcript;
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${cluster.tails()}`, { cause: error });
  } finally {
    await cluster.stop();
  }
}

async function lookAround(session: Session): Promise<void> {
  await session.run('put /a 1');
  for (const format of ['simple', 'json', 'fields', 'table']) {
    await session.run(`member list -w ${format}`);
    await session.run(`endpoint status --cluster -w ${format}`);
    await session.run(`endpoint hashkv --cluster -w ${format}`);
  }
  await session.run('endpoint health --cluster');
  await session.run('endpoint health --cluster -w json');
  await session.run('put /a 2');
  await session.run('put /b 3');
  await session.run('compaction 3');
  await session.run('endpoint hashkv --cluster');
  await session.run('endpoint hashkv --cluster --rev 2');
  await session.run('endpoint hashkv --cluster --rev 99');
}

async function moveLeadership(session: Session): Promise<void> {
  const all = { endpoints: session.cluster.members.slice() };
  await session.run('move-leader $m1', all);
  await session.run('move-leader $m0', all);
  await session.run('move-leader $m0');
  await session.run('move-leader 1234567');
  await session.run('move-leader nonsense');
  await session.run('move-leader');
  await session.ledBy('m0');
  const follower = session.cluster.members[1]!;
  await session.run('move-leader $m2', { endpoints: [follower] });
}

async function start(session: Session, place: Member['place'], output: string): Promise<Member> {
  const env = environmentOf(output);
  expect(Object.keys(env).sort()).toEqual([
    'ETCD_INITIAL_ADVERTISE_PEER_URLS',
    'ETCD_INITIAL_CLUSTER',
    'ETCD_INITIAL_CLUSTER_STATE',
    'ETCD_NAME',
  ]);
  const member = new Member(place, { flags: [], env });
  session.cluster.members.push(member);
  member.start();
  return member;
}

async function addVoter(session: Session): Promise<Member> {
  const { cluster } = session;
  const place = await cluster.place();
  const peerUrl = `http://127.0.0.1:${place.advertisedPeerPort}`;
  session.introduce(new Member(place, { flags: [] }));
  await session.run('member add');
  await session.run('member add m3');
  await session.run('member add m3 --peer-urls=nonsense');
  await session.run(`member add m3 --peer-urls=${cluster.members[0]!.peerUrl}`, { while: /unhealthy cluster/ });
  const output = await session.run(`member add m3 --peer-urls=${peerUrl}`, { while: /unhealthy cluster/ });
  await session.learn();
  await session.run('member list');
  const member = await start(session, place, output);
  await member.healthy();
  await session.ledBy('m0');
  await session.run('endpoint status --cluster', { while: /Failed to get/ });
  await session.run('endpoint health --cluster');
  await session.run('endpoint hashkv --cluster');
  await session.run('get /b', { endpoints: [member] });
  await session.run(`member update $m3 --peer-urls=${peerUrl},http://localhost:${place.advertisedPeerPort}`);
  await session.run(`member update $m3 --peer-urls=${cluster.members[0]!.peerUrl}`);
  await session.run('member update $m3 --peer-urls=nonsense');
  await session.run('member update $m3');
  await session.run(`member update 1234567 --peer-urls=${peerUrl}`);
  await session.run(`member update nonsense --peer-urls=${peerUrl}`);
  await session.run('member list -w json');
  await session.run(`member update $m3 --peer-urls=${peerUrl} -w json`);
  return member;
}

async function addLearner(session: Session): Promise<Member> {
  const { cluster } = session;
  const place = await cluster.place();
  const peerUrl = `http://127.0.0.1:${place.advertisedPeerPort}`;
  session.introduce(new Member(place, { flags: [] }));
  const output = await session.run(`member add m4 --learner --peer-urls=${peerUrl}`, { while: /unhealthy cluster/ });
  await session.learn();
  await session.run('member promote $m4');
  await session.run('member add m5 --learner --peer-urls=http://127.0.0.1:9', { while: /unhealthy cluster/ });
  const member = await start(session, place, output);
  await session.run('member list', { while: /unstarted/ });
  await session.run('member list -w json');
  await session.ledBy('m0');
  await session.run('endpoint status --cluster');
  await session.run('get /b', { endpoints: [member] });
  await session.run('put /b 4', { endpoints: [member] });
  await session.run('move-leader $m4');
  await session.run('member promote $m4', { while: /in sync with leader/ });
  await member.healthy();
  await session.run('member promote $m4');
  await session.run('member promote $m0');
  await session.run('member promote 1234567');
  await session.run('member promote nonsense');
  await session.run('member promote');
  await session.run('member list');
  await session.run('endpoint health --cluster');
  await session.run('put /b 5', { endpoints: [member] });
  return member;
}

async function removeVoter(session: Session, voter: Member): Promise<void> {
  await session.run('member remove $m3', { while: /unhealthy cluster/ });
  const code = await voter.gone;
  session.transcript.push(`${voter.name} ends by itself, ${code === null ? 'by a signal' : 'with an exit code'}`);
  await session.run('member remove $m3');
  await session.run('member remove nonsense');
  await session.run('member remove');
  await session.run('member list');
  await session.run('endpoint health --cluster');
}

/** One of four is down, and goes; then one of three is, and what would put the majority at risk is refused. */
async function unhealthy(session: Session, down: Member): Promise<void> {
  await down.kill();
  await session.run('endpoint health --cluster');
  await session.run('endpoint status --cluster');
  await session.run('endpoint hashkv --cluster');
  await session.run('member remove $m4 -w json');
  await session.run('member list -w fields');
  await session.cluster.members[2]!.kill();
  // Refused only once its end has been noticed.
  await sleep(NOTICED_MS);
  await session.run('member add m6 --peer-urls=http://127.0.0.1:9');
  await session.run('member remove $m1');
  await session.run('member list');
  await session.run('endpoint health');
  await session.run('put /a 6');
}
