/** `npm run bench -- NAME [options]`: side-by-side runs against the real peer. */
import { benchCatchup } from './catchup.ts';
import { benchPut } from './put.ts';

const benches: Readonly<Record<string, (args: string[]) => Promise<void>>> = { put: benchPut, catchup: benchCatchup };

const [name = '', ...args] = process.argv.slice(2);
const bench = Object.hasOwn(benches, name) ? benches[name] : undefined;
if (bench === undefined) {
  console.error(
    `usage: npm run bench -- ${Object.keys(benches).join('|')} [options]; --help after a name lists its options`,
  );
  process.exitCode = 2;
} else {
  await bench(args);
}
