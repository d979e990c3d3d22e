import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { findPeer, requirePeers } from '../support/peers.ts';
import { authSequence, unaryAuthSequence } from './auth-generators.ts';
import { differences } from './differences.ts';
import { Differential } from './differential.ts';
import { largeResponses, operation, unaryOperation } from './generators.ts';
import type { Operation } from './operations.ts';
import type { Transport } from './side.ts';

/**
 * The same operations to a real etcd and to Roster. `ROSTER_DIFF_OPS` (default below) is about how many, and
 * `ROSTER_DIFF_SEED` which: the same seed sends the same sequences.
 */
const OPERATIONS = Number(process.env.ROSTER_DIFF_OPS ?? 2_000);
const SEED = Number(process.env.ROSTER_DIFF_SEED ?? 20_261_122);
// `ROSTER_DIFF_SHRINK=0` reports the first sequence that differs as it is: to make it shorter takes servers each time.
/** JSON over HTTP/1.1 is a sample. */
const JSON_SHARE = 0.2;
/** So much more of those under auth. */
const AUTH_SHARE = 0.5;
const SEQUENCE_MAX = 100;
/** How long sequences are, as fast-check makes them of that, and with what auth begins with. */
const SHORT = { mean: 36, examples: [] };
const LONG = { mean: 70, examples: [] };
const sequenceOf = (operations: fc.Arbitrary<Operation>): fc.Arbitrary<Operation[]> =>
  fc.array(operations, { minLength: 1, maxLength: SEQUENCE_MAX, size: 'max' });
/** Fresh servers now and then: compaction and history begin anew. */
const OPERATIONS_PER_SERVERS = 5_000;
/** After this no more sequences begin, and none is made shorter: a slow machine compares less. */
const TIME_LIMIT_MS = 60_000 + OPERATIONS * 60;

const NO_REQUESTS = [
  '{"key": 5}',
  '{"key": ["YQ=="]}',
  '{"key": "YQ=="',
  '{"key": "%%%"}',
  '{"key": null}',
  '{"key": "YQ==", "limit": "x"}',
  '{"key": "YQ==", "limit": "0x1"}',
  '{"key": "YQ==", "limit": 1.5}',
  '{"key": "YQ==", "limit": true}',
  '{"key": "YQ==", "limit": 99999999999999999999}',
  '{"key": "YQ==", "keys_only": "yes"}',
  '[]',
  '"key"',
  'null',
  'key=a',
  '',
];

/** Keeps a pair of servers for as long as they agree: after a difference their stores are no longer the same. */
class Servers {
  operations = 0;
  readonly explained = new Map<string, number>();
  readonly ran = new Map<string, number>();
  readonly #etcd: string;
  readonly #transport: Transport;
  #pair: Differential | undefined;
  #used = 0;
  /** The sequence that is being run: fast-check does not wait for it when its time is up. */
  #running: Promise<void> = Promise.resolve();

  constructor(etcd: string, transport: Transport) {
    this.#etcd = etcd;
    this.#transport = transport;
  }

  /** How often this difference has explained one. */
  timesOf(name: string): number {
    return (this.explained.get(name) ?? 0) + (this.#pair?.explained.get(name) ?? 0);
  }

  run(sequence: readonly Operation[]): Promise<void> {
    const result = this.#run(sequence);
    this.#running = result.catch(() => {});
    return result;
  }

  async close(): Promise<void> {
    await this.#running;
    await this.#stop();
  }

  async #run(sequence: readonly Operation[]): Promise<void> {
    if (this.#used > OPERATIONS_PER_SERVERS) await this.#stop();
    this.#pair ??= await Differential.start(this.#etcd, this.#transport);
    this.#used += sequence.length;
    this.operations += sequence.length;
    try {
      await this.#pair.run(sequence);
    } catch (error) {
      await this.#stop();
      throw error;
    }
  }

  async #stop(): Promise<void> {
    const pair = this.#pair;
    this.#pair = undefined;
    this.#used = 0;
    if (pair === undefined) return;
    add(this.explained, pair.explained);
    add(this.ran, pair.ran);
    await pair.close();
  }
}

function add(to: Map<string, number>, more: ReadonlyMap<string, number>): void {
  for (const [name, times] of more) to.set(name, (to.get(name) ?? 0) + times);
}

