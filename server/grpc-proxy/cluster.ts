/**
 * Cluster/MemberList through the proxy: with --advertise-client-url clients hear of proxies in place of members, so that who
 * follows the member list stays behind them.
 */
import { hostname } from 'node:os';
import { type Method, unary } from '../rpc/service.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { settle } from './caller.ts';
import { forwarded } from './forward.ts';
import { proxyMember, type Registration } from './registration.ts';
import { memberList } from './rpcs.ts';

export interface ClusterWorld {
  readonly upstream: Upstream;
  /** See --advertise-client-url; '': clients hear of the members. */
  readonly advertised: string;
  readonly registration: Pick<Registration, 'members'> | undefined;
}

export function clusterMethods({ upstream, advertised, registration }: ClusterWorld): Method[] {
  if (advertised === '') return [forwarded(upstream, memberList)];
  const own = proxyMember(hostname(), advertised);
  const members = async () => {
    const registered = await registration?.members();
    // None has been told of yet: this one is there for certain.
    return { members: registered === undefined || registered.length === 0 ? [own] : registered };
  };
  return [
    unary(memberList.path, memberList.request, memberList.response, (_call, _request, done) => settle(members(), done)),
  ];
}
