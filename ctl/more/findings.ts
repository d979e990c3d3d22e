/**
 * From what the members of a cluster answered to what is wrong with it: a sentence each, and another for what to do.
 * Asks nobody.
 */
import type { AlarmMember, Member, StatusResponse } from '../../client/index.ts';
import type { RosterError } from '../../core/errors.ts';
import { AlarmType } from '../../core/wire/messages.ts';
import { remedy } from '../hints.ts';
import { humanBytes, shortHexId } from '../output/text.ts';

/** What one endpoint answered. */
export interface Examined {
  endpoint: string;
  status?: StatusResponse;
  /** Why it did not answer at all. */
  problem?: RosterError;
  /** Why it could not read what the cluster agrees on. */
  readProblem?: RosterError;
  /** The fastest of a few such reads. */
  readMs?: number;
  alarms: readonly AlarmMember[];
  /** Its clock against ours. */
  clockSkewMs?: number | undefined;
}

export interface Examination {
  /** As the cluster knows them; empty when nobody could tell. */
  members: readonly Member[];
  examined: readonly Examined[];
  /** --endpoints. */
  given: readonly string[];
}

export interface Finding {
  severity: 'wrong' | 'warning';
  text: string;
  remedy: string;
}

/** A read in a cluster that does well takes a millisecond or two, and the way there. */
const READ_MS_MAX = 100;
/** Dates are told in whole seconds. */
const SKEW_MS_MAX = 2_000;
const QUOTA_SHARE_MAX = 0.8;
/** Free pages in a large database: space that only a defragmentation gives back, on etcd. */
const FREE_SHARE_MAX = 0.5;
const FREE_BYTES_MIN = 100_000_000;
const APPLY_LAG_MAX = 1_000;
const LEARNER_LAG_MAX = 1_000;

export function findings(examination: Examination): Finding[] {
  return [reachability, leadership, alarms, reads, quotas, versions, learners, clocks, lags].flatMap((look) =>
    look(examination),
  );
}

const wrong = (text: string, what: string): Finding => ({ severity: 'wrong', text, remedy: what });
const warning = (text: string, what: string): Finding => ({ severity: 'warning', text, remedy: what });

const sentence = (text: string): string => `${text[0]!.toUpperCase()}${text.slice(1)}${/[.?]$/.test(text) ? '' : '.'}`;

function nameOf({ members }: Examination, id: bigint): string {
  const name = members.find(({ ID }) => ID === id)?.name;
  return name ? `${name} (${shortHexId(id)})` : shortHexId(id);
}

const answering = ({ examined }: Examination) =>
  examined.flatMap(({ status, ...rest }) => (status === undefined ? [] : [{ ...rest, status }]));

function reachability({ members, examined }: Examination): Finding[] {
  const found = examined.flatMap(({ endpoint, problem }) => {
    if (problem === undefined) return [];
    const hint = remedy(problem) ?? 'is its server running?';
    return [wrong(`${endpoint} does not answer: ${problem.message.replace(`${endpoint}: `, '')}`, sentence(hint))];
  });
  for (const { ID, name } of members) {
    if (name !== '') continue;
    found.push(
      warning(
        `member ${shortHexId(ID)} was added and has never been started`,
        'Start it with --initial-cluster-state existing, or remove it: it counts for the majority.',
      ),
    );
  }
  const voters = members.filter(({ isLearner }) => !isLearner).length;
  if (voters > 0 && voters % 2 === 0) {
    const text = `there are ${voters} voting members: they survive the loss of as many as ${voters - 1} would`;
    found.push(warning(text, 'An odd number is better: add one, or remove one.'));
  }
  return found;
}

function leadership(examination: Examination): Finding[] {
  const found: Finding[] = [];
  const leaders = new Set<bigint>();
  for (const { endpoint, status } of answering(examination)) {
    if (status.leader === 0n) {
      const text = `${endpoint} knows no leader: nothing can be written or read through it`;
      found.push(
        wrong(text, 'Are a majority of the members running, and can they reach each other on their peer URLs?'),
      );
    } else leaders.add(status.leader);
  }
  if (leaders.size > 1) {
    const names = [...leaders].map((id) => nameOf(examination, id)).join(' and ');
    const text = `members disagree on who leads: ${names}`;
    found.push(warning(text, 'An election may be under way: look again. If it stays, they cannot reach each other.'));
  }
  const clusters = new Set(answering(examination).map(({ status }) => status.header?.cluster_id));
  if (clusters.size > 1) {
    const text = `the endpoints belong to ${clusters.size} different clusters`;
    found.push(wrong(text, 'Give the endpoints of one cluster; if they should be one, it was founded twice.'));
  }
  return found;
}

