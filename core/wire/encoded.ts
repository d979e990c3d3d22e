/** A message that carries its own encoding, so that bytes made once (an event, a stored pair) are sent many times. */

const encoded: unique symbol = Symbol('encoded');

interface Carrier {
  [encoded]?: Uint8Array;
}

/** Remembers `bytes` as the protobuf encoding of `message`, which must not change afterwards. Returns `message`. */
export function withEncoded<T extends object>(message: T, bytes: Uint8Array): T {
  (message as Carrier)[encoded] = bytes;
  return message;
}

/** The remembered encoding, if any. The binary encoder copies it instead of walking the fields. */
export function encodedOf(message: object): Uint8Array | undefined {
  return (message as Carrier)[encoded];
}
