/** The peer's SETTINGS, read and checked (RFC 9113 section 6.5). Applies nothing. */

import { ConnectionError } from './connection-error.ts';
import { ErrorCode, FRAME_BYTES_MAX, readUint32, Setting, WINDOW_BYTES_MAX } from './frames.ts';

const FRAME_BYTES_LARGEST = 0xffffff;

/** What of the peer's settings concerns a sender that uses no dynamic table and no frame beyond the minimum. */
export interface PeerSettings {
  /** SETTINGS_INITIAL_WINDOW_SIZE, the last of the frame. */
  readonly initialWindow: number | undefined;
}

/** Reads a SETTINGS payload, whose length is a multiple of six. Throws {@link ConnectionError}. */
export function readSettings(bytes: Uint8Array, start: number, end: number): PeerSettings {
  let initialWindow: number | undefined;
  for (let at = start; at < end; at += 6) {
    const value = readUint32(bytes, at + 2);
    switch ((bytes[at]! << 8) | bytes[at + 1]!) {
      case Setting.ENABLE_PUSH:
        if (value > 1) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'SETTINGS_ENABLE_PUSH is neither 0 nor 1');
        break;
      case Setting.INITIAL_WINDOW_SIZE:
        if (value > WINDOW_BYTES_MAX) {
          throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'SETTINGS_INITIAL_WINDOW_SIZE beyond 2^31-1');
        }
        initialWindow = value;
        break;
      case Setting.MAX_FRAME_SIZE:
        if (value < FRAME_BYTES_MAX || value > FRAME_BYTES_LARGEST) {
          throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'SETTINGS_MAX_FRAME_SIZE out of range');
        }
        break;
      default: // unknown settings are ignored (RFC 9113 section 6.5.2)
    }
  }
  return { initialWindow };
}
