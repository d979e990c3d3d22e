import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client, type ClientOptions } from '../../client/client.ts';

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

const identity = (bytes: Buffer): Buffer => bytes;

describe('TLS', () => {
  let server: grpc.Server;
  let port = 0;
  beforeAll(async () => {
    server = new grpc.Server();
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
      { Range: (_call: unknown, done: grpc.sendUnaryData<Buffer>) => done(null, Buffer.alloc(0)) },
    );
    const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(cert) };
    const credentials = grpc.ServerCredentials.createSsl(Buffer.from(cert), [pair], true);
    port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)));
    });
  });
  afterAll(() => server?.forceShutdown());

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

  it('is not used for http://', async () => {
    expect(await get(`http://127.0.0.1:${port}`, { ca: cert, cert, key })).toContain(`http://127.0.0.1:${port}: `);
  });
});
