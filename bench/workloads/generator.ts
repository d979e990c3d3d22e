/** Shows that the load generator is not the limit: how fast it is against a server that does nothing. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Load } from '../load.ts';
import { figuresOf, work } from '../measurement.ts';
import { cpuSecondsOf } from '../proc.ts';
import { CONNECTIONS_MAX, VALUE_BYTES } from '../puts.ts';
import { puts } from './put.ts';
import { recorded, type Section, warmUpSeconds } from './section.ts';

export const generatorSection: Section = {
  name: 'generator',
  estimateSeconds: (scale) => 1 + scale.clients.length * (warmUpSeconds(scale) + scale.seconds),
  async run(run) {
    const { seconds, clients: all } = run.scale;
    for (const clients of all) {
      run.progress(`${clients} clients, against a server that does nothing`);
      const what = work('put', { clients, valueBytes: VALUE_BYTES });
      await recorded(run, what, 'generator', 0, () =>
        withEmptyServer(async (port, pid) => {
          const ports = [port];
          const load = await Load.open({ ports, clients, connections: CONNECTIONS_MAX, kinds: [puts(VALUE_BYTES)] });
          try {
            await load.run(warmUpSeconds(run.scale) * 1000);
            const before = await cpuSecondsOf(pid);
            const result = await load.run(seconds * 1000);
            return figuresOf(result, (await cpuSecondsOf(pid)) - before);
          } finally {
            load.close();
          }
        }),
      );
    }
  },
};

async function withEmptyServer<T>(use: (port: number, pid: number) => Promise<T>): Promise<T> {
  const program = fileURLToPath(new URL('../empty-server.js', import.meta.url));
  const child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const port = await new Promise<number>((resolve, reject) => {
      child.stdout.once('data', (text: Buffer) => resolve(Number(text.toString())));
      child.once('exit', () => reject(new Error('the empty server ended')));
    });
    return await use(port, child.pid!);
  } finally {
    child.kill();
  }
}
