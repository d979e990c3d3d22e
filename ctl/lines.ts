/** Lines of standard input, one at a time, for as long as somebody asks for them. */
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

export interface LineSource {
  /** The next line without its end; undefined when there is none any more. */
  next(): Promise<string | undefined>;
  close(): void;
}

/** A last line without a newline is a line too. */
export function linesOf(input: Readable): LineSource {
  const reader = createInterface({ input, terminal: false });
  const iterator = reader[Symbol.asyncIterator]();
  return {
    async next() {
      const { value, done } = await iterator.next();
      return done === true ? undefined : value;
    },
    close: () => reader.close(),
  };
}