const counts = (of: ReadonlyMap<string, number>): string =>
  [...of]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, times]) => `\n  ${times} x ${name}`)
    .join('');

async function compare(
  etcd: string,
  transport: Transport,
  sequences: fc.Arbitrary<Operation[]>,
  { total, mean, examples }: { total: number; mean: number; examples: readonly Operation[] },
): Promise<void> {
  const servers = new Servers(etcd, transport);
  try {
    await fc.assert(
      fc.asyncProperty(sequences, (sequence) => servers.run(sequence)),
      {
        seed: SEED,
        examples: examples.length === 0 ? [] : [[[...examples]]],
        numRuns: Math.ceil(total / mean),
        interruptAfterTimeLimit: TIME_LIMIT_MS,
        endOnFailure: process.env.ROSTER_DIFF_SHRINK === '0',
      },
    );
  } finally {
    await servers.close();
    console.log(
      `${servers.operations} operations over ${transport} have been compared${counts(servers.ran)}\nexplained differences:${counts(servers.explained)}`,
    );
  }
  expect(servers.operations).toBeGreaterThan(0);
}

describe('Roster answers as etcd does', () => {
  const timeout = TIME_LIMIT_MS + 60_000;

  it('over gRPC', { timeout }, async (context) => {
    const { etcd } = requirePeers(context, 'etcd');
    await compare(etcd, 'grpc', sequenceOf(operation), { ...SHORT, total: OPERATIONS, examples: largeResponses });
  });

  it('as JSON over HTTP/1.1', { timeout }, async (context) => {
    const { etcd } = requirePeers(context, 'etcd');
    await compare(etcd, 'json', sequenceOf(unaryOperation), { ...SHORT, total: OPERATIONS * JSON_SHARE });
  });

  it('to users over gRPC', { timeout }, async (context) => {
    const { etcd } = requirePeers(context, 'etcd');
    await compare(etcd, 'grpc', authSequence, { ...LONG, total: OPERATIONS * AUTH_SHARE });
  });

  it('to users as JSON over HTTP/1.1', { timeout }, async (context) => {
    const { etcd } = requirePeers(context, 'etcd');
    await compare(etcd, 'json', unaryAuthSequence, { ...LONG, total: OPERATIONS * AUTH_SHARE * JSON_SHARE });
  });

  it('but for the name of an enum value that it does not know: since 3.6 that is the default', async (context) => {
    const { etcd } = requirePeers(context, 'etcd');
    const pair = await Differential.start(etcd, 'json');
    try {
      const body = '{"key": "YQ==", "sort_order": "SIDEWAYS"}';
      expect((await pair.etcd.post('/v3/kv/range', body)).status).toBe(400);
      expect((await pair.roster.post('/v3/kv/range', body)).status).toBe(200);
    } finally {
      await pair.close();
    }
  });

  it('to what is no request in JSON', { timeout: 60_000 }, async (context) => {
    const { etcd } = requirePeers(context, 'etcd');
    const pair = await Differential.start(etcd, 'json');
    try {
      for (const body of NO_REQUESTS) {
        const [expected, actual] = await Promise.all(
          [pair.etcd, pair.roster].map(async (side) => {
            const answer = await side.post('/v3/kv/range', body);
            // Each parser has its own words for what is wrong.
            return { body, status: answer.status, code: (JSON.parse(answer.body) as { code: number }).code };
          }),
        );
        expect(actual).toEqual(expected);
        expect(expected!.status).toBe(400);
      }
    } finally {
      await pair.close();
    }
  });
});

describe('what etcd 3.4 says differently', () => {
  const etcd = findPeer('etcd') ?? '';
  // One pair of servers for all of them: every sequence clears up behind itself.
  const servers = { grpc: new Servers(etcd, 'grpc'), json: new Servers(etcd, 'json') };
  afterAll(async () => {
    await servers.grpc.close();
    await servers.json.close();
  });

  it.skipIf(etcd === '').each(differences)('$name', { timeout: 60_000 }, async ({ name, shows, transport }) => {
    const pair = servers[transport ?? 'grpc'];
    const before = pair.timesOf(name);
    await pair.run(shows);
    expect(pair.timesOf(name)).toBeGreaterThan(before);
  });
});
