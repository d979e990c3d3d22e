/**
 * Service definition files: their form, and how text becomes definitions. Every error names the field. Reads no file
 * and registers nothing; unknown fields are errors, because a misspelt `check` must not go unnoticed.
 */
import { isIP } from 'node:net';
import { parse as parseToml } from 'smol-toml';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';

/** Services one file may define. */
export const FILE_SERVICES_MAX = 1_000;
export const CHECK_INTERVAL_MIN_MS = 100;
const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000 };

/** Milliseconds from a number of milliseconds or a text like `250ms`, `2s`, `1m`. */
function durationMs(text: number | string): number {
  if (typeof text === 'number') return text;
  const match = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(text);
  return match === null ? Number.NaN : Number(match[1]) * UNITS[match[2]!]!;
}

const duration = (minMs: number) =>
  z
    .union([z.number(), z.string()], { error: 'expected milliseconds, or a text like "500ms", "2s", "1m"' })
    .transform(durationMs)
    .refine((ms) => ms >= minMs && ms <= 3_600_000, {
      error: `expected ${minMs} milliseconds to one hour, like "500ms", "2s" or "1m"`,
    });

const pathPart = z
  .string()
  .regex(/^[^\s/](?:[^/\p{Cc}]*[^\s/])?$/u, { error: 'expected text without "/" and control characters, not empty' });
const address = z.string().refine((text) => isIP(text) !== 0, { error: 'expected an IPv4 or IPv6 address' });
const port = z.number().int().min(1).max(65_535);
const attribute = z.union([z.string(), z.number(), z.boolean()]).transform(String);
const times = z.number().int().min(1).max(100);

const check = z
  .strictObject({
    /** `true`, or `host:port` to probe another place than the one that is published. */
    tcp: z.union([z.literal(true), z.string().regex(/^(?:\[[^\]]+\]|[^:]+):\d+$/)], {
      error: 'expected true or "host:port"',
    }),
    /** A path on the published address, or a whole URL (http or https). */
    http: z.string().regex(/^(?:\/|https?:\/\/)/, { error: 'expected a path ("/health") or an http(s) URL' }),
    /** With https: accept any certificate. */
    tls_skip_verify: z.boolean(),
    interval: duration(CHECK_INTERVAL_MIN_MS),
    timeout: duration(10),
    /** Successes in a row that put the service up; failures in a row that take it down. */
    rise: times,
    fall: times,
  })
  .partial()
  .refine((value) => (value.tcp === undefined) !== (value.http === undefined), {
    error: 'expected exactly one of "tcp" and "http"',
  });

const service = z
  .strictObject({
    name: pathPart,
    id: pathPart.optional(),
    ip: address.optional(),
    /** Another word for `ip`. */
    address: address.optional(),
    port,
    protocol: z.enum(['tcp', 'udp']).optional(),
    tags: z.array(z.string()).optional(),
    attrs: z.record(z.string(), attribute).optional(),
    check: check.optional(),
  })
  .refine((value) => value.ip === undefined || value.address === undefined, {
    error: '"ip" and "address" are the same; give one',
  });

const file = z.strictObject({ service: z.array(service).max(FILE_SERVICES_MAX) });

/** One `[[service]]` of a file, as written. Durations are milliseconds. */
export type ServiceDefinition = z.output<typeof service>;
export type CheckDefinition = z.output<typeof check>;

/** The file is not usable; the message has one line per fault, each naming the field. */
export class DefinitionError extends Error {
  override name = 'DefinitionError';
}

export const DEFINITION_SUFFIXES = ['.toml', '.yaml', '.yml', '.json'] as const;

/**
 * The definitions in `text`, whose format the suffix of `fileName` tells.
 * @throws DefinitionError
 */
export function parseDefinitions(fileName: string, text: string): ServiceDefinition[] {
  let data: unknown;
  try {
    if (fileName.endsWith('.toml')) data = parseToml(text);
    else if (fileName.endsWith('.json')) data = JSON.parse(text);
    else data = parseYaml(text);
  } catch (error) {
    throw new DefinitionError(`not readable: ${error instanceof Error ? error.message.trim() : String(error)}`);
  }
  const result = file.safeParse(data);
  if (!result.success) throw new DefinitionError(result.error.issues.map(issueText).join('\n'));
  return result.data.service;
}

function issueText(issue: z.core.$ZodIssue): string {
  const path = issue.path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : `${text}${text === '' ? '' : '.'}${String(part)}`),
    '',
  );
  return `${path === '' ? '(file)' : path}: ${issue.message}`;
}