function alarms(examination: Examination): Finding[] {
  const raised = new Map<string, AlarmMember>();
  for (const one of examination.examined.flatMap((examined) => examined.alarms)) {
    raised.set(`${one.memberID} ${one.alarm}`, one);
  }
  return [...raised.values()].map(({ memberID, alarm }) => {
    const name = nameOf(examination, memberID);
    if (alarm === AlarmType.values.NOSPACE) {
      return wrong(
        `member ${name} is out of space: writes are refused in the whole cluster`,
        'Compact (rosterctl compaction REV), on etcd rosterctl defrag too, or raise --quota-backend-bytes; then rosterctl alarm disarm.',
      );
    }
    if (alarm === AlarmType.values.CORRUPT) {
      return wrong(
        `member ${name} holds other data than the rest: writes are refused`,
        'Compare rosterctl endpoint hashkv --cluster; remove the member that differs and add it anew, then rosterctl alarm disarm.',
      );
    }
    return wrong(`member ${name} has raised alarm ${alarm}`, 'See its log.');
  });
}

function reads({ examined }: Examination): Finding[] {
  return examined.flatMap(({ endpoint, readProblem, readMs, status }) => {
    if (readProblem !== undefined && status?.leader !== 0n && !status?.isLearner) {
      const hint = remedy(readProblem) ?? 'See the log of that member.';
      return [wrong(`${endpoint} cannot read: ${readProblem.message}`, sentence(hint))];
    }
    if (readMs === undefined || readMs <= READ_MS_MAX) return [];
    const text = `a read through ${endpoint} takes ${Math.round(readMs)} ms`;
    return [warning(text, 'Is the network to it, or between the members, slow, or is the machine or its disk busy?')];
  });
}

function quotas(examination: Examination): Finding[] {
  return answering(examination).flatMap(({ endpoint, status }) => {
    const { dbSize, dbSizeInUse, dbSizeQuota } = status;
    const found: Finding[] = [];
    if (dbSizeQuota > 0 && dbSizeInUse > dbSizeQuota * QUOTA_SHARE_MAX) {
      const share = Math.round((dbSizeInUse / dbSizeQuota) * 100);
      const text = `${endpoint} uses ${share} % of its quota of ${humanBytes(dbSizeQuota)}`;
      found.push(
        warning(text, 'Delete keys, compact, shorten --auto-compaction-retention, or raise --quota-backend-bytes.'),
      );
    }
    if (dbSize - dbSizeInUse > Math.max(FREE_BYTES_MIN, dbSize * FREE_SHARE_MAX)) {
      const text = `of the ${humanBytes(dbSize)} of the database at ${endpoint} only ${humanBytes(dbSizeInUse)} are in use`;
      found.push(warning(text, 'On etcd, rosterctl defrag gives the rest back; Roster uses it again by itself.'));
    }
    return found;
  });
}

function versions(examination: Examination): Finding[] {
  const seen = new Map<string, string[]>();
  for (const { endpoint, status } of answering(examination)) {
    seen.set(status.version, [...(seen.get(status.version) ?? []), endpoint]);
  }
  const found: Finding[] = [];
  if (seen.size > 1) {
    const list = [...seen].map(([version, endpoints]) => `${version} (${endpoints.join(', ')})`).join(', ');
    found.push(
      warning(`members run different versions: ${list}`, 'Finish the upgrade: the oldest decides what all can do.'),
    );
  }
  const changing = answering(examination).find(({ status }) => status.downgradeInfo?.enabled === true);
  if (changing !== undefined) {
    const target = changing.status.downgradeInfo!.targetVersion;
    found.push(warning(`a downgrade to ${target} is under way`, 'Finish it, or rosterctl downgrade cancel.'));
  }
  return found;
}

function learners(examination: Examination): Finding[] {
  const newest = Math.max(0, ...answering(examination).map(({ status }) => status.raftIndex));
  return answering(examination).flatMap(({ endpoint, status }) => {
    if (!status.isLearner) return [];
    const behind = newest - status.raftAppliedIndex;
    const id = shortHexId(status.header?.member_id ?? 0n);
    return behind > LEARNER_LAG_MAX
      ? [warning(`${endpoint} is a learner, ${behind} entries behind`, 'Wait until it has caught up, then promote it.')]
      : [warning(`${endpoint} is a learner that has caught up`, `rosterctl member promote ${id} lets it vote.`)];
  });
}

function clocks({ examined }: Examination): Finding[] {
  return examined.flatMap(({ endpoint, clockSkewMs }) => {
    if (clockSkewMs === undefined || Math.abs(clockSkewMs) <= SKEW_MS_MAX) return [];
    const seconds = Math.round(Math.abs(clockSkewMs) / 1_000);
    const text = `the clock of ${endpoint} is ${seconds} s ${clockSkewMs > 0 ? 'ahead of' : 'behind'} the one here`;
    return [warning(text, 'Certificates and signed tokens go by clocks: run NTP on all machines.')];
  });
}

function lags(examination: Examination): Finding[] {
  return answering(examination).flatMap(({ endpoint, status }) => {
    const lag = status.raftIndex - status.raftAppliedIndex;
    const found: Finding[] = [];
    if (lag > APPLY_LAG_MAX) {
      found.push(
        warning(`${endpoint} has ${lag} entries yet to apply`, 'Is its disk, or its machine, too slow for the load?'),
      );
    }
    for (const text of status.errors) {
      if (/no leader|alarm/.test(text)) continue;
      found.push(warning(`${endpoint} reports: ${text}`, 'See its log.'));
    }
    return found;
  });
}
