/**
 * The target file on disk: comparing it, staging its successor beside it, swapping the two, and the marker that says a
 * reload is still owed. Owns every file operation of the renderer; runs no command. A reader of the target sees the
 * old file or the new one, whole.
 *
 * Files beside `<dest>`: the stage file `.<dest>.<16 hex digits>`, and `.<dest>.roster-pending`, which exists from
 * before the swap until the reload command has returned 0, so that a crash in between is made good at the next start.
 */
import { randomBytes } from 'node:crypto';
import { constants as fsConstants } from 'node:fs';
import { type FileHandle, lstat, open, readdir, rename, rm, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { TemplateResource } from './template-resource.ts';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = fsConstants;

/** A stage file this old belongs to no running check: its writer was killed. */
export const STALE_STAGE_MS = 10 * 60_000;

/** What is at the target now, beside what should be. */
export interface TargetState {
  /** A regular file with these bytes, and the mode and owner the resource asks for. */
  inSync: boolean;
  /** The bytes there, when it is a regular file. */
  content: Buffer | undefined;
  mode: number | undefined;
  uid: number | undefined;
  gid: number | undefined;
  /** A reload is owed from an earlier swap. */
  reloadPending: boolean;
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

function markerPath(dest: string): string {
  return join(dirname(dest), `.${basename(dest)}.roster-pending`);
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Compares the target with what it should be. A symbolic link is never followed: it counts as different. */
export async function inspectTarget(resource: TemplateResource, wanted: Buffer): Promise<TargetState> {
  const reloadPending = await exists(markerPath(resource.dest));
  const nothing = { inSync: false, content: undefined, mode: undefined, uid: undefined, gid: undefined, reloadPending };
  let file: FileHandle;
  try {
    file = await open(resource.dest, O_RDONLY | O_NOFOLLOW | fsConstants.O_NONBLOCK);
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ELOOP') return nothing;
    throw error;
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new Error(`${resource.dest} is not a regular file`);
    const content = await file.readFile();
    const mode = stat.mode & 0o7777;
    const inSync =
      content.equals(wanted) &&
      (resource.mode === undefined || resource.mode === mode) &&
      (resource.uid === undefined || resource.uid === stat.uid) &&
      (resource.gid === undefined || resource.gid === stat.gid);
    return { inSync, content, mode, uid: stat.uid, gid: stat.gid, reloadPending };
  } finally {
    await file.close();
  }
}

/**
 * Writes the successor of the target beside it, durable, with its final owner and mode; returns its path. Refuses
 * whatever already has the name, links included. `random` names it (16 hex digits).
 */
export async function stageFile(
  resource: TemplateResource,
  current: TargetState,
  content: Buffer,
  random: () => string = () => randomBytes(8).toString('hex'),
): Promise<string> {
  const path = join(dirname(resource.dest), `.${basename(resource.dest)}.${random()}`);
  const file = await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    await file.writeFile(content);
    const stat = await file.stat();
    // Without an instruction the owner of the existing file is kept, where the system lets us.
    const keepOwner = process.geteuid?.() === 0;
    const uid = resource.uid ?? (keepOwner ? current.uid : undefined) ?? stat.uid;
    const gid = resource.gid ?? (keepOwner ? current.gid : undefined) ?? stat.gid;
    if (uid !== stat.uid || gid !== stat.gid) await file.chown(uid, gid);
    await file.chmod(resource.mode ?? current.mode ?? 0o644);
    await file.sync();
  } catch (error) {
    await file.close();
    await rm(path, { force: true });
    throw error;
  }
  await file.close();
  return path;
}

/** Makes a change of names in a folder durable. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, O_RDONLY);
  try {
    await handle.sync();
  } catch (error) {
    // Some file systems have no such operation; their renames are as durable as they get.
    if (codeOf(error) !== 'EINVAL' && codeOf(error) !== 'ENOTSUP') throw error;
  } finally {
    await handle.close();
  }
}

/**
 * Writes over a target that cannot be renamed onto (a file bind-mounted into a container), and reads it back: this
 * one way is not atomic, so it must at least be known to have worked.
 */
async function overwrite(dest: string, content: Buffer): Promise<void> {
  const file = await open(dest, fsConstants.O_RDWR | O_NOFOLLOW);
  try {
    await file.write(content, 0, content.length, 0);
    await file.truncate(content.length);
    await file.sync();
    const { buffer, bytesRead } = await file.read(Buffer.alloc(content.length + 1), 0, content.length + 1, 0);
    if (!buffer.subarray(0, bytesRead).equals(content)) throw new Error(`${dest} does not hold what was written to it`);
  } finally {
    await file.close();
  }
}

/** Puts the stage file in the target's place, durably. The stage file is gone afterwards. */
export async function swapTarget(staged: string, dest: string, content: Buffer, move = rename): Promise<void> {
  try {
    await move(staged, dest);
  } catch (error) {
    if (codeOf(error) !== 'EBUSY') throw error;
    await overwrite(dest, content);
    await unlink(staged);
  }
  await syncFolder(dirname(dest));
}

/** Notes, durably, that the target's reload is owed. */
export async function markPending(dest: string): Promise<void> {
  let file: FileHandle;
  try {
    file = await open(markerPath(dest), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return;
    throw error;
  }
  try {
    await file.writeFile(`${basename(dest)} was replaced, and its reload command has not succeeded yet.\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await syncFolder(dirname(dest));
}

/** Notes that the reload has succeeded. */
export async function clearPending(dest: string): Promise<void> {
  await rm(markerPath(dest), { force: true });
}

/** Removes stage files that a killed process left beside the target long ago. */
export async function removeStaleStages(dest: string, nowMs: number): Promise<void> {
  const folder = dirname(dest);
  const lead = `.${basename(dest)}.`;
  for (const name of await readdir(folder)) {
    if (!name.startsWith(lead) || !/^[0-9a-f]{16}$/.test(name.slice(lead.length))) continue;
    const path = join(folder, name);
    const stat = await lstat(path);
    if (stat.isFile() && nowMs - stat.mtimeMs > STALE_STAGE_MS) await rm(path, { force: true });
  }
}

/** Takes a stage file away again. */
export async function discardStage(staged: string): Promise<void> {
  await rm(staged, { force: true });
}
