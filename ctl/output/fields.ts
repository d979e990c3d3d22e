/** The lines of `-w fields`: `"Name" : value`, a header first. One function a shape, used by every command that has it. */
import { type ByteString, fromByteString } from '../../core/util/bytes.ts';
import type { KeyValue, ResponseHeader } from '../../core/wire/messages.ts';
import type { Decoded } from '../../core/wire/schema.ts';
import { goQuote } from '../go-text.ts';

type Header = Decoded<typeof ResponseHeader>;
type Pair = Decoded<typeof KeyValue>;

/** `"Name" : value`. */
export const fieldLine = (name: string, value: unknown): string => `"${name}" : ${value}`;
/** The same with the value in quotes. */
export const quotedLine = (name: string, value: string | Uint8Array): string => fieldLine(name, goQuote(value));
export const keyLine = (name: string, key: ByteString): string => quotedLine(name, fromByteString(key));

export function headerLines(header: Header | undefined): string[] {
  const { cluster_id, member_id, revision, raft_term } = header ?? {
    cluster_id: 0n,
    member_id: 0n,
    revision: 0,
    raft_term: 0,
  };
  return [
    fieldLine('ClusterID', cluster_id),
    fieldLine('MemberID', member_id),
    fieldLine('Revision', revision),
    fieldLine('RaftTerm', raft_term),
  ];
}

export function pairLines(pair: Pair, prefix = ''): string[] {
  return [
    keyLine(`${prefix}Key`, pair.key),
    fieldLine(`${prefix}CreateRevision`, pair.create_revision),
    fieldLine(`${prefix}ModRevision`, pair.mod_revision),
    fieldLine(`${prefix}Version`, pair.version),
    quotedLine(`${prefix}Value`, pair.value),
    fieldLine(`${prefix}Lease`, pair.lease),
  ];
}
