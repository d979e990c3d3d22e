import type { ErrorCode } from './frames.ts';

/** The peer broke the protocol so that the connection cannot go on (RFC 9113 section 5.4.1). Ends in a GOAWAY. */
export class ConnectionError extends Error {
  override name = 'ConnectionError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
