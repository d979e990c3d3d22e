/** The blocks of a PEM file (RFC 7468), strictly: a block that is cut off or is no base64 is an error, not fewer blocks. */

/** The contents of all blocks with `label`, in order. Throws a plain Error that says which is wrong. */
export function pemBlocks(text: string, label: string): Buffer[] {
  const begin = `-----BEGIN ${label}-----`;
  const end = `-----END ${label}-----`;
  const blocks: Buffer[] = [];
  for (let at = text.indexOf(begin); at >= 0; ) {
    const bodyAt = at + begin.length;
    const endAt = text.indexOf(end, bodyAt);
    const nextAt = text.indexOf(begin, bodyAt);
    const body = text.slice(bodyAt, endAt).replace(/\s+/g, '');
    const cut = endAt < 0 || (nextAt >= 0 && nextAt < endAt);
    if (cut || !/^[A-Za-z0-9+/]+={0,2}$/.test(body)) {
      throw new Error(`block ${blocks.length + 1} (${label}) is incomplete or damaged`);
    }
    blocks.push(Buffer.from(body, 'base64'));
    at = nextAt;
  }
  return blocks;
}
