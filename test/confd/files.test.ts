import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fillCommand, OUTPUT_BYTES_MAX, runCommand } from '../../confd/command.ts';
import { loadResources, TemplateCache } from '../../confd/conf-folder.ts';
import { DIFF_CELLS_MAX, unifiedDiff } from '../../confd/diff.ts';
import { parseDurationMs, parseWait } from '../../confd/duration.ts';
import { readSettings, SettingsError, usage } from '../../confd/settings.ts';
import { Slots } from '../../confd/slots.ts';
import {
  clearPending,
  inspectTarget,
  markPending,
  removeStaleStages,
  STALE_STAGE_MS,
  stageFile,
  swapTarget,
} from '../../confd/target.ts';
import { parseResource, ResourceError } from '../../confd/template-resource.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'roster-confd-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const settings = { templateDir: '/etc/confd/templates', prefix: '', prefixMode: 'replace' } as const;
const minimal = 'src = "a.tmpl"\ndest = "/tmp/a"\n';
const parsed = (body: string, more: object = {}) =>
  parseResource('/x/a.toml', `[template]\n${minimal}${body}`, { ...settings, ...more });

describe('template resources', () => {
  it('have confd defaults', () => {
    expect(parsed('')).toEqual({
      file: '/x/a.toml',
      src: '/etc/confd/templates/a.tmpl',
      dest: '/tmp/a',
      prefix: '',
      scopes: [],
      mode: undefined,
      uid: undefined,
      gid: undefined,
      checkCommand: undefined,
      reloadCommand: undefined,
      checkTimeoutMs: 30_000,
      reloadTimeoutMs: 60_000,
    });
  });

  it('read every field', () => {
    const resource = parsed(
      'prefix = "/app/"\nkeys = ["/db/", "web", "/db"]\nmode = "0640"\nowner = "root"\ngroup = "0"\n' +
        'check_cmd = "test -s {{.src}}"\nreload_cmd = ["/bin/true", "{{dest}}"]\ncheck_cmd_timeout = "1m30s"\nreload_cmd_timeout = 5',
    );
    expect(resource).toMatchObject({
      prefix: '/app',
      scopes: ['/app/db', '/app/web'],
      mode: 0o640,
      uid: 0,
      gid: 0,
      checkCommand: 'test -s {{.src}}',
      reloadCommand: ['/bin/true', '{{dest}}'],
      checkTimeoutMs: 90_000,
      reloadTimeoutMs: 5_000,
    });
    expect(parsed('mode = 0o600').mode).toBe(0o600);
    expect(parseResource('f', '[Template]\nSrc = "a"\nDest = "/b"\nKeys = ["/k"]', settings).scopes).toEqual(['/k']);
  });

  it('obey the prefix mode', () => {
    const body = 'prefix = "/app"\nkeys = ["/db"]';
    expect(parsed(body, { prefix: '/prod' }).scopes).toEqual(['/prod/db']);
    expect(parsed(body, { prefix: '/prod', prefixMode: 'join' }).scopes).toEqual(['/prod/app/db']);
    expect(parsed(`${body}\nprefix_mode = "join"`, { prefix: '/prod' }).prefix).toBe('/prod/app');
  });

  it.each([
    ['mode = "888"', /\/x\/a\.toml: template\.mode: /],
    ['mode = "0644x"', /template\.mode/],
    ['uid = -1', /template\.uid/],
    ['owner = "no-such-user"', /template\.owner: there is no user "no-such-user"/],
    ['group = "no-such-group"', /template\.group/],
    ['owner = "root"\nuid = 0', /template\.owner: uid is given too/],
    ['keys = "/a"', /template\.keys/],
    ['check_cmd = ""', /template\.check_cmd/],
    ['check_cmd = []', /template\.check_cmd/],
    ['check_cmd_timeout = "soon"', /template\.check_cmd_timeout: must be a duration/],
    ['reload_cmd_timeout = 0', /template\.reload_cmd_timeout/],
    ['reload_cmd = "x {{.src}}"', /template\.reload_cmd: \{\{src\}\} is only for check_cmd/],
    ['reload_command = "x"', /reload_command/],
    ['prefix_mode = "both"', /template\.prefix_mode/],
    ['keys = [', /\/x\/a\.toml: line \d+: /],
  ])('refuse %j, naming file and field', (body, message) => {
    expect(() => parsed(body)).toThrow(ResourceError);
    expect(() => parsed(body)).toThrow(message);
  });

  it('need src and dest', () => {
    expect(() => parseResource('f', '[template]\ndest = "/a"', settings)).toThrow(/f: template\.src/);
    expect(() => parseResource('f', '[template]\nsrc = "a"', settings)).toThrow(/f: template\.dest/);
    expect(() => parseResource('f', '', settings)).toThrow(/f: template/);
  });

  it('are loaded from any depth, one bad file beside the others', async () => {
    await mkdir(join(folder, 'conf.d/deep/er'), { recursive: true });
    const write = (name: string, text: string) => writeFile(join(folder, 'conf.d', name), text);
    await write('a.toml', `[template]\n${minimal}`);
    await write('bad.toml', 'nonsense');
    await write('deep/er/b.toml', '[template]\nsrc = "b"\ndest = "/tmp/b"');
    await write('same.toml', `[template]\n${minimal}`);
    await write('readme.md', 'not a resource');
    const loaded = await loadResources({ confDir: folder, prefix: '', prefixMode: 'replace' });
    expect(loaded.resources.map((resource) => resource.dest)).toEqual(['/tmp/a', '/tmp/b']);
    expect(loaded.errors.map((error) => error.message)).toEqual([
      expect.stringContaining(`${folder}/conf.d/bad.toml: `),
      `${folder}/conf.d/same.toml: template.dest: /tmp/a is written by ${folder}/conf.d/a.toml already`,
    ]);
  });

  it('compile a template once per text', async () => {
    const cache = new TemplateCache();
    const path = join(folder, 't');
    await writeFile(path, 'one');
    const first = await cache.load(path);
    expect(await cache.load(path)).toBe(first);
    await writeFile(path, 'one');
    cache.touch(path);
    expect(await cache.load(path)).toBe(first);
    await writeFile(path, 'two!');
    expect(await cache.load(path)).not.toBe(first);
    cache.retain(new Set());
    await rm(path);
    await expect(cache.load(path)).rejects.toThrow('ENOENT');
  });
});

