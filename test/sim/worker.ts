/**
 * A process that runs seeds as it is told. With the name of a canary as its argument it puts that bug into the code
 * before it loads any of it.
 */
import { register } from 'node:module';
import { findCanary } from './canaries.ts';
import type { Task } from './seed-run.ts';

const name = process.argv[2];
const canary = name === undefined ? undefined : findCanary(name);
if (canary?.patches !== undefined) register('./patch-loader.js', import.meta.url, { data: canary.patches });

const { runSeed } = await import('./seed-run.ts');
const bug = canary?.bug === undefined ? undefined : (await import('./bugs.ts')).BUGS[canary.bug];

process.on('message', (task: Task) => {
  process.send!(runSeed(task, bug?.()));
});
process.on('disconnect', () => process.exit());
