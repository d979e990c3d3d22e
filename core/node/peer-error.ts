/** Errors on their way between members: etcd's by their text, others with status and text. Owns the form only. */
import { errorFromText, type GrpcStatus, type RosterError } from '../errors.ts';
import type { PeerError } from './peer-message.ts';

export function peerError({ status, message }: RosterError): PeerError {
  return { status, text: message };
}

export function errorOf({ status, text }: PeerError): RosterError {
  return errorFromText(status as GrpcStatus, text);
}
