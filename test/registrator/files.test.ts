import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FILE_BYTES_MAX, FILES_MAX, FileSource } from '../../registrator/files.ts';
import type { Log } from '../../registrator/log.ts';
import type { Service } from '../../registrator/service.ts';
import { freePort } from '../support/ports.ts';
import { eventually, pause } from './wait.ts';

let folder: string;
let source: FileSource;
let ready: boolean;
/** Every report, in order: group file name -> the ports it published. */
let reports: { file: string; services: readonly Service[] }[];
let errors: { file?: string; reason?: string }[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'roster-files-'));
  ready = false;
  reports = [];
  errors = [];
});
afterEach(async () => {
  await source.close();
  await rm(folder, { recursive: true, force: true });
});

function start(at = folder): void {
  const keep = (fields: object): void => void errors.push(fields);
  const log: Log = { debug() {}, info() {}, warn: keep, error: keep };
  source = new FileSource({ folder: at, hostname: 'h1', ip: () => '10.0.0.7', tags: ['site'] }, log);
  source.start({
    set: (group, services) => void reports.push({ file: group.slice(group.lastIndexOf('/') + 1), services }),
    ready: () => {
      ready = true;
    },
  });
}

const service = (port: number, more = ''): string => `[[service]]\nname = "db"\nport = ${port}\n${more}`;
const now = (file: string): number[] | undefined =>
  reports.findLast((report) => report.file === file)?.services.map(({ port }) => port);
const see = (file: string, ...ports: number[]) =>
  eventually(`${file} publishes ${ports}`, () => JSON.stringify(now(file)) === JSON.stringify(ports));

