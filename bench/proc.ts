/** What the kernel says of a process and of a folder: memory, processor time, bytes on disk. Linux only. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Of /proc/PID/stat; it is 100 on every Linux that Node runs on (sysconf _SC_CLK_TCK). */
const TICKS_PER_SECOND = 100;
const STAT_BLOCK_BYTES = 512;

export interface Memory {
  readonly residentBytes: number;
  /** The most it has ever been. */
  readonly peakBytes: number;
}

export async function memoryOf(pid: number): Promise<Memory> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1');
  const read = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024;
  return { residentBytes: read('VmRSS'), peakBytes: read('VmHWM') };
}

/** User and system time of all its threads. */
export async function cpuSecondsOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1');
  // The second field is the name, in parentheses, and may hold spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Blocks that all files below a folder occupy. A file that goes away meanwhile counts as nothing. */
export async function diskBytesOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += await diskBytesOf(path);
    else
      bytes +=
        STAT_BLOCK_BYTES *
        (await stat(path)
          .then(({ blocks }) => blocks)
          .catch(() => 0));
  }
  return bytes;
}
