/**
 * Who calls through the proxy: the metadata that goes on to the store, and what tells callers apart whose answers must not
 * be shared. Verifies nothing: the store does, for every caller.
 */
import type { RequestMetadata } from '../../client/endpoint.ts';
import { GrpcStatus, otherError, RosterError } from '../../core/errors.ts';
import type { CallContext, UnaryDone } from '../rpc/service.ts';

/** What etcd's servers read. A name that is not here stays behind. */
const PASSED_ON = ['token', 'authorization', 'client-api-version', 'hasleader'] as const;

/** Metadata of a caller's calls. */
export function metadataOf(call: CallContext): RequestMetadata {
  const metadata: Record<string, string> = {};
  for (const name of PASSED_ON) {
    const value = call.metadata(name);
    if (value !== undefined) metadata[name] = value;
  }
  return metadata;
}

/** Whose answers may be shared: those of callers with the same token, or with none. */
export interface Caller {
  readonly id: string;
  /** What proves it, for calls that the proxy makes in its name. */
  readonly metadata: RequestMetadata;
}

export function callerOf(call: CallContext): Caller {
  const { token, authorization } = metadataOf(call);
  const metadata = {
    ...(token === undefined ? {} : { token }),
    ...(authorization === undefined ? {} : { authorization }),
  };
  return { id: JSON.stringify([token ?? '', authorization ?? '']), metadata };
}

export function wantsLeader(call: CallContext): boolean {
  return call.metadata('hasleader') === 'true';
}

/** Fires when the caller has gone, its deadline included. */
export function signalOf(call: CallContext): AbortSignal {
  const controller = new AbortController();
  call.onCancel(() => controller.abort());
  return controller.signal;
}

/** Answers a call with what `work` comes to. What is no operational error is a bug, and is thrown. */
export function settle<Res>(work: Promise<Res>, done: UnaryDone<Res>): void {
  const run = async () => done(await work.catch(operational));
  void run();
}

/** Throws what is no operational error. */
export function operational(error: unknown): RosterError {
  if (error instanceof RosterError) return error;
  throw error;
}

/** The proxy has no room for more of something. */
export function tooMany(what: string, limit: number): RosterError {
  return otherError(GrpcStatus.RESOURCE_EXHAUSTED, `grpc-proxy: too many ${what} (limit ${limit})`);
}