describe('service files', () => {
  it('are read at the start, and ready follows', async () => {
    await writeFile(join(folder, 'a.toml'), service(1, 'attrs = { Zone = "a" }\ntags = ["x"]'));
    await writeFile(
      join(folder, 'b.json'),
      JSON.stringify({ service: [{ name: 'dns', ip: '::1', port: 53, protocol: 'udp' }] }),
    );
    await writeFile(join(folder, '.hidden.toml'), service(3));
    await writeFile(join(folder, 'notes.txt'), 'no service');
    start();
    await eventually('ready', () => ready);
    expect(reports.map((report) => report.services)).toEqual([
      [
        {
          id: 'h1:db:1',
          name: 'db',
          ip: '10.0.0.7',
          port: 1,
          tags: ['x', 'site'],
          attrs: { zone: 'a' },
          origin: `file:${join(folder, 'a.toml')}`,
        },
      ],
      [
        {
          id: 'h1:dns:53:udp',
          name: 'dns',
          ip: '::1',
          port: 53,
          tags: ['site', 'udp'],
          attrs: {},
          origin: `file:${join(folder, 'b.json')}`,
        },
      ],
    ]);
  });

  it('follow writes, atomic replacement and removal', async () => {
    start();
    await eventually('ready', () => ready);
    const path = join(folder, 'a.toml');
    await writeFile(path, service(1));
    await see('a.toml', 1);
    await writeFile(path, service(2));
    await see('a.toml', 2);
    await writeFile(join(folder, '.a.toml.tmp'), service(3));
    await rename(join(folder, '.a.toml.tmp'), path);
    await see('a.toml', 3);
    expect(reports.map(({ services }) => services.length)).toEqual([1, 1, 1]);
    await rm(path);
    await see('a.toml');
  });

  it('a file that is removed and written again at once never leaves the roster', async () => {
    const path = join(folder, 'a.toml');
    await writeFile(path, service(1));
    start();
    await see('a.toml', 1);
    await rm(path);
    await writeFile(path, service(2));
    await see('a.toml', 2);
    expect(reports.every(({ services }) => services.length === 1)).toBe(true);
  });

  it('a file written in steps is read once, whole', async () => {
    start();
    await eventually('ready', () => ready);
    const path = join(folder, 'a.json');
    const text = JSON.stringify({ service: [{ name: 'a', port: 1 }] });
    for (let end = 1; end <= text.length; end += 9) {
      await writeFile(path, text.slice(0, end));
      await pause(end === 1 ? 200 : 5); // The first is old enough to be read, and too young to be called bad.
    }
    await writeFile(path, text);
    await see('a.json', 1);
    expect(errors).toEqual([]);
  });

  it('a file written in this very millisecond is not taken for one from the future', async () => {
    const path = join(folder, 'a.json');
    await writeFile(path, '{"service": [{"na');
    const { mtimeMs } = await stat(path);
    const clock = vi.spyOn(Date, 'now').mockReturnValue(Math.floor(mtimeMs));
    try {
      start();
      await pause(300);
      expect(errors).toEqual([]);
    } finally {
      clock.mockRestore();
    }
    await eventually('an error, since nobody finishes it', () => errors.length > 0);
  });

  it('a bad file keeps the last good version, and says where the fault is', async () => {
    const path = join(folder, 'a.toml');
    await writeFile(path, service(1));
    start();
    await see('a.toml', 1);
    await writeFile(path, service(99_999));
    await eventually('an error', () => errors.length > 0);
    expect(errors[0]!.file).toBe(path);
    expect(errors[0]!.reason).toMatch(/^service\[0\]\.port: /);
    expect(now('a.toml')).toEqual([1]);
    await writeFile(path, service(2));
    await see('a.toml', 2);
  });

  it('refuses one id twice, and a file that is too large', async () => {
    await writeFile(join(folder, 'a.toml'), service(1) + service(1));
    await writeFile(join(folder, 'b.toml'), `${service(1)}#`.padEnd(FILE_BYTES_MAX, '.'));
    await writeFile(join(folder, 'c.toml'), `${service(1)}#`.padEnd(FILE_BYTES_MAX + 1, '.'));
    start();
    await eventually('ready', () => ready);
    expect(errors.map(({ reason }) => reason)).toEqual([
      'service[1].id: "h1:db:1" is used twice under "db"; give each its own id',
      `larger than ${FILE_BYTES_MAX} bytes`,
    ]);
    expect(now('b.toml')).toEqual([1]);
    expect(now('c.toml')).toBeUndefined();
  });

  it('reads no more files than named', async () => {
    const name = (i: number): string => `f${String(i).padStart(4, '0')}.toml`;
    for (let i = 0; i <= FILES_MAX; i++) await writeFile(join(folder, name(i)), service(i + 1));
    start();
    await eventually('ready', () => ready);
    expect(reports).toHaveLength(FILES_MAX);
    expect(now(name(FILES_MAX))).toBeUndefined();
    expect(errors.map(({ reason }) => reason)).toEqual([`more than ${FILES_MAX} files: the rest is not read`]);
  });

  it('a directory that does not exist yet is waited for', async () => {
    const later = join(folder, 'later');
    start(later);
    await eventually('a warning', () => errors.length > 0);
    expect(errors[0]!.reason).toMatch(/ENOENT/);
    expect(ready).toBe(false);
    await mkdir(later);
    await writeFile(join(later, 'a.toml'), service(1));
    await see('a.toml', 1);
    await eventually('ready', () => ready);
  });

  it('a checked service is published only while its check passes, and edits do not disturb the check', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const check = 'ip = "127.0.0.1"\ncheck = { tcp = true, interval = "100ms", fall = 1 }\n';
    const path = join(folder, 'a.toml');
    await writeFile(path, service(port, check));
    start();
    await eventually('ready', () => ready);
    expect(now('a.toml')).toEqual([port]);
    await writeFile(path, service(port, `${check}tags = ["new"]\n`));
    await eventually('new tag', () => reports.at(-1)!.services[0]?.tags.includes('new'));
    expect(reports.filter(({ services }) => services.length === 0)).toHaveLength(1); // before the first probe
    server.close();
    await see('a.toml');
    expect(errors.map(({ reason }) => reason)).toEqual([expect.stringMatching(/ECONNREFUSED/)]);
  });

  it('says why a service is not registered at all', async () => {
    const port = await freePort();
    await writeFile(join(folder, 'a.toml'), service(port, 'ip = "127.0.0.1"\ncheck = { tcp = true }\n'));
    start();
    await eventually('ready', () => ready);
    expect(now('a.toml')).toEqual([]);
    expect(errors.map(({ reason }) => reason)).toEqual([expect.stringMatching(/ECONNREFUSED/)]);
  });
});
