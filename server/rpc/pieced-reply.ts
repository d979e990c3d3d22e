/**
 * A response that is encoded while it is sent: its length is known, its bytes are not there yet. For answers that would be
 * too large to hold in memory. Knows no frames; doors that cannot send one so do not ask for it (`CallContext.takesPieces`).
 */
import type { RosterError } from '../../core/errors.ts';

/** Where the pieces go. */
export interface PieceSink {
  /** Takes the next bytes of the message, which stay the caller's. False: hold back until `drained`. */
  write(piece: Uint8Array): boolean;
  /** All bytes have been written. */
  end(): void;
  /** The rest cannot be had: what was sent is worth nothing. */
  fail(error: RosterError): void;
}

export interface PiecedReply {
  readonly pieced: true;
  /** Bytes of the whole message. */
  readonly bytes: number;
  /** To be called once: from now on pieces come. */
  begin(sink: PieceSink): void;
  /** The sink can take more. */
  drained(): void;
  /** Nobody wants the rest. */
  cancel(): void;
}

export function isPieced(result: object): result is PiecedReply {
  return 'pieced' in result;
}
