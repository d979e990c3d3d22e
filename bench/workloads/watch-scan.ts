/** Reads of a WatchResponse only what a count of events needs; a generator that decoded all of them would be the limit. */

export interface WatchScan {
  /** 0 when none was said. */
  watchId: number;
  created: boolean;
  canceled: boolean;
  events: number;
}

/** Field numbers of etcdserverpb.WatchResponse. */
const WATCH_ID = 2;
const CREATED = 3;
const CANCELED = 4;
const EVENTS = 11;

let at = 0;

function varint(bytes: Uint8Array): number {
  let value = 0;
  for (let factor = 1; ; factor *= 128) {
    const byte = bytes[at++]!;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return value;
  }
}

/** `bytes[start..end]` must be a whole, valid message. Ids below 2^53. */
export function scanWatchResponse(bytes: Uint8Array, start: number, end: number): WatchScan {
  const scan: WatchScan = { watchId: 0, created: false, canceled: false, events: 0 };
  at = start;
  while (at < end) {
    const tag = varint(bytes);
    const value = varint(bytes);
    const field = tag >>> 3;
    if ((tag & 7) === 2) at += value;
    if (field === EVENTS) scan.events++;
    else if (field === WATCH_ID) scan.watchId = value;
    else if (field === CREATED) scan.created = value === 1;
    else if (field === CANCELED) scan.canceled = value === 1;
  }
  return scan;
}
