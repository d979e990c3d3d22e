/**
 * If-Match and If-None-Match: a key's ETag is its mod_revision, so a condition is a comparison that the store makes where
 * the change is applied. Owns the headers' grammar; reads nothing.
 */
import type { ByteString } from '../../core/util/bytes.ts';
import { defaults } from '../../core/wire/binary.ts';
import * as m from '../../core/wire/messages.ts';
import { badRequest } from './errors.ts';

/** Any revision of a key that exists, or these. */
export type Match = '*' | readonly number[];

export interface Conditions {
  readonly match: Match | undefined;
  readonly noneMatch: Match | undefined;
}

/** More revisions than this in one header are a mistake. */
const MATCHES_MAX = 100;

export function etag(revision: number): string {
  return `"${revision}"`;
}

/** Throws a RosterError when a header cannot be read. */
export function conditionsOf(header: (name: string) => string | undefined): Conditions {
  return { match: matchOf('If-Match', header), noneMatch: matchOf('If-None-Match', header) };
}

function matchOf(name: string, header: (name: string) => string | undefined): Match | undefined {
  const value = header(name)?.trim();
  if (value === undefined) return undefined;
  if (value === '*') return '*';
  const tags = value.split(',');
  const revisions = tags.map((tag) => {
    // A proxy that compresses makes a tag weak; bare digits are what people type.
    const digits = /^\s*(?:(?:W\/)?"([0-9]{1,16})"|([0-9]{1,16}))\s*$/.exec(tag);
    return digits === null ? Number.NaN : Number(digits[1] ?? digits[2]);
  });
  if (tags.length > MATCHES_MAX || revisions.some((revision) => !Number.isSafeInteger(revision))) {
    throw badRequest(
      'BadHeader',
      `the header ${name} is no ETag of this server`,
      `Give the ETag of an answer, such as ${name}: "7", or *.`,
    );
  }
  return revisions;
}

/** Whether a key at `revision` (undefined: it does not exist) is meant. */
export function matches(match: Match, revision: number | undefined): boolean {
  return revision !== undefined && (match === '*' || match.includes(revision));
}

/** What must hold of `key` for a change. Throws a RosterError for what no single comparison says. */
export function comparesOf(key: ByteString, { match, noneMatch }: Conditions): m.Compare[] {
  const compares: m.Compare[] = [];
  const { EQUAL, GREATER, NOT_EQUAL } = m.CompareResult.values;
  const { CREATE, MOD } = m.CompareTarget.values;
  const add = (result: number, target: number, field: Partial<m.Compare>) =>
    compares.push({ ...defaults(m.Compare), key, result, target, ...field });
  if (match === '*') add(GREATER, CREATE, { create_revision: 0 });
  else if (match !== undefined) {
    if (match.length > 1)
      throw badRequest('BadHeader', 'If-Match names more than one revision', 'Name the one that was read.');
    // A key that does not exist has mod_revision 0 there, which is no ETag.
    add(GREATER, CREATE, { create_revision: 0 });
    add(EQUAL, MOD, { mod_revision: match[0]! });
  }
  if (noneMatch === '*') add(EQUAL, CREATE, { create_revision: 0 });
  else for (const revision of noneMatch ?? []) add(NOT_EQUAL, MOD, { mod_revision: revision });
  return compares;
}
