/** What a member says of itself: who leads, and how far it has come. */
import { decode, encode } from '../core/wire/binary.ts';
import { HashKVRequest, HashKVResponse, StatusRequest, StatusResponse } from '../core/wire/messages.ts';
import type { MessageType } from '../core/wire/schema.ts';
import { callHeaders, GrpcConnection } from './grpc-connection.ts';
import type { MemberUnderTest } from './servers.ts';

/** Rejects when the member cannot be asked. */
export function statusOf(member: MemberUnderTest): Promise<StatusResponse> {
  return callOnce(member, 'Status', encode(StatusRequest, {}), StatusResponse);
}

/** The hash of all keys at `revision` (0: the newest). */
export function hashOf(member: MemberUnderTest, revision: number): Promise<HashKVResponse> {
  return callOnce(member, 'HashKV', encode(HashKVRequest, { revision }), HashKVResponse);
}

export async function leaderOf(members: readonly MemberUnderTest[]): Promise<MemberUnderTest> {
  for (const member of members) {
    const status = await statusOf(member);
    if (status.leader === status.header?.member_id) return member;
  }
  throw new Error('no member leads');
}

async function callOnce<T extends object>(
  member: MemberUnderTest,
  name: string,
  request: Uint8Array,
  response: MessageType<T>,
): Promise<T> {
  const path = `/etcdserverpb.Maintenance/${name}`;
  const connection = await GrpcConnection.open(member.port);
  try {
    return await new Promise<T>((resolve, reject) => {
      connection.onError = reject;
      connection.call(callHeaders(path, `127.0.0.1:${member.port}`), request, (status, reply) => {
        if (status !== 0 || reply === undefined) reject(new Error(`${path} answered gRPC status ${status}`));
        else resolve(decode(response, reply));
      });
    });
  } finally {
    connection.close();
  }
}
