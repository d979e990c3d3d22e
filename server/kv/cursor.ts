/** Cursors of lists: where the next page begins, and the revision that all pages are read at. Opaque to clients. */
import type { ByteString } from '../../core/util/bytes.ts';
import { badRequest } from './errors.ts';
import type { Parameters } from './parameters.ts';

export interface Place {
  /** 0: the present one. */
  readonly revision: number;
  /** The first key of the page; '': the first there is. */
  readonly from: ByteString;
}

export function cursorOf(revision: number, from: ByteString): string {
  return `${revision}.${Buffer.from(from, 'latin1').toString('base64url')}`;
}

/** Where to begin below `prefix`: `cursor`, or `rev`. Throws a RosterError when the cursor is none of this list. */
export function placeOf(parameters: Parameters, prefix: ByteString): Place {
  const cursor = parameters.text('cursor');
  const revision = parameters.number('rev');
  if (cursor === undefined) return { revision: revision ?? 0, from: '' };
  const match = /^([1-9][0-9]{0,15})\.([A-Za-z0-9_-]+)$/.exec(cursor);
  const from = match === null ? '' : Buffer.from(match[2]!, 'base64url').toString('latin1');
  if (match === null || !Number.isSafeInteger(Number(match[1])) || !from.startsWith(prefix)) {
    throw badRequest(
      'BadParameter',
      'the parameter cursor is none of this list',
      'Give `next` of the page before, with the same path.',
    );
  }
  if (revision !== undefined) {
    throw badRequest(
      'BadParameter',
      'rev and cursor are both given',
      'The cursor has the revision in it: leave out rev.',
    );
  }
  return { revision: Number(match[1]), from };
}
