/** Thrown when Roster itself is wrong: never caught, so that the process stops before it can make things worse. */
export class AssertionError extends Error {
  override name = 'AssertionError';
}

/** Stops the program when `condition` does not hold. For bugs only; bad input is a {@link RosterError}. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}
