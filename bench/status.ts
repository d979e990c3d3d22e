/** What a member says of itself: who leads, and how far it has come. */
import { decode, encode } from '../core/wire/binary.ts';
import { HashKVRequest, HashKVResponse, StatusRequest, StatusResponse } from '../core/wire/messages.ts';
import { callHeaders, GrpcConnection } from './grpc-connection.ts';
import type { MemberUnderTest } from './servers.ts';

/** Rejects when the member cannot be asked. */
export async function statusOf(member: MemberUnderTest): Promise<StatusResponse> {
  return decode(StatusResponse, await callOnce(member, 'Maintenance/Status', encode(StatusRequest, {})));
}

/** The hash of all keys at `revision` (0: the newest). */
export async function hashOf(member: MemberUnderTest, revision: number): Promise<HashKVResponse> {
  return decode(HashKVResponse, await callOnce(member, 'Maintenance/HashKV', encode(HashKVRequest, { revision })));
}

export async function leaderOf(members: readonly MemberUnderTest[]): Promise<MemberUnderTest> {
  for (const member of members) {
    const status = await statusOf(member);
    if (status.leader === status.header?.member_id) return member;
  }
  throw new Error('no member leads');
}

/** One unary call on a connection of its own: `method` of etcdserverpb, such as KV/Range. Returns the reply's bytes. */
export async function callOnce(member: MemberUnderTest, method: string, request: Uint8Array): Promise<Buffer> {
  const path = `/etcdserverpb.${method}`;
  const connection = await GrpcConnection.open(member.port);
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      connection.onError = reject;
      connection.call(callHeaders(path, `127.0.0.1:${member.port}`), request, (status, reply, text) => {
        if (status !== 0 || reply === undefined) reject(new Error(`${path} answered gRPC status ${status}: ${text}`));
        else resolve(reply);
      });
    });
  } finally {
    connection.close();
  }
}
