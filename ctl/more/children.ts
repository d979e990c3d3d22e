/**
 * What is directly below a prefix, found by skipping: each read asks for the first key after everything below the child
 * before it. Works on any etcd; costs one read a child, not one a key.
 */
import { prefixRange } from '../../client/key.ts';
import { type ByteString, byteStringToUtf8, prefixEnd, utf8ToByteString } from '../../core/util/bytes.ts';
import type { Context } from '../context.ts';
import { unsupported } from '../output/print.ts';

export interface ChildQuery {
  /** A separator is added to it when it has none at its end. */
  prefix: string;
  separator: string;
  /** 0: now. */
  revision: number;
}

export interface Child {
  /** The whole key, or, for a branch, the prefix that its keys have in common, with the separator. */
  key: ByteString;
  branch: boolean;
}

/** Children of one revision, in the order of their keys. */
export async function* childrenOf(context: Context, query: ChildQuery): AsyncGenerator<Child & { revision: number }> {
  const separator = utf8ToByteString(query.separator);
  const prefix = folderOf(query);
  const { key, range_end } = prefixRange(Buffer.from(prefix, 'latin1'));
  let { revision } = query;
  for (let from = key; ; ) {
    const page = await context.client.range(
      { key: from, range_end, limit: 1, keys_only: true, revision },
      context.call,
    );
    if (revision === 0) revision = page.header?.revision ?? 0;
    const found = page.kvs[0]?.key;
    if (found === undefined) return;
    const end = separator === '' ? -1 : found.indexOf(separator, prefix.length);
    const branch = end !== -1;
    const child = branch ? found.slice(0, end + separator.length) : found;
    yield { key: child, branch, revision };
    from = branch ? prefixEnd(child) : `${found}\0`;
    // After the last key there can be: nothing at all.
    if (from === '\0') return;
  }
}

/** The prefix with a separator at its end, so that /app is no parent of /apple. */
export function folderOf({ prefix, separator }: Pick<ChildQuery, 'prefix' | 'separator'>): ByteString {
  return utf8ToByteString(prefix === '' || prefix.endsWith(separator) ? prefix : prefix + separator);
}

export async function printChildren(context: Context, query: ChildQuery): Promise<void> {
  const { format } = context.globals;
  if (format !== 'simple' && format !== 'json') throw unsupported(format);
  const children: { key: string; branch: boolean }[] = [];
  let at = query.revision;
  for await (const { key, branch, revision } of childrenOf(context, query)) {
    at = revision;
    if (format === 'simple') context.print(Buffer.from(key, 'latin1'));
    else children.push({ key: byteStringToUtf8(key), branch });
  }
  if (format === 'json') context.print(JSON.stringify({ revision: at, children }));
}
