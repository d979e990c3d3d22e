/** Which keys a command means: KEY, KEY END, --prefix, --from-key. The same rules for get, del and watch. */
import { prefixRange } from '../../client/key.ts';
import { utf8ToByteString } from '../../core/util/bytes.ts';
import { CommandError, Exit } from '../context.ts';

export interface RangeFlags {
  prefix?: boolean;
  fromKey?: boolean;
}

/** Every key from this one on. */
const OPEN_END = '\0';

export function keyRange(args: readonly string[], flags: RangeFlags): { key: string; range_end: string } {
  if (flags.prefix && flags.fromKey) {
    throw new CommandError(
      '`--prefix` and `--from-key` cannot be set at the same time, choose one',
      Exit.BAD_ARGUMENTS,
    );
  }
  if (args.length > 1 && (flags.prefix || flags.fromKey)) {
    throw new CommandError(
      'too many arguments, only accept one argument when `--prefix` or `--from-key` is set',
      Exit.BAD_ARGUMENTS,
    );
  }
  const key = args[0]!;
  if (flags.prefix) return prefixRange(key);
  if (flags.fromKey) return { key: key === '' ? '\0' : utf8ToByteString(key), range_end: OPEN_END };
  return { key: utf8ToByteString(key), range_end: utf8ToByteString(args[1] ?? '') };
}
