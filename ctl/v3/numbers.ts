/** Numbers and ids on the command line, refused in etcdctl's words. */
import { CommandError, Exit } from '../context.ts';
import { parseInteger, parseUnsigned } from '../go-text.ts';

/** Parser for a flag that is an integer. Revisions beyond 2^53 do not exist, so a number holds it. */
export function integer(flag: string): (text: string) => number {
  return (text) => {
    const value = parseInteger(text);
    if (typeof value === 'bigint') return clamped(value);
    throw new CommandError(`invalid argument "${text}" for "--${flag}" flag: ${value.complaint}`);
  };
}

export function clamped(value: bigint): number {
  const max = BigInt(Number.MAX_SAFE_INTEGER);
  return Number(value > max ? max : value < -max ? -max : value);
}

/** The lease id in `text`, hexadecimal; `what` is how etcdctl calls it in its complaint. */
export function parseLeaseId(text: string, what: string): bigint {
  const id = parseInteger(text, 16);
  if (typeof id === 'bigint') return id;
  throw new CommandError(`bad ${what} (${id.complaint}), expecting ID in Hex`, Exit.BAD_ARGUMENTS);
}

/** The member id in `text`, hexadecimal. */
export function parseMemberId(text: string): bigint {
  const id = parseUnsigned(text, 16);
  if (typeof id === 'bigint') return id;
  throw new CommandError(`bad member ID arg (${id.complaint}), expecting ID in Hex`, Exit.BAD_ARGUMENTS);
}

/** Refuses another number of arguments than `count`. */
export function expectArguments(args: readonly string[], count: number, complaint: string): void {
  if (args.length !== count) throw new CommandError(complaint, Exit.BAD_ARGUMENTS);
}
