/** IP addresses as bytes, and whether two texts are the same address. Holds no state. */
import { isIP } from 'node:net';

/** 4 or 16 bytes. The text must be an address, without a zone. */
export function addressBytes(text: string): Buffer {
  if (isIP(text) === 4) return Buffer.from(text.split('.').map(Number));
  // The URL parser writes the shorter forms out: no dotted quad remains.
  const plain = new URL(`http://[${text}]`).hostname.slice(1, -1);
  const [head = '', tail] = plain.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [before, after] = [groups(head), groups(tail ?? '')];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  const all = tail === undefined ? before : [...before, ...zeros, ...after];
  return Buffer.from(all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]));
}

/** An IPv4 address that came in on an IPv6 socket is itself: `::ffff:10.0.0.1` is `10.0.0.1`. */
export function plainAddress(text: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text)?.[1] ?? text;
}
