/** `npm run bench -- NAME [options]`: side-by-side runs against the real peer. */
import { benchBigRead } from './big-read.ts';
import { benchCatchup } from './catchup.ts';
import { benchChildren } from './children.ts';
import { benchCores } from './cores.ts';
import { benchOverwrite } from './overwrite.ts';
import { benchPut } from './put.ts';
import { benchReport } from './report/page.ts';
import { endAllServers } from './servers.ts';
import { benchTable } from './table.ts';

const benches: Readonly<Record<string, (args: string[]) => Promise<void>>> = {
  put: benchPut,
  catchup: benchCatchup,
  overwrite: benchOverwrite,
  bigread: benchBigRead,
  table: benchTable,
  report: benchReport,
  children: benchChildren,
  cores: benchCores,
};

const [name = '', ...args] = process.argv.slice(2);
const bench = Object.hasOwn(benches, name) ? benches[name] : undefined;
if (bench === undefined) {
  console.error(
    `usage: npm run bench -- ${Object.keys(benches).join('|')} [options]; --help after a name lists its options`,
  );
  process.exitCode = 2;
} else {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      endAllServers();
      process.exit(1);
    });
  }
  await bench(args);
}
