/**
 * The keys in a snapshot of etcd 0.4: a JSON tree of nodes, by itself or inside the file that the server wrote, with a
 * checksum before it. Reads text; writes nothing.
 */
import { z } from 'zod';

/** A pair to be written. */
export interface Entry04 {
  key: string;
  value: string;
  /** What is left of its time; undefined: it has no end. */
  ttlSeconds: number | undefined;
}

interface Node04 {
  Path: string;
  Value?: string | undefined;
  ExpireTime?: string | undefined;
  Children?: Record<string, Node04> | null | undefined;
}

const Node: z.ZodType<Node04> = z.object({
  Path: z.string(),
  Value: z.string().optional(),
  ExpireTime: z.string().optional(),
  Children: z.lazy(() => z.record(z.string(), Node).nullish()),
});
const Tree = z.object({ Root: Node });
/** `state` is the tree, as octets in base64 or in an array. */
const File = z.object({ state: z.union([z.string(), z.array(z.number())]) });

/**
 * The pairs of the snapshot `text`, without those in hidden directories but for `hidden`, and without those that have
 * expired at `nowMs` (epoch). Undefined when it is no snapshot.
 */
export function entriesOf(text: string, hidden: readonly string[], nowMs: number): Entry04[] | undefined {
  const root = rootOf(text);
  if (root === undefined) return undefined;
  const entries: Entry04[] = [];
  const wanted = hidden.map((key) => `/${key.replace(/^\/+|\/+$/g, '')}`);
  collect(root, wanted, nowMs, entries);
  return entries;
}

function rootOf(text: string): Node04 | undefined {
  // The server's file begins with a line that holds the checksum.
  const start = text.indexOf('{');
  const value = start === -1 ? undefined : parsed(text.slice(start));
  const tree = Tree.safeParse(value);
  if (tree.success) return tree.data.Root;
  const file = File.safeParse(value);
  if (!file.success) return undefined;
  const { state } = file.data;
  const octets = typeof state === 'string' ? Buffer.from(state, 'base64') : Buffer.from(state);
  const inner = Tree.safeParse(parsed(octets.toString()));
  return inner.success ? inner.data.Root : undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function collect(node: Node04, hidden: readonly string[], nowMs: number, entries: Entry04[]): void {
  const name = node.Path.slice(node.Path.lastIndexOf('/') + 1);
  if (name.startsWith('_') && !hidden.includes(node.Path)) return;
  const end = node.ExpireTime === undefined ? Number.NaN : Date.parse(node.ExpireTime);
  // Year 1 is Go's way to say never.
  const ttlSeconds = end > 0 ? Math.ceil((end - nowMs) / 1_000) : undefined;
  if (ttlSeconds !== undefined && ttlSeconds <= 0) return;
  if (node.Children === undefined || node.Children === null) {
    entries.push({ key: node.Path, value: node.Value ?? '', ttlSeconds });
    return;
  }
  for (const child of Object.values(node.Children)) collect(child, hidden, nowMs, entries);
}
