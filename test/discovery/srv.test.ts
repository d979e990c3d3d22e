import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import { UsageError } from '../../server/config/flag-table.ts';
import { Dns, SRV_RECORDS_MAX } from '../../server/discovery/dns.ts';
import { endpointsBySrv, membersBySrv } from '../../server/discovery/srv.ts';
import { type RunningDns, startDns } from '../support/dns.ts';

let server: RunningDns;
let dns: Dns;
beforeEach(async () => {
  server = await startDns();
  dns = new Dns([server.address]);
});
afterEach(() => server.stop());

const at = { domain: 'example.org', serviceName: '' };
const members = (name: string, ...advertised: string[]) => membersBySrv(dns, at, { name, advertised });

describe('the founders, by SRV records', () => {
  it('has its own name, and numbers for the others', async () => {
    server.srv.set('_etcd-server._tcp.example.org', [
      { host: 'b.example.org', port: 2380 },
      { host: 'a.example.org', port: 2380 },
      { host: 'c.example.org', port: 2380 },
    ]);
    expect(await members('b', 'http://b.example.org:2380')).toEqual({
      initialCluster: '0=http://a.example.org:2380,b=http://b.example.org:2380,1=http://c.example.org:2380',
      ownUrls: ['http://b.example.org:2380'],
    });
  });

  it('finds itself by address, and takes the URL of the records', async () => {
    server.srv.set('_etcd-server._tcp.example.org', [
      { host: 'a.example.org', port: 2380 },
      { host: 'b.example.org', port: 2380 },
    ]);
    server.a.set('a.example.org', ['10.0.0.1']);
    server.a.set('b.example.org', ['10.0.0.9', '10.0.0.2']);
    server.a.set('other-name.example.org', ['10.0.0.2']);
    const own = ['http://b.example.org:2380'];
    expect((await members('me', 'http://10.0.0.2:2380')).ownUrls).toEqual(own);
    expect((await members('me', 'http://other-name.example.org:2380')).ownUrls).toEqual(own);
    // The port tells members of one machine apart.
    await expect(members('me', 'http://10.0.0.2:2381')).rejects.toThrow('cannot find local etcd member "me"');
  });

  it('merges records of both schemes, and its own scheme must be that of its record', async () => {
    server.srv.set('_etcd-server-ssl._tcp.example.org', [{ host: 'a.example.org', port: 2380 }]);
    server.srv.set('_etcd-server._tcp.example.org', [{ host: 'b.example.org', port: 2380 }]);
    expect((await members('a', 'https://a.example.org:2380')).initialCluster).toBe(
      'a=https://a.example.org:2380,0=http://b.example.org:2380',
    );
    await expect(members('a', 'http://a.example.org:2380')).rejects.toThrow(
      'https://a.example.org:2380 has another scheme than --initial-advertise-peer-urls http://a.example.org:2380',
    );
  });

  it('does not give another member its own name', async () => {
    server.srv.set('_etcd-server._tcp.example.org', [
      { host: 'a.example.org', port: 1 },
      { host: 'b.example.org', port: 1 },
    ]);
    expect((await members('0', 'http://b.example.org:1')).initialCluster).toBe(
      '_0=http://a.example.org:1,0=http://b.example.org:1',
    );
  });

  it('says which records it has looked for', async () => {
    await expect(members('a', 'http://a:1')).rejects.toThrow(
      'there are no SRV records _etcd-server-ssl._tcp.example.org or _etcd-server._tcp.example.org',
    );
    await expect(members('a', 'http://a:1')).rejects.toThrow(RosterError);
    const named = membersBySrv(
      dns,
      { domain: 'example.org', serviceName: 'blue' },
      { name: 'a', advertised: ['http://a:1'] },
    );
    await expect(named).rejects.toThrow('_etcd-server-ssl-blue._tcp.example.org');
  });

  it(`takes ${SRV_RECORDS_MAX} records and no more`, async () => {
    const records = (count: number) => Array.from({ length: count }, (_, i) => ({ host: 'h', port: 2000 + i }));
    server.srv.set('_etcd-client._tcp.example.org', records(SRV_RECORDS_MAX));
    // More than fits an answer of 512 bytes.
    expect(await dns.srv('_etcd-client._tcp.example.org')).toHaveLength(SRV_RECORDS_MAX);
    server.srv.set('_etcd-client._tcp.example.org', records(SRV_RECORDS_MAX + 1));
    await expect(dns.srv('_etcd-client._tcp.example.org')).rejects.toThrow(`has ${SRV_RECORDS_MAX + 1} SRV records`);
  });

  it('says when the DNS does not answer', async () => {
    const silent = { srv: () => dns.srv('x'.repeat(70)), addresses: () => Promise.resolve([]) };
    await expect(membersBySrv(silent, at, { name: 'a', advertised: ['http://a:1'] })).rejects.toThrow(
      'cannot look up the SRV records of x',
    );
  });

  it('refuses servers that are no addresses', () => {
    expect(() => new Dns(['dns.example.org'])).toThrow(UsageError);
  });
});

describe('endpoints for clients, by SRV records', () => {
  it('come in the order of their priority, with their scheme', async () => {
    server.srv.set('_etcd-client-ssl._tcp.example.org', [
      { host: 'b.example.org', port: 2379, priority: 2 },
      { host: 'a.example.org', port: 2379, priority: 1, weight: 5 },
    ]);
    expect(await endpointsBySrv(dns, at)).toEqual([
      { url: 'https://a.example.org:2379', priority: 1, weight: 5 },
      { url: 'https://b.example.org:2379', priority: 2, weight: 0 },
    ]);
  });
});
