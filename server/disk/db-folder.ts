/**
 * Which folder holds the database: `db`, or the one that the file `db.current` names since a snapshot took its place.
 * Owns these names in the folder `member`, and the step from one to the next, which is one rename. Never looks into a
 * database.
 */
import fs from 'node:fs';
import { basename, join } from 'node:path';
import { GrpcStatus, RosterError } from '../../core/errors.ts';
import { systemCode } from './disk-error.ts';

/** The first one; it needs no pointer. */
const FIRST = 'db';
const POINTER = 'db.current';
const TEMPORARY = `${POINTER}.tmp`;
const NAME = /^db(?:\.([1-9][0-9]{0,14}))?$/;

export class DbFolder {
  readonly #parent: string;
  #current: string;
  /** The highest number in a name so far, so that none is given twice. */
  #highest: number;

  /**
   * Finds the database in the folder `parent`, which belongs to this process alone, and removes what interrupted
   * installations have left. Throws a RosterError when the pointer does not lead to a database.
   */
  constructor(parent: string) {
    this.#parent = parent;
    const names = fs.readdirSync(parent);
    const databases = names.filter((name) => NAME.test(name));
    this.#current = this.#find(databases);
    this.#highest = Math.max(0, ...databases.map(numberOf));
    if (names.includes(TEMPORARY)) fs.rmSync(join(parent, TEMPORARY));
    for (const name of databases) {
      if (name !== this.#current) fs.rmSync(join(parent, name), { recursive: true });
    }
  }

  /** The folder of the database in force, which may not exist yet in a new data directory. */
  get path(): string {
    return join(this.#parent, this.#current);
  }

  /** A folder that does not exist, for the next database. */
  next(): string {
    return join(this.#parent, `${FIRST}.${++this.#highest}`);
  }

  /**
   * Makes the database in the folder `path`, given by {@link next} and durable, the one in force. When this resolves,
   * every later start finds it; when it rejects, nobody knows.
   */
  async switchTo(path: string): Promise<void> {
    await syncFolder(path);
    await syncFolder(this.#parent);
    const temporary = join(this.#parent, TEMPORARY);
    const file = await fs.promises.open(temporary, 'w', 0o600);
    try {
      await file.writeFile(`${basename(path)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.promises.rename(temporary, join(this.#parent, POINTER));
    await syncFolder(this.#parent);
    this.#current = basename(path);
  }

  #find(databases: readonly string[]): string {
    const pointer = join(this.#parent, POINTER);
    const name = readPointer(pointer);
    if (name === undefined) {
      if (databases.length === 0 || databases.includes(FIRST)) return FIRST;
      throw refusal(`${this.#parent} holds a database (${databases[0]}), but the file ${pointer} is missing`);
    }
    if (!NAME.test(name)) throw refusal(`${pointer} is damaged: it should name the folder of the database`);
    if (databases.includes(name)) return name;
    throw refusal(`the database ${join(this.#parent, name)} is missing, which ${pointer} names`);
  }
}

function numberOf(name: string): number {
  return Number(NAME.exec(name)?.[1] ?? 0);
}

function readPointer(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8').replace(/\n$/, '');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await fs.promises.open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function refusal(message: string): RosterError {
  return new RosterError('Other', GrpcStatus.FAILED_PRECONDITION, message);
}
