/** User and group names to numbers, from passwd and group files. Reads those two files and nothing else. */
import { readFileSync } from 'node:fs';

function lookup(file: string, name: string): number | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  for (const line of text.split('\n')) {
    const [entry, , id] = line.split(':');
    if (entry === name && id !== undefined && /^\d+$/.test(id)) return Number(id);
  }
  return undefined;
}

/** The uid of a user given by name or number; undefined when there is no such user. */
export function userId(name: string): number | undefined {
  return /^\d+$/.test(name) ? Number(name) : lookup('/etc/passwd', name);
}

/** The gid of a group given by name or number; undefined when there is no such group. */
export function groupId(name: string): number | undefined {
  return /^\d+$/.test(name) ? Number(name) : lookup('/etc/group', name);
}
