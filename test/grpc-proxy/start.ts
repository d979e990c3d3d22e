/** A proxy in this process, before a store in a process of its own. */
import { createLogger } from '../../server/config/log.ts';
import { readProxyFlags } from '../../server/grpc-proxy/flags.ts';
import { type RunningProxy, startProxy } from '../../server/grpc-proxy/proxy.ts';

export interface TestProxy extends RunningProxy {
  /** `host:port` */
  readonly endpoint: string;
}

export async function proxyOf(endpoints: string, ...args: string[]): Promise<TestProxy> {
  const { flags } = readProxyFlags(['--listen-addr', '127.0.0.1:0', '--endpoints', endpoints, ...args]);
  const proxy = await startProxy(flags, createLogger({ level: 'fatal', format: 'json' }));
  return Object.assign(proxy, { endpoint: proxy.url.replace(/^https?:\/\//, '') });
}
