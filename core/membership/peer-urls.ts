/**
 * Peer URLs as etcd's types.NewURLs takes them: http or https, host and port, no path. Owns the check only. The unix
 * sockets that etcd also takes are refused: members here talk over TCP.
 */

const PATTERN = /^(https?):\/\/((?:\[[0-9a-f:.]+\]|[\w.~-]+):\d{1,5})$/i;

/** `urls` trimmed, with the scheme in lower case, in etcd's order; `undefined` unless all are peer URLs, and at least one. */
export function parsePeerUrls(urls: readonly string[]): string[] | undefined {
  if (urls.length === 0) return undefined;
  const parsed: string[] = [];
  for (const url of urls) {
    const match = PATTERN.exec(url.trim());
    if (match === null) return undefined;
    const text = `${match[1]!.toLowerCase()}://${match[2]!}`;
    // A port above 65535, an address that is none: whoever connects must not be the first to notice.
    if (!URL.canParse(text)) return undefined;
    parsed.push(text);
  }
  return parsed.sort();
}
