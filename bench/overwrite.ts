/**
 * `npm run bench -- overwrite`: one key is overwritten again and again under a small space quota with auto-compaction.
 * Whether the space runs out, after how many writes, and how large the store became meanwhile.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { GrpcStatus } from '../core/errors.ts';
import { decode, encode } from '../core/wire/binary.ts';
import { PutRequest, RangeRequest, RangeResponse } from '../core/wire/messages.ts';
import { Load, type LoadResult } from './load.ts';
import { diskBytesOf } from './proc.ts';
import { CONNECTIONS_MAX, PUT_PATH } from './puts.ts';
import { type ClusterUnderTest, type MemberUnderTest, serverNames, startServers } from './servers.ts';
import { callOnce, statusOf } from './status.ts';

const help = `npm run bench -- overwrite [options]
  --writes 2000000     how often the key is written
  --value-bytes 1024   its value
  --quota 268435456    --quota-backend-bytes of both
  --mode revision      --auto-compaction-mode of both
  --retention 1000     --auto-compaction-retention of both
  --clients 100        logical clients that write it
  --folder DIR         where the data directories go (default: the system's temporary folder)
  --only roster|etcd   one server alone`;

const KEY = 'overwritten';
const SAMPLE_MS = 500;
const TELL_MS = 10_000;
const MIB = 1024 * 1024;

export interface OverwriteOptions {
  readonly writes: number;
  readonly valueBytes: number;
  readonly clients: number;
  /** Of the server. */
  readonly flags: readonly string[];
  readonly folder?: string | undefined;
}

/** Sizes are the largest that were seen, in bytes. */
export interface OverwriteResult {
  readonly writes: number;
  readonly perSecond: number;
  readonly p99Ms: number;
  /** What ended it before its time. */
  readonly refused: string | undefined;
  /** Whether the alarm NOSPACE was seen, be it for a moment. */
  readonly alarmed: boolean;
  readonly dbSize: number;
  readonly dbSizeInUse: number;
  readonly diskBytes: number;
}

export async function benchOverwrite(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      writes: { type: 'string', default: '2000000' },
      'value-bytes': { type: 'string', default: '1024' },
      quota: { type: 'string', default: String(256 * MIB) },
      mode: { type: 'string', default: 'revision' },
      retention: { type: 'string', default: '1000' },
      clients: { type: 'string', default: '100' },
      folder: { type: 'string' },
      only: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(help);
  const flags = ['--quota-backend-bytes', values.quota];
  flags.push('--auto-compaction-mode', values.mode, '--auto-compaction-retention', values.retention);
  const [writes, valueBytes, clients] = [values.writes, values['value-bytes'], values.clients].map(Number);
  const options = { writes: writes!, valueBytes: valueBytes!, clients: clients!, flags, folder: values.folder };
  console.log(`one key, ${valueBytes} bytes, ${writes} times, ${clients} clients; ${flags.join(' ')}\n`);
  for (const name of serverNames) {
    if (values.only !== undefined && values.only !== name) continue;
    const cluster = await startServers(name, 1, options);
    try {
      tell(cluster.name, await overwrite(cluster, options, (line) => console.log(`  ${name.padEnd(7)} ${line}`)));
    } finally {
      await cluster.stop();
    }
  }
}

function tell(name: string, result: OverwriteResult): void {
  const mib = (bytes: number): string => `${(bytes / MIB).toFixed(0)} MiB`;
  const alarm = result.alarmed ? 'alarm NOSPACE raised' : 'no alarm';
  const end = result.refused === undefined ? `never refused, ${alarm}` : `REFUSED: ${result.refused}`;
  console.log(
    `  ${name.padEnd(7)} ${result.writes} writes at ${result.perSecond.toFixed(0)}/s, p99 ${result.p99Ms.toFixed(2)} ms; ${end}`,
  );
  console.log(
    `  ${name.padEnd(7)} at most: db size ${mib(result.dbSize)}, in use ${mib(result.dbSizeInUse)}, data directory on disk ${mib(result.diskBytes)}\n`,
  );
}

/** Ends early, without an error, when the server has no space left. */
export async function overwrite(
  cluster: ClusterUnderTest,
  { writes, valueBytes, clients }: OverwriteOptions,
  progress: (line: string) => void = () => {},
): Promise<OverwriteResult> {
  const member = cluster.members[0]!;
  const put = encode(PutRequest, { key: KEY, value: Buffer.alloc(valueBytes, 'v') });
  const load = await Load.open({
    ports: [member.port],
    clients,
    connections: CONNECTIONS_MAX,
    kinds: [{ path: PUT_PATH, request: () => put }],
  });
  const sizes = new LargestSizes(member);
  let over = false;
  let calls = 0;
  const sampling = (async () => {
    for (let toldMs = performance.now(); !over; await sleep(SAMPLE_MS)) {
      await sizes.sample();
      if (performance.now() - toldMs < TELL_MS) continue;
      toldMs = performance.now();
      progress(`${calls} writes so far`);
    }
    await sizes.sample();
  })();
  // It is waited for below, at the latest.
  sampling.catch(() => {});
  let result: LoadResult;
  try {
    const goesOn = (made: number): boolean => {
      calls = made;
      return made < writes;
    };
    result = await load.run(goesOn, { endsAt: (status) => status === GrpcStatus.RESOURCE_EXHAUSTED });
  } finally {
    over = true;
    await sampling;
    load.close();
  }
  const written = result.latencyMs.count;
  const { perSecond, latencyMs, ended } = result;
  await checkVersion(member, written, ended !== undefined);
  const { dbSize, dbSizeInUse, diskBytes } = sizes;
  return {
    writes: written,
    perSecond,
    p99Ms: latencyMs.percentile(0.99),
    refused: ended?.text,
    alarmed: sizes.alarmed,
    dbSize,
    dbSizeInUse,
    diskBytes,
  };
}

class LargestSizes {
  readonly #member: MemberUnderTest;
  dbSize = 0;
  dbSizeInUse = 0;
  diskBytes = 0;
  alarmed = false;

  constructor(member: MemberUnderTest) {
    this.#member = member;
  }

  async sample(): Promise<void> {
    const status = await statusOf(this.#member);
    this.dbSize = Math.max(this.dbSize, status.dbSize);
    this.alarmed ||= status.errors.some((error) => error.includes('NOSPACE'));
    this.dbSizeInUse = Math.max(this.dbSizeInUse, status.dbSizeInUse);
    this.diskBytes = Math.max(this.diskBytes, await diskBytesOf(this.#member.dataDir));
  }
}

/** Each write that was acknowledged has made a version; etcd makes some of those too that it refuses for want of space. */
async function checkVersion(member: MemberUnderTest, written: number, refused: boolean): Promise<void> {
  const { kvs } = decode(RangeResponse, await callOnce(member, 'KV/Range', encode(RangeRequest, { key: KEY })));
  const version = kvs[0]?.version ?? 0;
  if (version < written || (version > written && !refused))
    throw new Error(`${written} writes were acknowledged, but the key has version ${version}`);
}
