/** Which process dialled a connection, as the kernel's tables tell (Linux). */
import { readdir, readFile, readlink } from 'node:fs/promises';

/**
 * The one of `pids` that holds the client's end of a TCP connection over 127.0.0.1 from `localPort` to `remotePort`;
 * undefined when it is none of them, or has gone.
 */
export async function socketOwner(
  localPort: number,
  remotePort: number,
  pids: readonly number[],
): Promise<number | undefined> {
  const inode = await inodeOf(localPort, remotePort);
  if (inode === undefined) return undefined;
  for (const pid of pids) if (await holds(pid, `socket:[${inode}]`)) return pid;
  return undefined;
}

/** A line is `sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode ...`, addresses in hexadecimal. */
async function inodeOf(localPort: number, remotePort: number): Promise<string | undefined> {
  const address = (port: number) => `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const table = await readFile('/proc/net/tcp', 'utf8');
  const at = table.indexOf(` ${address(localPort)} ${address(remotePort)} `);
  if (at < 0) return undefined;
  const inode = table.slice(at).trimStart().split(/\s+/, 9)[8];
  return inode === '0' ? undefined : inode;
}

async function holds(pid: number, target: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  const names = await readdir(folder).catch(() => []);
  // A descriptor may close while we look.
  const targets = await Promise.all(names.map((name) => readlink(`${folder}/${name}`).catch(() => '')));
  return targets.includes(target);
}
