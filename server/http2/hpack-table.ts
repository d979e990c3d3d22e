/** HPACK's static table (RFC 7541 appendix A) and the lookups an encoder makes in it. Index 0 is not used, as in the RFC. */

const ENTRIES =
  ':authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200|:status 204|' +
  ':status 206|:status 304|:status 400|:status 404|:status 500|accept-charset|accept-encoding gzip, deflate|' +
  'accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|' +
  'content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|' +
  'cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|' +
  'last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|' +
  'server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate';

export const STATIC_NAMES: string[] = [''];
export const STATIC_VALUES: string[] = [''];
export const STATIC_ENTRIES = 61;

/** What RFC 7541 section 4.1 adds to the octets of a field. */
export const FIELD_OVERHEAD_BYTES = 32;
/** The dynamic table's size before any settings are exchanged (RFC 9113 section 6.5.2). */
export const DEFAULT_TABLE_BYTES = 4096;

const byField = new Map<string, number>();
const byName = new Map<string, number>();

for (const entry of ENTRIES.split('|')) {
  const space = entry.indexOf(' ');
  const name = space < 0 ? entry : entry.slice(0, space);
  const value = space < 0 ? '' : entry.slice(space + 1);
  const index = STATIC_NAMES.length;
  STATIC_NAMES.push(name);
  STATIC_VALUES.push(value);
  byField.set(`${name}\0${value}`, index);
  if (!byName.has(name)) byName.set(name, index);
}

/** The index of the field in the static table, or 0. */
export function staticField(name: string, value: string): number {
  return byField.get(`${name}\0${value}`) ?? 0;
}

/** The first index under which the static table has the name, or 0. */
export function staticName(name: string): number {
  return byName.get(name) ?? 0;
}
