/**
 * What one seed stands for: which faults there are in its run, how strong, how many members and clients, and how they
 * are set up. Swarm-style: every fault is absent from about half of the runs, because faults hide each other.
 */
import { Prng } from '../../core/util/prng.ts';

/** What the nemesis does from time to time. */
export const FAULTS = [
  'split',
  'cutPair',
  'cutOneWay',
  'isolateLeader',
  'powerLoss',
  'kill',
  'crashInTurn',
  'crashInInstall',
  'crashLeader',
  'crashAll',
  'pause',
  'pauseLeader',
  'stallLeader',
  'syncError',
  'commitError',
  'diskFull',
  'diskStall',
  'bitRot',
  'stop',
  'transfer',
] as const;
export type Fault = (typeof FAULTS)[number];

export interface Settings {
  seed: number;
  members: number;
  clients: number;
  /** Those who hold a lease each and do nothing else. */
  keepers: number;
  watchers: number;
  faultMs: number;
  /** Mean time between two strokes of the nemesis, and how long a cut or pause lasts at most. */
  strokeMs: number;
  lastingMs: number;
  faults: readonly Fault[];
  /** Mean time between two changes of the members; 0: they stay. */
  memberChangeMs: number;
  /** The operator removes no voter when so few are left. */
  votersMin: number;
  /** Chances per message. */
  loss: number;
  duplication: number;
  spike: number;
  /** Delay of a message: at least, by chance on top (this reorders), and by chance on top of a spike. */
  delayMs: number;
  jitterMs: number;
  spikeMs: number;
  /** A disk operation, and a commit of the backend, take up to this. */
  diskMs: number;
  commitMs: number;
  sectorBytes: number;
  segmentBytes: number;
  /** Clocks run at 1 - drift to 1 + drift of true time. */
  drift: number;
  preVote: boolean;
  /** Pause of a client between two operations, at most. */
  thinkMs: number;
  clientTimeoutMs: number;
  keys: number;
  /** Chances of operations that not every run has. */
  leases: number;
  compactions: number;
  /** What is left of leases goes through the log this often. */
  checkpointMs: number;
  /** Chance that a watcher is slow to read. */
  slowReader: number;
  applyEntriesMax: number;
  /** Log entries kept for followers that are late; others get a snapshot. */
  keepEntries: number;
  /** Snapshots travel in pieces of about this size. */
  chunkBytes: number;
  /** Healed, this many members stay dead while the others must go on. */
  staysDead: number;
}

/** Members' clocks are never further off true time than this. */
export const DRIFT_MAX = 0.05;

export function settingsOf(seed: number): Settings {
  const prng = new Prng(seed);
  const sometimes = (most: number) => (prng.int(2) === 0 ? 0 : prng.float() * most);
  const between = (low: number, high: number) => low + prng.float() * (high - low);
  const members = prng.int(3) === 0 ? 5 : 3;
  return {
    seed,
    members,
    clients: 2 + prng.int(4),
    keepers: prng.int(3),
    watchers: prng.int(4),
    faultMs: between(10_000, 25_000),
    strokeMs: between(300, 3_000),
    lastingMs: between(500, 6_000),
    faults: FAULTS.filter(() => prng.int(2) === 0),
    memberChangeMs: prng.int(2) === 0 ? 0 : between(500, 4_000),
    votersMin: 1 + prng.int(3),
    loss: sometimes(0.2),
    duplication: sometimes(0.2),
    spike: sometimes(0.05),
    delayMs: between(0.2, 5),
    jitterMs: sometimes(40),
    spikeMs: 3_000,
    diskMs: prng.int(3) === 0 ? between(10, 150) : between(0.2, 5),
    commitMs: prng.int(2) === 0 ? between(200, 3_000) : 20,
    sectorBytes: prng.int(2) === 0 ? 512 : 4096,
    segmentBytes: [2048, 4096, 16_384][prng.int(3)]!,
    drift: sometimes(DRIFT_MAX),
    preVote: prng.int(5) > 0,
    thinkMs: between(10, 200),
    clientTimeoutMs: between(500, 4_000),
    keys: 1 + prng.int(6),
    leases: sometimes(0.25),
    compactions: sometimes(0.03),
    checkpointMs: between(500, 5_000),
    slowReader: sometimes(0.2),
    applyEntriesMax: prng.int(2) === 0 ? 1 + prng.int(4) : 1_000,
    keepEntries: [0, 3, 30, 5_000][prng.int(4)]!,
    chunkBytes: prng.int(2) === 0 ? 300 : 10_000,
    staysDead: prng.int(1 + (members - 1) / 2),
  };
}
