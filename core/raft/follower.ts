/**
 * The follower's side of log replication: what a leader's APPEND, HEARTBEAT and SNAPSHOT do to this node's log, and what
 * is answered (paper, figures 2 and 13). Whether the sender leads, and in which term, has been settled by raft.ts.
 */
import type { RaftLog } from './log.ts';
import { type Message, MessageType, newMessage, type Snapshot } from './messages.ts';
import type { Outbox } from './outbox.ts';
import type { Refill } from './refill.ts';
import type { Tracker } from './tracker.ts';

const T = MessageType.values;

export class Follower {
  readonly #log: RaftLog;
  readonly #tracker: Tracker;
  readonly #outbox: Outbox;
  readonly #refill: Refill;

  constructor(log: RaftLog, tracker: Tracker, outbox: Outbox, refill: Refill) {
    this.#log = log;
    this.#tracker = tracker;
    this.#outbox = outbox;
    this.#refill = refill;
  }

  #responseTo(message: Message, type: typeof T.APPEND_RESPONSE | typeof T.HEARTBEAT_RESPONSE): Message {
    const response = newMessage(type, message.from, message.term);
    response.refill = this.#refill.life;
    return response;
  }

  /** AppendEntries receiver (figure 2). The response waits until the entries are durable. */
  handleAppend(message: Message): void {
    const response = this.#responseTo(message, T.APPEND_RESPONSE);
    response.index = this.#log.committed;
    if (this.#tracker.isBlank) {
      // The log says how the configuration changed, not what it was in the beginning.
      response.reject = true;
      response.needs_snapshot = true;
    } else if (message.index >= this.#log.committed) this.#append(message, response);
    if (response.reject || !message.quiet) this.#outbox.send(response);
  }

  #append(message: Message, response: Message): void {
    const lastNew = this.#log.tryAppend(message.index, message.log_term, message.entries);
    if (lastNew === undefined) {
      const hint = this.#log.conflictByTerm(message.index, message.log_term);
      response.index = message.index;
      response.reject = true;
      response.reject_hint = hint.index;
      response.log_term = hint.term;
    } else {
      this.#log.commitTo(Math.min(message.commit, lastNew));
      response.index = lastNew;
    }
  }

  handleHeartbeat(message: Message): void {
    const response = this.#responseTo(message, T.HEARTBEAT_RESPONSE);
    // It may speak of the log that is lost; and who has forgotten a later term cannot vouch for this leader.
    if (!this.#refill.isOn) {
      this.#log.commitTo(message.commit);
      response.context = message.context;
    }
    this.#outbox.send(response);
  }

  /**
   * InstallSnapshot receiver (figure 13), when its content has arrived whole. The response waits until it is installed,
   * and says how far the log is known to equal the leader's.
   */
  handleSnapshot(message: Message): void {
    const { snapshot } = message;
    if (snapshot !== undefined) this.#restore(snapshot);
    const response = this.#responseTo(message, T.APPEND_RESPONSE);
    response.index = this.#log.committed;
    this.#outbox.send(response);
  }

  #restore(snapshot: Snapshot): void {
    const { index, term, conf_state: conf } = snapshot;
    if (conf === undefined || index <= this.#log.committed) return;
    if (this.#log.term(index) === term) {
      // Figure 13, step 6: the log has all that the snapshot has, and may have more.
      this.#log.commitTo(index);
      return;
    }
    // It may lack this node: then the change that adds it follows in the log.
    this.#log.restore(snapshot);
    this.#tracker.switchTo(conf, index);
  }
}
