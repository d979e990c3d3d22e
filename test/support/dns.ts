/** A DNS server on loopback for tests: answers SRV, A and AAAA questions from a table, over UDP, and nothing else. */
import { createSocket, type Socket } from 'node:dgram';
import { isIPv4 } from 'node:net';

export interface SrvAnswer {
  readonly host: string;
  readonly port: number;
  readonly priority?: number;
  readonly weight?: number;
}

export interface DnsTable {
  /** By name, in lower case. */
  readonly srv: Map<string, readonly SrvAnswer[]>;
  /** IPv4 addresses by host name. */
  readonly a: Map<string, readonly string[]>;
}

export interface RunningDns extends DnsTable {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** The names asked for so far. */
  readonly asked: string[];
  stop(): Promise<void>;
}

const TYPE_A = 1;
const TYPE_SRV = 33;
const NXDOMAIN = 3;

/** Names that are in neither table do not exist. */
export async function startDns(): Promise<RunningDns> {
  const table: DnsTable = { srv: new Map(), a: new Map() };
  const asked: string[] = [];
  const socket: Socket = createSocket('udp4');
  socket.on('message', (query, { port, address }) => {
    const { name, type, end } = question(query);
    asked.push(name);
    socket.send(reply(query.subarray(0, end), name, type, table), port, address);
  });
  await new Promise<void>((resolve) => {
    socket.bind(0, '127.0.0.1', resolve);
  });
  return {
    ...table,
    asked,
    address: `127.0.0.1:${socket.address().port}`,
    stop: () => new Promise((resolve) => void socket.close(() => resolve())),
  };
}

function question(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  while (query[at] !== 0) {
    const length = query[at]!;
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

function reply(query: Buffer, name: string, type: number, { srv, a }: DnsTable): Buffer {
  const data =
    type === TYPE_SRV
      ? (srv.get(name) ?? []).map(srvData)
      : type === TYPE_A
        ? (a.get(name) ?? [])
            .filter((address) => isIPv4(address))
            .map((address) => Buffer.from(address.split('.').map(Number)))
        : [];
  const header = Buffer.from(query);
  // Response, authoritative, recursion desired and available.
  header.writeUInt16BE(0x8580 | (srv.has(name) || a.has(name) ? 0 : NXDOMAIN), 2);
  header.writeUInt16BE(data.length, 6);
  header.writeUInt16BE(0, 10);
  const answers = data.map((bytes) => {
    const answer = Buffer.alloc(12);
    answer.writeUInt16BE(0xc00c, 0);
    answer.writeUInt16BE(type, 2);
    answer.writeUInt16BE(1, 4);
    answer.writeUInt32BE(1, 6);
    answer.writeUInt16BE(bytes.length, 10);
    return Buffer.concat([answer, bytes]);
  });
  return Buffer.concat([header, ...answers]);
}

function srvData({ host, port, priority = 0, weight = 0 }: SrvAnswer): Buffer {
  const numbers = Buffer.alloc(6);
  [priority, weight, port].forEach((number, i) => void numbers.writeUInt16BE(number, 2 * i));
  const labels = host.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([numbers, ...labels, Buffer.from([0])]);
}
