/**
 * Keeps two processes out of one folder. Node has no flock, and one lock file that is "taken over when stale" can be
 * taken over by two at once. So each process has a file of its own, named after what nobody else can ever be (boot, pid,
 * start time): create it, then look whether another living process has one. Two that start at the same instant may both
 * give up; they can never both go on. A file of a dead process means nothing and anybody may remove it.
 * Cannot see processes in another pid namespace: two containers must not share a data directory.
 */
import fs from 'node:fs';
import { join } from 'node:path';
import { GrpcStatus, RosterError } from '../../core/errors.ts';
import { systemCode } from './disk-error.ts';

const NAME = /^lock\.(\d+)\.(\d+)\.([0-9a-f-]+)$/;

export interface ProcessLock {
  release(): void;
}

/** Takes the lock on `folder`, which exists. Throws a RosterError that names the process which has it. */
export function lockFolder(folder: string): ProcessLock {
  const own = `lock.${process.pid}.${startTime(process.pid) ?? 0}.${bootId()}`;
  const path = join(folder, own);
  try {
    fs.closeSync(fs.openSync(path, 'wx', 0o600));
  } catch (error) {
    if (systemCode(error) === 'EEXIST') throw inUse(folder, process.pid);
    throw error;
  }
  for (const name of fs.readdirSync(folder)) {
    const holder = NAME.exec(name);
    if (holder === null || name === own) continue;
    const pid = Number(holder[1]);
    if (isAlive(pid, Number(holder[2]), holder[3]!)) {
      fs.rmSync(path, { force: true });
      throw inUse(folder, pid);
    }
    fs.rmSync(join(folder, name), { force: true });
  }
  return { release: () => fs.rmSync(path, { force: true }) };
}

export function isLockName(name: string): boolean {
  return NAME.test(name);
}

function inUse(folder: string, pid: number): RosterError {
  const who = pid === process.pid ? 'this process' : `process ${pid}`;
  return new RosterError('Other', GrpcStatus.FAILED_PRECONDITION, `the data directory ${folder} is in use by ${who}`);
}

function isAlive(pid: number, started: number, boot: string): boolean {
  if (boot !== bootId()) return false;
  const start = startTime(pid);
  if (start !== undefined) return start === started;
  if (fs.existsSync('/proc/self/stat')) return false;
  // No /proc (not Linux): whether there is such a process is all that can be asked.
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}

/**
 * When the process started, in clock ticks since boot (proc_pid_stat(5), field 22); undefined without such a process, or
 * when it is dead and only its parent has not noticed.
 */
function startTime(pid: number): number | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field, the command, may hold spaces and parentheses; the last ')' ends it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[19]);
  } catch {
    return undefined;
  }
}

/** Changes with every boot, so that a pid and a start time mean one process. '0' where the system has none. */
function bootId(): string {
  try {
    return fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return '0';
  }
}