describe('the target', () => {
  const resourceAt = (dest: string, more = '') =>
    parseResource('f', `[template]\nsrc = "a"\ndest = "${dest}"\n${more}`, settings);

  it('is staged beside itself and swapped, keeping mode', async () => {
    const dest = join(folder, 'out');
    await writeFile(dest, 'old', { mode: 0o640 });
    const content = Buffer.from('new');
    const current = await inspectTarget(resourceAt(dest), content);
    expect(current).toMatchObject({ inSync: false, content: Buffer.from('old'), mode: 0o640, reloadPending: false });
    const staged = await stageFile(resourceAt(dest), current, content);
    expect(staged).toMatch(/\/\.out\.[0-9a-f]{16}$/);
    expect(await readFile(dest, 'utf8')).toBe('old');
    await swapTarget(staged, dest, content);
    expect(await readFile(dest, 'utf8')).toBe('new');
    expect((await lstat(dest)).mode & 0o7777).toBe(0o640);
    expect(await readdir(folder)).toEqual(['out']);
    expect((await inspectTarget(resourceAt(dest), content)).inSync).toBe(true);
    expect((await inspectTarget(resourceAt(dest, 'mode = "0600"'), content)).inSync).toBe(false);
  });

  it('gets mode and 0644 by default when it is new', async () => {
    const dest = join(folder, 'out');
    const content = Buffer.from('x');
    for (const [more, mode] of [
      ['', 0o644],
      ['mode = "0400"', 0o400],
    ] as const) {
      const resource = resourceAt(dest, more);
      await swapTarget(await stageFile(resource, await inspectTarget(resource, content), content), dest, content);
      expect((await lstat(dest)).mode & 0o7777).toBe(mode);
    }
  });

  it('is never staged through a link that lies in wait', async () => {
    const dest = join(folder, 'out');
    const victim = join(folder, 'victim');
    await writeFile(victim, 'precious');
    await symlink(victim, join(folder, '.out.0123456789abcdef'));
    const content = Buffer.from('x');
    const current = await inspectTarget(resourceAt(dest), content);
    await expect(stageFile(resourceAt(dest), current, content, () => '0123456789abcdef')).rejects.toThrow('EEXIST');
    expect(await readFile(victim, 'utf8')).toBe('precious');
    expect((await lstat(join(folder, '.out.0123456789abcdef'))).isSymbolicLink()).toBe(true);
  });

  it('replaces a link instead of following it, and refuses what is no file', async () => {
    const dest = join(folder, 'out');
    const victim = join(folder, 'victim');
    await writeFile(victim, 'x');
    await symlink(victim, dest);
    const content = Buffer.from('x');
    const current = await inspectTarget(resourceAt(dest), content);
    expect(current.inSync).toBe(false);
    await swapTarget(await stageFile(resourceAt(dest), current, content), dest, content);
    expect((await lstat(dest)).isFile()).toBe(true);
    await expect(inspectTarget(resourceAt(folder), content)).rejects.toThrow('is not a regular file');
    await expect(inspectTarget(resourceAt('/dev/null'), content)).rejects.toThrow('is not a regular file');
  });

  it('is written over in place when it cannot be renamed onto, and read back', async () => {
    const dest = join(folder, 'out');
    await writeFile(dest, 'a much longer old text');
    const content = Buffer.from('new');
    const current = await inspectTarget(resourceAt(dest), content);
    const staged = await stageFile(resourceAt(dest), current, content);
    const { ino } = await lstat(dest);
    await swapTarget(staged, dest, content, () => Promise.reject(Object.assign(new Error('busy'), { code: 'EBUSY' })));
    expect(await readFile(dest, 'utf8')).toBe('new');
    expect((await lstat(dest)).ino).toBe(ino);
    expect(await readdir(folder)).toEqual(['out']);
  });

  it('is never seen in part', async () => {
    const dest = join(folder, 'out');
    const texts = ['a', 'b'].map((letter) => Buffer.alloc(300_000, letter));
    await writeFile(dest, texts[0]!);
    let reading = true;
    let reads = 0;
    const reader = (async () => {
      while (reading) {
        const seen = await readFile(dest);
        expect(texts.some((text) => text.equals(seen))).toBe(true);
        reads++;
      }
    })();
    for (let i = 0; i < 60; i++) {
      const content = texts[i % 2]!;
      const resource = resourceAt(dest);
      await swapTarget(await stageFile(resource, await inspectTarget(resource, content), content), dest, content);
    }
    reading = false;
    await reader;
    expect(reads).toBeGreaterThan(0);
  });

  it('carries a marker while a reload is owed', async () => {
    const dest = join(folder, 'out');
    await markPending(dest);
    await markPending(dest);
    expect((await inspectTarget(resourceAt(dest), Buffer.from(''))).reloadPending).toBe(true);
    expect(await readdir(folder)).toEqual(['.out.roster-pending']);
    await clearPending(dest);
    await clearPending(dest);
    expect((await inspectTarget(resourceAt(dest), Buffer.from(''))).reloadPending).toBe(false);
  });

  it('loses old stage files of killed processes, and only those', async () => {
    const dest = join(folder, 'out');
    const old = new Date(Date.now() - STALE_STAGE_MS - 60_000);
    for (const name of ['.out.0123456789abcdef', '.out.fedcba9876543210', '.out.notes', 'other']) {
      await writeFile(join(folder, name), '');
      if (name !== '.out.fedcba9876543210') await utimes(join(folder, name), old, old);
    }
    await removeStaleStages(dest, Date.now());
    expect((await readdir(folder)).sort()).toEqual(['.out.fedcba9876543210', '.out.notes', 'other']);
  });
});

