/**
 * Encoded messages that wait for one connection: urgent ones in front, the rest in order behind them, both bounded.
 * Owns what is dropped when they are full, and how many share a frame. Knows no socket.
 */
import type { PeerLimits } from './limits.ts';

/** First in, first out, without moving the rest. */
class Fifo {
  #items: Uint8Array[] = [];
  #head = 0;
  bytes = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  get first(): Uint8Array | undefined {
    return this.#items[this.#head];
  }

  push(item: Uint8Array): void {
    this.#items.push(item);
    this.bytes += item.length;
  }

  shift(): void {
    const item = this.first;
    if (item === undefined) return;
    this.bytes -= item.length;
    if (++this.#head === this.#items.length) this.clear();
    else if (this.#head >= 1024 && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
    this.bytes = 0;
  }
}

export interface OutgoingFrame {
  readonly bytes: Uint8Array;
  readonly messages: number;
}

/** Items are frames of one message each (peer-frame.ts), which can be joined. */
export class OutgoingQueue {
  readonly #limits: PeerLimits;
  readonly #urgent = new Fifo();
  readonly #backlog = new Fifo();

  constructor(limits: PeerLimits) {
    this.#limits = limits;
  }

  get length(): number {
    return this.#urgent.length + this.#backlog.length;
  }

  get bytes(): number {
    return this.#urgent.bytes + this.#backlog.bytes;
  }

  /** Always takes it. False: the oldest urgent one had to go, since the newer one says more. */
  pushUrgent(item: Uint8Array): boolean {
    const full = this.#urgent.length >= this.#limits.urgentMessagesMax;
    if (full) this.#urgent.shift();
    this.#urgent.push(item);
    return !full;
  }

  /** False: not taken, there is too much before it. */
  push(item: Uint8Array): boolean {
    const { backlogMessagesMax, backlogBytesMax } = this.#limits;
    const { length, bytes } = this.#backlog;
    if (length >= backlogMessagesMax || (length > 0 && bytes + item.length > backlogBytesMax)) return false;
    this.#backlog.push(item);
    return true;
  }

  /** As much as goes into the next frame; `undefined` when nothing waits. */
  takeFrame(): OutgoingFrame | undefined {
    const { frameBytesTarget, frameMessagesMax } = this.#limits;
    const items: Uint8Array[] = [];
    let bytes = 0;
    for (const fifo of [this.#urgent, this.#backlog]) {
      for (let item = fifo.first; item !== undefined; item = fifo.first) {
        const full = bytes + item.length > frameBytesTarget || items.length === frameMessagesMax;
        if (full && items.length > 0) return joined(items, bytes);
        fifo.shift();
        items.push(item);
        bytes += item.length;
      }
    }
    return items.length === 0 ? undefined : joined(items, bytes);
  }

  /** Drops all that can be made good only by asking anew. Returns how many. */
  clearBacklog(): number {
    const dropped = this.#backlog.length;
    this.#backlog.clear();
    return dropped;
  }

  /** Drops everything. Returns how many. */
  clear(): number {
    const dropped = this.length;
    this.#urgent.clear();
    this.#backlog.clear();
    return dropped;
  }
}

function joined(items: readonly Uint8Array[], bytes: number): OutgoingFrame {
  if (items.length === 1) return { bytes: items[0]!, messages: 1 };
  const frame = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const item of items) {
    frame.set(item, at);
    at += item.length;
  }
  return { bytes: frame, messages: items.length };
}
