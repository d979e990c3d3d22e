import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/** Imports run one way (docs/architecture.md, "Rooms"). This test reads every import statement and holds them to it. */

const root = fileURLToPath(new URL('..', import.meta.url));

/** Room -> rooms it may import (itself always). A room is the longest prefix that matches. */
const allowed: Record<string, readonly string[]> = {
  'core/util': [],
  'core/errors.ts': [],
  'core/wire': ['core/util', 'core/errors.ts'],
  'core/raft': ['core/wire', 'core/util', 'core/errors.ts'],
  'core/log': ['core/wire', 'core/util', 'core/errors.ts'],
  'core/mvcc': ['core/wire', 'core/util', 'core/errors.ts'],
  'core/watch': ['core/mvcc', 'core/wire', 'core/util', 'core/errors.ts'],
  'core/lease': ['core/mvcc', 'core/wire', 'core/util', 'core/errors.ts'],
  'core/v2': ['core/lease', 'core/mvcc', 'core/wire', 'core/util', 'core/errors.ts'],
  'core/membership': ['core/mvcc', 'core/raft', 'core/wire', 'core/util', 'core/errors.ts'],
  'core/auth': ['core/mvcc', 'core/wire', 'core/util', 'core/errors.ts'],
  'core/apply': [
    'core/auth',
    'core/raft',
    'core/membership',
    'core/lease',
    'core/watch',
    'core/v2',
    'core/mvcc',
    'core/wire',
    'core/util',
    'core/errors.ts',
    'core/node/machine.ts',
  ],
  'core/node/machine.ts': ['core/raft', 'core/wire', 'core/util', 'core/errors.ts'],
  'core/node': [
    'core/apply',
    'core/raft',
    'core/log',
    'core/node/machine.ts',
    'core/wire',
    'core/util',
    'core/errors.ts',
  ],
  server: ['core', 'client', 'registrator', 'confd'],
  client: ['core/wire', 'core/util', 'core/errors.ts'],
  // Snapshot files and data directories without a server: `rosterctl snapshot` is `roster snapshot`.
  ctl: ['client', 'core/wire', 'core/util', 'core/errors.ts', 'server/snapshot'],
  registrator: ['client', 'core/wire', 'core/util', 'core/errors.ts'],
  confd: ['client', 'core/wire', 'core/util', 'core/errors.ts'],
  bench: ['core', 'client', 'server/http2', 'server/grpc', 'server/rpc'],
  test: ['core', 'server', 'client', 'ctl', 'registrator', 'confd', 'bench'],
};
const rooms = Object.keys(allowed).sort((a, b) => b.length - a.length);

const bannedInCore: readonly [RegExp, string][] = [
  [/\bDate\b/, 'Date: time comes in as ticks'],
  [/\bMath\.random\b/, 'Math.random: randomness comes in as a seeded Prng'],
  [/\b(?:setTimeout|setInterval|setImmediate|queueMicrotask)\b/, 'a timer'],
  [/\bprocess\./, 'process'],
  [/\bconsole\./, 'console'],
  [/\b(?:async|await)\b/, 'async: core calls back'],
  [/\bPromise\b/, 'Promise: core calls back'],
];

function sources(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return sources(path);
    return name.endsWith('.ts') ? [path] : [];
  });
}

function importsOf(text: string): string[] {
  return [...text.matchAll(/(?:\bfrom\s+|\bimport\s*\(\s*|^import\s+)'([^']+)'/gm)].map((match) => match[1]!);
}

function roomOf(path: string): string | undefined {
  return rooms.find((room) => path === room || path.startsWith(`${room}/`));
}

const files = ['core', 'server', 'client', 'ctl', 'registrator', 'confd', 'bench']
  .flatMap((folder) => sources(join(root, folder)))
  .map((path) => relative(root, path));

describe('layering', () => {
  it('finds the sources it is meant to check', () => {
    expect(files.length).toBeGreaterThan(20);
  });

  it('imports run one way', () => {
    const wrong: string[] = [];
    for (const file of files) {
      const room = roomOf(file);
      if (room === undefined) {
        wrong.push(`${file}: belongs to no room of the table`);
        continue;
      }
      for (const name of importsOf(readFileSync(join(root, file), 'utf8'))) {
        if (!name.startsWith('.')) continue;
        const target = relative(root, resolve(join(root, dirname(file)), name));
        const targetRoom = roomOf(target);
        const ok =
          targetRoom === room || allowed[room]!.some((other) => target === other || target.startsWith(`${other}/`));
        if (!ok) wrong.push(`${file} must not import ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('core knows no clock, no chance, no process, no package', () => {
    const wrong: string[] = [];
    for (const file of files.filter((path) => path.startsWith('core/'))) {
      const text = readFileSync(join(root, file), 'utf8');
      for (const name of importsOf(text)) {
        if (!name.startsWith('.')) wrong.push(`${file} imports ${name}`);
      }
      const code = text
        .replace(/\/\*[\s\S]*?\*\//g, '')
        .replace(/\/\/.*$/gm, '')
        .replace(/'(?:[^'\\\n]|\\.)*'/g, "''");
      for (const [pattern, what] of bannedInCore) if (pattern.test(code)) wrong.push(`${file} uses ${what}`);
      if (/\bBuffer\b/.test(code) && file !== 'core/util/bytes.ts')
        wrong.push(`${file} uses Buffer: only core/util/bytes.ts may`);
    }
    expect(wrong).toEqual([]);
  });
});
