/**
 * The leader's side of log replication (paper 5.3, section 7 for snapshots): what to send to whom, and what an answer
 * says about a follower's log. Moves no commit index and no term; leadership.ts and raft.ts do.
 */
import type { RaftConfig } from './config.ts';
import { entryBytes, type RaftLog } from './log.ts';
import { type Message, MessageType, newMessage } from './messages.ts';
import type { Outbox } from './outbox.ts';
import type { Progress } from './progress.ts';
import { NO_LIFE } from './refill.ts';
import type { Tracker } from './tracker.ts';

const T = MessageType.values;

export class Replication {
  readonly #config: RaftConfig;
  readonly #log: RaftLog;
  readonly #tracker: Tracker;
  readonly #outbox: Outbox;

  constructor(config: RaftConfig, log: RaftLog, tracker: Tracker, outbox: Outbox) {
    this.#config = config;
    this.#log = log;
    this.#tracker = tracker;
    this.#outbox = outbox;
  }

  /**
   * Tells every follower the new commit index, with what it lacks or alone. Alone it needs no answer: what a lost message
   * leaves open is settled by the next heartbeat's.
   */
  broadcastCommit(term: number): void {
    for (const peer of this.#tracker.peers) this.send(peer, term, true, true);
  }

  /** Sends every follower what it lacks, or the commit index alone. */
  broadcast(term: number): void {
    for (const peer of this.#tracker.peers) this.send(peer, term, true);
  }

  /**
   * One APPEND to a follower that may be sent to; without entries only `evenIfEmpty`, and then `quiet` if no answer is
   * needed. False when nothing was sent. To a follower that needs entries already compacted, a snapshot.
   */
  send(peer: Progress, term: number, evenIfEmpty: boolean, quiet = false): boolean {
    if (peer.paused) return false;
    const prevIndex = peer.next - 1;
    const prevTerm = this.#log.term(prevIndex);
    if (prevTerm === undefined) return this.sendSnapshot(peer, term);
    const entries = peer.inflights.full
      ? []
      : this.#log.slice(peer.next, this.#log.lastIndex, this.#config.appendBytesMax);
    if (entries.length === 0 && !evenIfEmpty) return false;
    let bytes = 0;
    for (const entry of entries) bytes += entryBytes(entry);
    const message = newMessage(T.APPEND, peer.id, term);
    message.index = prevIndex;
    message.log_term = prevTerm;
    message.entries = entries;
    message.commit = this.#log.committed;
    // What one that is refilled says to it counts (refill.ts).
    message.quiet = quiet && entries.length === 0 && peer.state === 'replicate' && !this.isRefilled(peer);
    if (this.isRefilled(peer)) message.refill = peer.refilling;
    this.#outbox.send(message);
    peer.sent(entries.length, bytes);
    peer.sentCommit = message.commit;
    return true;
  }

  /**
   * Offers the state as it is applied here (section 7). Not to a follower that is silent: the content would be streamed
   * to nobody. False when nothing was sent.
   */
  sendSnapshot(peer: Progress, term: number): boolean {
    if (!peer.recentActive) return false;
    const index = this.#log.applied;
    const message = newMessage(T.SNAPSHOT, peer.id, term);
    message.snapshot = { index, term: this.#log.term(index)!, conf_state: this.#tracker.conf };
    message.commit = this.#log.committed;
    this.#outbox.send(message);
    peer.becomeSnapshotting(index);
    return true;
  }

  /** The member has its log back: the fence is committed, without its help, and the member holds it. */
  isRefilled({ refilling, fence, match }: Progress): boolean {
    return refilling !== NO_LIFE && match >= fence && this.#log.committed >= fence;
  }

  /** Dissertation 3.10: the follower may begin an election at once. */
  sendTimeoutNow(to: bigint, term: number): void {
    this.#outbox.send(newMessage(T.TIMEOUT_NOW, to, term));
  }

  /** Heartbeats to all. The commit index is cut to what the follower is known to hold, so that it can take it blindly. */
  broadcastHeartbeat(term: number, readRound: number): void {
    for (const peer of this.#tracker.peers) {
      const message = newMessage(T.HEARTBEAT, peer.id, term);
      message.commit = Math.min(peer.match, this.#log.committed);
      message.context = readRound;
      this.#outbox.send(message);
    }
  }

  /** A follower is alive. If it lacks entries, or an answer to earlier ones was lost, it hears from the leader again. */
  handleHeartbeatResponse(peer: Progress, term: number): void {
    if (peer.state === 'snapshotting') return;
    peer.paused = false;
    if (peer.match < this.#log.lastIndex || peer.state === 'probe') this.send(peer, term, true);
  }

  /** The follower has refused: goes back in its log, skipping whole terms (5.3), and tries again. */
  handleRefusal(peer: Progress, message: Message, term: number): void {
    if (message.needs_snapshot) {
      if (peer.match === 0 && peer.state !== 'snapshotting') this.sendSnapshot(peer, term);
      return;
    }
    // The follower's term at its hint, when it gave one, rules out every later entry of ours.
    const hint =
      message.log_term > 0
        ? this.#log.conflictByTerm(message.reject_hint, message.log_term).index
        : message.reject_hint;
    if (peer.refused(message.index, hint)) this.send(peer, term, true);
  }

  /** The follower holds everything up to `message.index`. False when that is no news. */
  handleAcknowledgement(peer: Progress, message: Message): boolean {
    const news = peer.acknowledged(message.index);
    if (!news && !(peer.state === 'probe' && peer.match === message.index)) return false;
    if (peer.state === 'probe') peer.becomeReplicate();
    else if (peer.state === 'snapshotting') {
      // It has enough to go on with the log, whichever snapshot or entries it had that from.
      if (peer.match + 1 >= this.#log.firstIndex) peer.becomeReplicate();
    } else peer.inflights.freeUpTo(message.index);
    return true;
  }

  /** Sends all that flow control lets through. */
  sendAll(peer: Progress, term: number): void {
    while (this.send(peer, term, false)) {}
  }
}