describe('commands', () => {
  it('run through a shell or without one', async () => {
    expect(await runCommand('echo "a  b"; echo c >&2', 5_000)).toMatchObject({ ok: true, outcome: 'exit status 0' });
    expect((await runCommand(['/bin/echo', '$HOME; x'], 5_000)).output).toBe('$HOME; x\n');
    expect(await runCommand('exit 3', 5_000)).toMatchObject({ ok: false, outcome: 'exit status 3' });
    expect(await runCommand('kill -SEGV $$', 5_000)).toMatchObject({ ok: false, outcome: 'killed by SIGSEGV' });
    expect(await runCommand(['/no/such/program'], 5_000)).toMatchObject({
      ok: false,
      outcome: expect.stringContaining('cannot start'),
    });
  });

  it('keep output up to the limit', async () => {
    const { output } = await runCommand(`head -c ${OUTPUT_BYTES_MAX + 1} /dev/zero | tr '\\0' x`, 5_000);
    expect(output.length).toBe(OUTPUT_BYTES_MAX);
  });

  it('are killed with everything they started when their time is up', async () => {
    const file = join(folder, 'pid');
    const result = await runCommand(
      `trap '' TERM; (trap '' TERM; sleep 300) & echo $! > ${file}; wait; sleep 300`,
      200,
    );
    expect(result).toMatchObject({ ok: false, outcome: 'timed out after 0.2 s' });
    const pid = (await readFile(file, 'utf8')).trim();
    // Killed, so gone, or a zombie until its new parent has collected it.
    await expect
      .poll(() => !existsSync(`/proc/${pid}`) || / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8')))
      .toBe(true);
  });

  it('stop on a signal, and do not begin after it', async () => {
    const stop = new AbortController();
    const running = runCommand('sleep 300', 60_000, stop.signal);
    stop.abort();
    expect(await running).toMatchObject({ ok: false, outcome: 'stopped' });
    expect(await runCommand('true', 1_000, stop.signal)).toMatchObject({ ok: false });
  });

  it('do not wait for a daemon that keeps their output open', async () => {
    const result = await runCommand('sleep 300 & echo $!', 60_000);
    expect(result.ok).toBe(true);
    process.kill(Number(result.output));
  });

  it('get the names of the files, and nothing else is touched', () => {
    const files = { src: '/d/.out.1', dest: '/d/out' };
    expect(fillCommand('check {{src}} {{.src}} {{ .dest }} {{.Names}}', files)).toBe(
      'check /d/.out.1 /d/.out.1 /d/out {{.Names}}',
    );
    expect(fillCommand(['x', '{{ src }}'], files)).toEqual(['x', '/d/.out.1']);
    expect(fillCommand('{{src}}', { dest: '/d/$&' })).toBe('{{src}}');
    expect(fillCommand('{{dest}}', { dest: '/d/$&' })).toBe('/d/$&');
  });
});

describe('the diff', () => {
  it('is what diff -u prints', async () => {
    const lines = (...all: (string | number)[]) => all.map((line) => `${line}\n`).join('');
    const pairs: [string, string][] = [
      [
        lines(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20),
        lines(1, 2, 'x', 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 'y', 'z', 20),
      ],
      ['', lines('a')],
      [lines('a', 'b'), ''],
      ['no end', 'no end\n'],
      [lines('a', 'b', 'c'), lines('c', 'a', 'b')],
    ];
    for (const [before, after] of pairs) {
      await writeFile(join(folder, 'a'), before);
      await writeFile(join(folder, 'b'), after);
      let expected = '';
      try {
        execFileSync('diff', ['-u', '--label', 'A', '--label', 'B', join(folder, 'a'), join(folder, 'b')], {
          encoding: 'utf8',
        });
      } catch (error) {
        expected = (error as { stdout: string }).stdout;
      }
      expect(unifiedDiff(before, after, 'A', 'B')).toBe(expected);
    }
  });

  it('gives up finding the smallest change beyond its limit', () => {
    const side = Math.ceil(Math.sqrt(DIFF_CELLS_MAX)) + 1;
    const text = (letter: string) =>
      Array.from({ length: side }, (_, i) => `${i === 5 ? 'same' : letter + i}\n`).join('');
    expect(unifiedDiff(text('a'), text('b'), 'A', 'B')).toContain('-same');
    expect(unifiedDiff('a\nsame\n', 'b\nsame\n', 'A', 'B')).not.toContain('-same');
  });
});

describe('settings', () => {
  const read = (argv: string[], environment: NodeJS.ProcessEnv = {}) =>
    readSettings(['--confdir', folder, ...argv], environment);

  it('come from flag, environment, file and default, in that order', async () => {
    await writeFile(
      join(folder, 'confd.toml'),
      'interval = 5\nprefix = "/file"\nnodes = ["http://f:1"]\nwatch = true\nkeepstagefile = true\nlog-level = "debug"\nsrv_domain = "x"\n',
    );
    expect(await read([])).toMatchObject({
      intervalMs: 5_000,
      prefix: '/file',
      endpoints: ['http://f:1'],
      watch: true,
      keepStageFile: true,
      logLevel: 'debug',
      onetime: false,
    });
    expect((await read([]))!.warnings).toEqual([`${folder}/confd.toml: srv_domain has no effect here`]);
    const environment = { CONFD_PREFIX: '/env', CONFD_NODE: 'e:1,e:2', CONFD_WATCH: 'false', CONFD_INTERVAL: '' };
    expect(await read([], environment)).toMatchObject({
      prefix: '/env',
      endpoints: ['e:1', 'e:2'],
      watch: false,
      intervalMs: 5_000,
    });
    expect(await read(['-prefix=/flag', '-node', 'a:1', '--node', 'b:2', '-watch'], environment)).toMatchObject({
      prefix: '/flag',
      endpoints: ['a:1', 'b:2'],
      watch: true,
    });
    expect((await read(['--endpoints', 'a:1,b:2'], environment))!.endpoints).toEqual(['a:1', 'b:2']);
  });

  it('have defaults', async () => {
    expect(await read([])).toMatchObject({
      onetime: false,
      watch: false,
      noop: false,
      syncOnly: false,
      intervalMs: 600_000,
      wait: { minMs: 20, maxMs: 200 },
      prefix: '',
      prefixMode: 'replace',
      endpoints: ['127.0.0.1:2379'],
      logLevel: 'info',
      warnings: [],
    });
    expect((await read(['--watch']))!.intervalMs).toBe(60_000);
  });

  it('take both spellings of flags', async () => {
    expect(
      await read([
        '-onetime',
        '-noop=true',
        '--sync-only',
        '--keep-stage-file=false',
        '-backend',
        'etcdv3',
        '-wait',
        '50ms',
      ]),
    ).toMatchObject({
      onetime: true,
      noop: true,
      syncOnly: true,
      keepStageFile: false,
      wait: { minMs: 50, maxMs: 200 },
    });
  });

  it.each([
    [['--nosuch'], 'unknown flag --nosuch'],
    [['extra'], 'unexpected argument "extra"'],
    [['--interval'], '--interval needs a value: SECONDS'],
    [['--interval', '0'], '--interval: "0" is not a number of seconds above 0'],
    [['--wait', '5s:1s'], '--wait: "5s:1s" is not a wait'],
    [['--watch=perhaps'], '--watch: "perhaps" is neither true nor false'],
    [['--backend', 'consul'], '--backend: "consul" is not a backend this program has'],
    [['--log-level', 'loud'], '--log-level: "loud" is not one of'],
    [['--prefix-mode', 'x'], '--prefix-mode: "x" is not replace or join'],
    [['--config-file', '/no/such.toml'], '/no/such.toml: ENOENT'],
  ])('refuse %j', async (argv, message) => {
    await expect(read(argv)).rejects.toThrow(SettingsError);
    await expect(read(argv)).rejects.toThrow(message);
  });

  it('refuse unknown and mistyped fields of the file', async () => {
    await writeFile(join(folder, 'confd.toml'), 'intervall = 5');
    await expect(read([])).rejects.toThrow('confd.toml: intervall: there is no such setting');
    await writeFile(join(folder, 'confd.toml'), 'watch = "yes"');
    await expect(read([])).rejects.toThrow('confd.toml: watch: true or false was expected');
  });

  it('explain themselves', async () => {
    expect(await read(['--help'])).toBeUndefined();
    expect(usage()).toContain('--onetime');
  });
});

describe('small parts', () => {
  it('read durations', () => {
    expect(['300ms', '1m30s', '5', 5, '1.5s', '2h'].map(parseDurationMs)).toEqual([
      300, 90_000, 5_000, 5_000, 1_500, 7_200_000,
    ]);
    expect(['', 's', '-1s', '1 s', 'x', -1].map(parseDurationMs)).toEqual(Array(6).fill(undefined));
    expect(parseWait('200ms:1s')).toEqual({ minMs: 200, maxMs: 1_000 });
    expect(parseWait('1s:2s:3s')).toBeUndefined();
  });

  it('run no more tasks than there are slots', async () => {
    const slots = new Slots(2);
    let running = 0;
    let most = 0;
    const task = async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      if (most === -1) throw new Error();
    };
    await Promise.all(Array.from({ length: 7 }, () => slots.run(task)));
    expect(most).toBe(2);
    await expect(slots.run(() => Promise.reject(new Error('x')))).rejects.toThrow('x');
    await slots.run(task);
  });
});
