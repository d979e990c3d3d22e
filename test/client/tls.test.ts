import { X509Certificate } from 'node:crypto';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client, type ClientOptions } from '../../client/client.ts';
import { NAME_FOR_ADDRESSES } from '../../client/tls.ts';

// Made for this test, valid for 127.0.0.1 from 2020 to 2120; it protects nothing.
const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgaxw6Y4j0fXklhoLp
e3rugj9BYOyWiiCK56aZ7qCzD/uhRANCAATE64wb9t9yBTqwxxJlJ74i/u/HroyQ
cpwMz8LDq23UEgOTEIxL4HpyzK5Z92alVSAD/DIazpYBJrp9HgpCdHJA
-----END PRIVATE KEY-----`;
const cert = `-----BEGIN CERTIFICATE-----
MIIBazCCARGgAwIBAgIBATAKBggqhkjOPQQDAjAWMRQwEgYDVQQDDAtyb3N0ZXIg
dGVzdDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFjEUMBIGA1UE
AwwLcm9zdGVyIHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATE64wb9t9y
BTqwxxJlJ74i/u/HroyQcpwMz8LDq23UEgOTEIxL4HpyzK5Z92alVSAD/DIazpYB
Jrp9HgpCdHJAo04wTDAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwDwYDVR0T
AQH/BAUwAwEB/zAdBgNVHQ4EFgQU0mlPGgf3p/vZ2w/mqSeRlcH4XBgwCgYIKoZI
zj0EAwIDSAAwRQIgZUQraZ8okNrVr7jTTQow1oSv/MogohdOcpv4/9jF9Q4CIQDC
wCJcsXSY3Dn54dCD5TYel2CU08kCq3NvDFmtgx4mMg==
-----END CERTIFICATE-----`;

// By the same key, for everything but 127.0.0.1: 127.0.0.2, the names `localhost`, `127.0.0.1` (a name, not an address)
// and the name our client sends to addresses.
const certOfAnother = `-----BEGIN CERTIFICATE-----
MIIBhjCCASygAwIBAgIBAjAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAkxMjcuMC4w
LjEwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CTEyNy4wLjAuMTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMTrjBv233IFOrDH
EmUnviL+78eujJBynAzPwsOrbdQSA5MQjEvgenLMrln3ZqVVIAP8MhrOlgEmun0e
CkJ0ckCjbTBrMDkGA1UdEQQyMDCCCTEyNy4wLjAuMYIJbG9jYWxob3N0ghJpcC1h
ZGRyZXNzLmludmFsaWSHBH8AAAIwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQU
0mlPGgf3p/vZ2w/mqSeRlcH4XBgwCgYIKoZIzj0EAwIDSAAwRQIhAKTLGloTqXMi
3C5Zc0WRqin2KTFnEgy5cUVzwHJJGu3TAiAkY5Xxn/6hP3wLBukPPiaY7WTDFoTe
3PKDqef6xiVTXw==
-----END CERTIFICATE-----`;

const identity = (bytes: Buffer): Buffer => bytes;

const servers: grpc.Server[] = [];
/** The `:authority` of every request, in order. */
const authorities: string[] = [];

/** Starts a server on 127.0.0.1 that shows `certificate` and wants to see `cert`; resolves with its port. */
async function serve(certificate: string): Promise<number> {
  const server = new grpc.Server();
  servers.push(server);
  server.addService(
    {
      Range: {
        path: '/etcdserverpb.KV/Range',
        requestStream: false,
        responseStream: false,
        requestSerialize: identity,
        requestDeserialize: identity,
        responseSerialize: identity,
        responseDeserialize: identity,
      },
    },
    {
      Range: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
        authorities.push(call.getHost());
        done(null, Buffer.alloc(0));
      },
    },
  );
  const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(certificate) };
  const credentials = grpc.ServerCredentials.createSsl(Buffer.from(cert), [pair], true);
  return new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
}

describe('TLS', () => {
  let port = 0;
  let portOfAnother = 0;
  beforeAll(async () => {
    port = await serve(cert);
    portOfAnother = await serve(certOfAnother);
  });
  afterAll(() => {
    for (const server of servers) server.forceShutdown();
  });

  async function get(endpoint: string, tls?: ClientOptions['tls']): Promise<unknown> {
    const client = new Client({ endpoints: [endpoint], dialTimeoutMs: 300, ...(tls && { tls }) });
    try {
      return await client.get('a').catch((error: unknown) => String(error));
    } finally {
      client.close();
    }
  }

  it('is used for https:// and, when it is configured, for host:port; both sides show a certificate', async () => {
    expect(await get(`https://127.0.0.1:${port}`, { ca: cert, cert, key })).toBeUndefined();
    expect(await get(`127.0.0.1:${port}`, { ca: Buffer.from(cert), cert, key })).toBeUndefined();
  });

  it('refuses a server that no known authority has signed, and says so', async () => {
    expect(await get(`https://127.0.0.1:${port}`)).toMatch(/self-signed certificate/);
  });

  it('tells the server the endpoint\u2019s name, be it an address or not', async () => {
    authorities.length = 0;
    expect(await get(`https://127.0.0.1:${port}`, { ca: cert, cert, key })).toBeUndefined();
    expect(await get(`https://localhost:${port}`, { ca: cert, cert, key })).toBeUndefined();
    expect(authorities).toEqual([`127.0.0.1:${port}`, `localhost:${port}`]);
  });

  it('refuses a certificate that is not valid for the address, whatever name is in it', async () => {
    const known = new X509Certificate(certOfAnother);
    expect([known.checkHost(NAME_FOR_ADDRESSES), known.checkIP('127.0.0.2')]).not.toContain(undefined);
    const tls = { ca: certOfAnother, cert, key };
    expect(await get(`https://127.0.0.1:${portOfAnother}`, tls)).toMatch(/IP: 127\.0\.0\.1 is not in the cert's list/);
    // The certificate as such is fine.
    expect(await get(`https://localhost:${portOfAnother}`, tls)).toBeUndefined();
  });

  it('is not used for http://', async () => {
    expect(await get(`http://127.0.0.1:${port}`, { ca: cert, cert, key })).toContain(`http://127.0.0.1:${port}: `);
  });
});
