/**
 * `npm run bench -- cores`: would connections on threads of their own be worth it? The same production code in front of a
 * state machine that only spends time, on one thread and with workers, in turn (cores-server.ts).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from './histogram.ts';
import { Load } from './load.ts';
import { cpuSecondsOf } from './proc.ts';
import { CONNECTIONS_MAX, randomPuts } from './puts.ts';

const help = `npm run bench -- cores [options]
  --workers 0,1,2    threads for connections; 0: everything on one thread
  --work 0,15        microseconds a put takes the state machine
  --clients 1,1000
  --seconds 4        length of one run
  --rounds 3         runs of each, in turn`;

interface Figures {
  readonly perSecond: number;
  readonly p99Ms: number;
  /** Microseconds of all threads of the server, for one call. */
  readonly cpuMicros: number;
  /** Microseconds of the main thread, for one call: its reciprocal is what more cores could reach. */
  readonly mainMicros: number;
}

export async function benchCores(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      workers: { type: 'string', default: '0,1,2' },
      work: { type: 'string', default: '0,15' },
      clients: { type: 'string', default: '1,1000' },
      seconds: { type: 'string', default: '4' },
      rounds: { type: 'string', default: '3' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(help);
  const numbers = (text: string): number[] => text.split(',').map(Number);
  const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)];
  console.log(`${availableParallelism()} cores, the load generator on one of them; medians of ${rounds} rounds\n`);
  for (const micros of numbers(values.work)) {
    for (const clients of numbers(values.clients)) {
      console.log(`a put takes the state machine ${micros} us; ${clients} client${clients === 1 ? '' : 's'}`);
      const all = new Map<number, Figures[]>(numbers(values.workers).map((workers) => [workers, []]));
      for (let round = 0; round < rounds; round++) {
        for (const [workers, runs] of all) runs.push(await measured(workers, micros, clients, seconds));
      }
      for (const [workers, runs] of all) tell(workers, runs);
      console.log();
    }
  }
}

async function measured(workers: number, micros: number, clients: number, seconds: number): Promise<Figures> {
  const program = fileURLToPath(new URL('./cores-server.js', import.meta.url));
  const server = spawn(process.execPath, [program, String(workers), String(micros)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: server.stdout! })[Symbol.asyncIterator]();
  try {
    const ports = JSON.parse((await lines.next()).value) as number[];
    const connections = Math.min(clients, CONNECTIONS_MAX);
    const load = await Load.open({ ports, clients, connections, kinds: [randomPuts] });
    try {
      await load.run(1000);
      await busySince(server, lines);
      const cpuBefore = await cpuSecondsOf(server.pid!);
      const { perSecond, latencyMs } = await load.run(seconds * 1000);
      const [busyMs, cpu] = [await busySince(server, lines), (await cpuSecondsOf(server.pid!)) - cpuBefore];
      const calls = latencyMs.count;
      return {
        ...{ perSecond, p99Ms: latencyMs.percentile(0.99) },
        ...{ cpuMicros: (cpu * 1e6) / calls, mainMicros: (busyMs * 1e3) / calls },
      };
    } finally {
      load.close();
    }
  } finally {
    server.kill();
  }
}

/** Milliseconds for which the main thread was busy since it was asked last. */
async function busySince(server: ChildProcess, lines: AsyncIterator<string>): Promise<number> {
  server.stdin!.write('\n');
  return Number((await lines.next()).value);
}

function tell(workers: number, runs: readonly Figures[]): void {
  const middle = (of: (figures: Figures) => number): number => median(runs.map(of));
  const name = workers === 0 ? 'one thread' : `${workers} worker${workers === 1 ? '' : 's'}`;
  const main = middle(({ mainMicros }) => mainMicros);
  console.log(
    `  ${name.padEnd(11)} ${middle(({ perSecond }) => perSecond).toFixed(0)}/s, p99 ${middle(({ p99Ms }) => p99Ms).toFixed(2)} ms; ` +
      `a call: ${middle(({ cpuMicros }) => cpuMicros).toFixed(1)} us of all threads, ${main.toFixed(1)} us of the main one ` +
      `(alone it would reach ${(1e6 / main).toFixed(0)}/s)`,
  );
}
