/** How the driver sets Raft up. Numbers only. */
import type { RaftConfig, RaftPrng } from '../raft/config.ts';
import type { NodeConfig } from './world.ts';

/** Replication to one follower, as etcd's raft is set up: 1 MiB per message, 512 messages ahead, but 64 MiB at most. */
const APPEND_BYTES_MAX = 1024 * 1024;
const INFLIGHT_APPENDS_MAX = 512;
const INFLIGHT_BYTES_MAX = 64 * 1024 * 1024;

export function raftConfig(config: NodeConfig, prng: RaftPrng): RaftConfig {
  const { limits } = config;
  return {
    id: config.id,
    // Who belongs to the cluster is part of the state, from the first start on.
    voters: [],
    electionTicks: Math.max(2, Math.round(config.electionMs / config.tickMs)),
    heartbeatTicks: 1,
    preVote: config.preVote,
    checkQuorum: config.checkQuorum,
    prng,
    uncommittedBytesMax: limits.proposalBytesPendingMax,
    committedEntriesPerReadyMax: limits.applyEntriesMax,
    committedBytesPerReadyMax: limits.applyBytesMax,
    appendBytesMax: APPEND_BYTES_MAX,
    inflightAppendsMax: INFLIGHT_APPENDS_MAX,
    inflightBytesMax: INFLIGHT_BYTES_MAX,
    readsPendingMax: 1,
  };
}
