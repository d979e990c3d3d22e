/** Pairs as JSON for people: text where bytes are UTF-8, else base64 with a mark that says so. No behaviour. */
import { type ByteString, fromByteString, toBase64, utf8ToText } from '../../core/util/bytes.ts';
import type { KeyValue } from '../../core/wire/messages.ts';

/** `{name: text}`, or base64 and `{nameEncoding: 'base64'}`. */
export function textField(name: string, bytes: Uint8Array): Record<string, string> {
  const text = utf8ToText(bytes);
  return text === undefined ? { [name]: toBase64(bytes), [`${name}Encoding`]: 'base64' } : { [name]: text };
}

export function keyField(key: ByteString, name = 'key'): Record<string, string> {
  return textField(name, fromByteString(key));
}

export function pairJson(pair: KeyValue, withValue = true): Record<string, unknown> {
  const { create_revision, mod_revision, version, lease } = pair;
  return {
    ...keyField(pair.key),
    ...(withValue ? textField('value', pair.value) : {}),
    createRevision: create_revision,
    modRevision: mod_revision,
    version,
    ...(lease === 0n ? {} : { lease: leaseText(lease) }),
  };
}

/** As etcdctl prints it. */
export function leaseText(lease: bigint): string {
  return BigInt.asUintN(64, lease).toString(16);
}
