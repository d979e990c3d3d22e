/** Endpoints from the SRV records of a domain, as etcd's clients look them up. Connects to none of them. */
import { resolveSrv } from 'node:dns/promises';
import { CommandError } from './context.ts';

/** URLs of the servers, those with TLS first; without `insecure` those only. Rejects when there are none. */
export async function discovered(domain: string, name: string, insecure: boolean): Promise<string[]> {
  const suffix = name === '' ? '' : `-${name}`;
  const [secure, plain] = await Promise.all([
    records(`_etcd-client-ssl${suffix}._tcp.${domain}`, 'https'),
    insecure ? records(`_etcd-client${suffix}._tcp.${domain}`, 'http') : [],
  ]);
  const urls = [...secure, ...plain];
  if (urls.length > 0) return urls;
  throw new CommandError(`no SRV records _etcd-client-ssl${suffix}._tcp or _etcd-client${suffix}._tcp in ${domain}`);
}

async function records(service: string, scheme: string): Promise<string[]> {
  const found = await resolveSrv(service).catch(() => []);
  return found.map(({ name, port }) => `${scheme}://${name.replace(/\.$/, '')}:${port}`);
}
