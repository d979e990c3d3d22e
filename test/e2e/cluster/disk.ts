/**
 * A small disk of its own for one member: a file with ext4 in it, mounted through a loop device. It can be filled to the
 * last byte, and frozen so that every write waits. Needs root; where mounts are not permitted there is none.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { atExit } from './at-exit.ts';

const execute = promisify(execFile);
const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;

async function run(file: string, ...args: string[]): Promise<void> {
  await execute(file, args, { env: { ...process.env, PATH } });
}

export class SmallDisk {
  readonly #image: string;
  /** Where it is mounted. */
  readonly folder: string;
  readonly #forget: () => void;
  #frozen = false;

  private constructor(image: string, folder: string) {
    this.#image = image;
    this.folder = folder;
    // A frozen file system would hold on to whoever writes to it, beyond SIGKILL.
    this.#forget = atExit(() => {
      const env = { ...process.env, PATH };
      if (this.#frozen) execFileSync('fsfreeze', ['--unfreeze', folder], { env });
      execFileSync('umount', ['--lazy', folder], { env });
    });
  }

  /** Makes one in `parent`; the text says why that is not possible here. */
  static async make(parent: string, megabytes: number): Promise<SmallDisk | string> {
    if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'a disk of its own needs root on Linux';
    const image = join(parent, 'disk.img');
    const folder = join(parent, 'disk');
    try {
      await mkdir(folder, { recursive: true });
      await writeFile(image, '');
      await truncate(image, megabytes * 1024 * 1024);
      await run('mkfs.ext4', '-q', '-m', '0', image);
      await run('mount', '-o', 'loop', image, folder);
    } catch (error) {
      await rm(image, { force: true });
      return `mounts are not permitted here: ${(error as Error).message.split('\n')[0]}`;
    }
    return new SmallDisk(image, folder);
  }

  /** Leaves no byte free. */
  async fill(): Promise<void> {
    // Ends with "No space left on device", which is what it is for.
    await run('dd', 'if=/dev/zero', `of=${this.#ballast}`, 'bs=1M', 'oflag=append', 'conv=notrunc').catch(() => {});
    await run('dd', 'if=/dev/zero', `of=${this.#ballast}`, 'bs=4k', 'oflag=append', 'conv=notrunc').catch(() => {});
  }

  async free(): Promise<void> {
    await rm(this.#ballast, { force: true });
  }

  /** Every write waits from now on, until `thaw`. */
  async freeze(): Promise<void> {
    this.#frozen = true;
    await run('fsfreeze', '--freeze', this.folder);
  }

  async thaw(): Promise<void> {
    await run('fsfreeze', '--unfreeze', this.folder).catch(() => {});
    this.#frozen = false;
  }

  /** Whoever used it must have ended. */
  async remove(): Promise<void> {
    if (this.#frozen) await this.thaw();
    await run('umount', this.folder).catch(() => run('umount', '--lazy', this.folder));
    this.#forget();
    await rm(this.#image, { force: true });
  }

  get #ballast(): string {
    return join(this.folder, 'ballast');
  }
}
