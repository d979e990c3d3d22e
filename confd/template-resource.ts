/**
 * Template resources: confd's `conf.d/*.toml` files as data. Owns the schema and what its defaults mean; reads no file
 * and renders nothing. Every error names the file and the field.
 */
import { join, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { z } from 'zod';
import type { Command } from './command.ts';
import { parseDurationMs } from './duration.ts';
import { groupId, userId } from './owner.ts';
import { effectivePrefix, normalPath, type PrefixMode } from './scope.ts';

/** A resource file that cannot be used. */
export class ResourceError extends Error {
  override name = 'ResourceError';
  readonly file: string;
  constructor(file: string, message: string) {
    super(`${file}: ${message}`);
    this.file = file;
  }
}

/** One `[template]` table, defaults applied and paths made whole. */
export interface TemplateResource {
  /** The TOML file: the resource's identity. */
  readonly file: string;
  /** Whole path of the template. */
  readonly src: string;
  /** Whole path of the target; its directory must exist. */
  readonly dest: string;
  /** '' or `/a/b`; taken off the keys that the template sees. */
  readonly prefix: string;
  /** Whole paths of the keys asked for, prefix included. */
  readonly scopes: readonly string[];
  /** Permission bits; undefined keeps those of the existing file, else 0644. */
  readonly mode: number | undefined;
  /** undefined keeps the owner of the existing file where we may, else our own. */
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  readonly checkCommand: Command | undefined;
  readonly reloadCommand: Command | undefined;
  readonly checkTimeoutMs: number;
  readonly reloadTimeoutMs: number;
}

const command = z.union([z.string().min(1), z.array(z.string()).min(1)]);
const duration = z.union([z.string(), z.number()]).transform((value, context) => {
  const ms = parseDurationMs(value);
  if (ms !== undefined && ms > 0) return ms;
  context.addIssue({ code: 'custom', message: 'must be a duration such as "30s", or seconds' });
  return z.NEVER;
});
const mode = z.union([
  z.string().regex(/^(0o?)?[0-7]{3,4}$/, 'must be octal, such as "0644"'),
  z.int().min(0).max(0o7777),
]);
const account = (find: (name: string) => number | undefined, what: string) =>
  z.string().transform((name, context) => {
    const id = find(name);
    if (id !== undefined) return id;
    context.addIssue({ code: 'custom', message: `there is no ${what} ${JSON.stringify(name)}` });
    return z.NEVER;
  });
const id = z.int().min(0);

const Template = z.strictObject({
  src: z.string().min(1),
  dest: z.string().min(1),
  keys: z.array(z.string()).default([]),
  prefix: z.string().default(''),
  prefix_mode: z.enum(['replace', 'join']).optional(),
  mode: mode.optional(),
  uid: id.optional(),
  gid: id.optional(),
  owner: account(userId, 'user').optional(),
  group: account(groupId, 'group').optional(),
  check_cmd: command.optional(),
  reload_cmd: command
    .refine((value) => !/\{\{\s*\.?src\s*\}\}/.test([value].flat().join(' ')), {
      message: '{{src}} is only for check_cmd: by the time of the reload the staged file has become {{dest}}',
    })
    .optional(),
  check_cmd_timeout: duration.default(30_000),
  reload_cmd_timeout: duration.default(60_000),
});
const File = z.strictObject({ template: Template });

/** confd's parser does not mind the case of a name. */
function lowerNames(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name.toLowerCase(), lowerNames(item)]));
}

export interface ResourceSettings {
  /** Folder of the templates. */
  templateDir: string;
  /** The global prefix; '' for none. */
  prefix: string;
  /** For resources that do not say. */
  prefixMode: PrefixMode;
}

/** A resource from its file's text; throws {@link ResourceError}. */
export function parseResource(file: string, text: string, settings: ResourceSettings): TemplateResource {
  let table: unknown;
  try {
    table = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    throw new ResourceError(file, `line ${error.line}: ${error.message.split('\n')[0]}`);
  }
  const parsed = File.safeParse(lowerNames(table));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const field = issue!.path.join('.');
    throw new ResourceError(file, field === '' ? issue!.message : `${field}: ${issue!.message}`);
  }
  const own = parsed.data.template;
  if (own.uid !== undefined && own.owner !== undefined)
    throw new ResourceError(file, 'template.owner: uid is given too');
  if (own.gid !== undefined && own.group !== undefined)
    throw new ResourceError(file, 'template.group: gid is given too');
  const prefix = effectivePrefix(settings.prefix, own.prefix, own.prefix_mode ?? settings.prefixMode);
  return {
    file,
    src: join(settings.templateDir, own.src),
    dest: resolve(own.dest),
    prefix,
    scopes: [...new Set(own.keys.map((key) => normalPath(`${prefix}/${key}`)))],
    mode: typeof own.mode === 'string' ? Number.parseInt(own.mode.replace('o', ''), 8) : own.mode,
    uid: own.uid ?? own.owner,
    gid: own.gid ?? own.group,
    checkCommand: own.check_cmd,
    reloadCommand: own.reload_cmd,
    checkTimeoutMs: own.check_cmd_timeout,
    reloadTimeoutMs: own.reload_cmd_timeout,
  };
}
