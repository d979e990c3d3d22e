import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Client } from '../../client/client.ts';
import { runConfd } from '../../confd/cli.ts';
import { CHANGED_KEYS_MAX, type FailureEvent, type ReloadEvent, type RenderEvent } from '../../confd/events.ts';
import { silentLogger } from '../../confd/logger.ts';
import { Renderer, type RendererOptions } from '../../confd/renderer.ts';
import { type RunningRoster, startRoster } from '../support/roster.ts';
import { type StallingClient, stalling } from './stalling-client.ts';

describe('the renderer, on a real store', () => {
  let store: RunningRoster;
  let client: Client;
  let network: StallingClient;
  let folder: string;
  let stops: { stop: AbortController; done: Promise<unknown> }[] = [];
  const renders: RenderEvent[] = [];
  const reloads: ReloadEvent[] = [];
  const failures: FailureEvent[] = [];
  const hooks = {
    onRender: (event: RenderEvent) => void renders.push(event),
    onReload: (event: ReloadEvent) => void reloads.push(event),
    onFailure: (event: FailureEvent) => void failures.push(event),
  };

  beforeAll(async () => {
    store = await startRoster();
    client = new Client({ endpoints: [store.endpoint] });
  });
  afterAll(async () => {
    client?.close();
    await store?.stop();
  });
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'roster-renderer-'));
    for (const name of ['conf.d', 'templates', 'out']) await mkdir(join(folder, name));
    network = stalling(client);
    renders.length = 0;
    reloads.length = 0;
    failures.length = 0;
  });
  afterEach(async () => {
    network.release();
    for (const { stop } of stops) stop.abort();
    await Promise.all(stops.map(({ done }) => done));
    stops = [];
    await client.delete('/', { prefix: true });
    await rm(folder, { recursive: true, force: true });
  });

  const out = (name: string) => join(folder, 'out', name);
  const read = (name: string) => (existsSync(out(name)) ? readFileSync(out(name), 'utf8') : undefined);
  const lines = (name: string) => (read(name) ?? '').split('\n').filter((line) => line !== '').length;

  async function resource(name: string, template: string, more = '', keys = '"/app"'): Promise<void> {
    await writeFile(join(folder, 'templates', `${name}.tmpl`), template);
    const body = `[template]\nsrc = "${name}.tmpl"\ndest = "${out(name)}"\nkeys = [${keys}]\n${more}`;
    await writeFile(join(folder, 'conf.d', `${name}.toml`), body);
  }

  function start(options: Partial<RendererOptions> = {}, intervalMs = 600_000, mode: 'watch' | 'poll' = 'watch') {
    const renderer = new Renderer(network, {
      confDir: folder,
      log: silentLogger,
      hooks,
      ...options,
      timing: { retryMinMs: 30, retryMaxMs: 100, ...options.timing },
    });
    const stop = new AbortController();
    const done = renderer.run({ mode, intervalMs }, stop.signal);
    stops.push({ stop, done });
    return { renderer, stop, done };
  }

  function confd(...argv: string[]): { code: Promise<number>; stop: AbortController; printed: string[] } {
    const stop = new AbortController();
    const printed: string[] = [];
    const code = runConfd(['--confdir', folder, ...argv], stop.signal, {
      environment: {},
      client: network,
      log: silentLogger,
      hooks,
      print: (text) => printed.push(text),
      complain: (text) => printed.push(text),
    });
    return { code, stop, printed };
  }

  it('follows the keys, and tells what it did', async () => {
    await client.put('/app/a', '1');
    await resource('x', '{{#gets "/app/*"}}{{key}}={{value}}\n{{/gets}}', `reload_cmd = "echo r >> ${out('log')}"`);
    const { renderer } = start();
    await expect.poll(() => read('x')).toBe('/app/a=1\n');
    const { header } = await client.put('/app/b', '2');
    await expect.poll(() => read('x')).toBe('/app/a=1\n/app/b=2\n');
    await client.delete('/app/a');
    await expect.poll(() => read('x')).toBe('/app/b=2\n');
    await expect.poll(() => reloads.length).toBe(3);
    expect(lines('log')).toBe(3);
    expect(renders.map((event) => event.keys)).toEqual([[], ['/app/b'], ['/app/a']]);
    expect(renders[1]).toMatchObject({
      dest: out('x'),
      revision: header!.revision,
      noop: false,
      resource: join(folder, 'conf.d/x.toml'),
    });
    await expect.poll(() => renderer.status().map((unit) => unit.state)).toEqual(['in sync']);
    expect((await readdir(join(folder, 'out'))).sort()).toEqual(['log', 'x']);
  });

  it('does nothing at all for writes that change nothing it reads', async () => {
    await client.put('/app/a', '1');
    await resource('x', '{{getv "/app/a"}}');
    await resource('y', '{{join (ls "/app") ","}}');
    start();
    await expect.poll(() => renders.length).toBe(2);
    expect(read('y')).toBe('a');
    const before = renders.length;
    await client.put('/app/a', '1');
    await client.put('/app/deep/er', '1');
    await client.put('/appendix/a', '1');
    await expect.poll(() => renders.length).toBeGreaterThan(before);
    expect(read('y')).toBe('a,deep');
    expect(renders.slice(before).map((event) => event.dest)).toEqual([out('y')]);
  });

  it('names the keys that led to a render, up to a limit', async () => {
    await resource('x', '{{len (gets "/app/*")}}');
    start();
    await expect.poll(() => read('x')).toBe('0');
    const total = CHANGED_KEYS_MAX + 1;
    const puts = Array.from({ length: total }, (_, i) => ({
      request_put: {
        key: `/app/${i}`,
        value: Buffer.from('1'),
        lease: 0n,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
      },
    }));
    await client.txn({ compare: [], success: puts, failure: [] });
    await expect.poll(() => read('x')).toBe(String(total));
    await expect.poll(() => renders[1]?.keys.length).toBe(CHANGED_KEYS_MAX);
  });

  it('converges when the store fails to answer just after an event (C1)', async () => {
    await client.put('/app/a', '1');
    await client.put('/other/b', '1');
    await resource('x', '{{getv "/app/a"}}{{getv "/other/b"}}', '', '"/app", "/other"');
    start();
    await expect.poll(() => read('x')).toBe('11');
    network.failRanges(1);
    await client.put('/app/a', '2');
    await expect.poll(() => read('x')).toBe('21');
    expect(failures.map((event) => event.stage)).toEqual(['render']);
  });

  it('repeats a failed reload until it works, without another write (C2)', async () => {
    await client.put('/app/a', '1');
    await resource(
      'x',
      '{{getv "/app/a"}}',
      `reload_cmd = "echo r >> ${out('log')}; test $(wc -l < ${out('log')}) -ge 3"`,
    );
    const { renderer } = start();
    await expect.poll(() => reloads.map((event) => event.ok)).toEqual([false, false, true]);
    expect(read('x')).toBe('1');
    expect(lines('log')).toBe(3);
    await expect.poll(() => renderer.status()[0]).toMatchObject({ state: 'in sync', error: undefined });
    expect(existsSync(out('.x.roster-pending'))).toBe(false);
    expect(renders).toHaveLength(1);
  });

  it('goes back to the old content when the reload of the new one never worked', async () => {
    await client.put('/app/a', '1');
    await resource('x', '{{getv "/app/a"}}', `reload_cmd = "grep -q 1 ${out('x')}"`);
    const { renderer } = start();
    await expect.poll(() => renderer.status()[0]?.state).toBe('in sync');
    await client.put('/app/a', '2');
    await expect.poll(() => reloads.filter((event) => !event.ok).length).toBeGreaterThan(0);
    expect(read('x')).toBe('2');
    await client.put('/app/a', '1');
    await expect.poll(() => read('x')).toBe('1');
    await expect.poll(() => renderer.status()[0]?.state).toBe('in sync');
    expect(reloads.at(-1)?.ok).toBe(true);
  });

  it('keeps the old file while the check fails, and converges when the value is right again (C3)', async () => {
    await client.put('/app/a', 'good');
    await resource('x', '{{getv "/app/a"}}', `check_cmd = "grep -q good {{.src}} && test {{dest}} = ${out('x')}"`);
    const { renderer } = start();
    await expect.poll(() => read('x')).toBe('good');
    await client.put('/app/a', 'bad');
    await expect.poll(() => failures.length).toBeGreaterThan(1);
    expect(read('x')).toBe('good');
    expect(failures[0]).toMatchObject({ stage: 'check', dest: out('x') });
    expect(renderer.status()[0]).toMatchObject({ state: 'failed', error: { stage: 'check' } });
    await client.put('/app/a', 'good again');
    await expect.poll(() => read('x')).toBe('good again');
    await expect.poll(() => renderer.status()[0]).toMatchObject({ state: 'in sync' });
    expect(await readdir(join(folder, 'out'))).toEqual(['x']);
  });

  it('repeats a failed check: the same file may pass later', async () => {
    await client.put('/app/a', '1');
    await resource('x', '{{getv "/app/a"}}', `check_cmd = "test -e ${out('permit')}"`);
    start();
    await expect.poll(() => failures.length).toBeGreaterThan(0);
    await writeFile(out('permit'), '');
    await expect.poll(() => read('x')).toBe('1');
  });

  it('kills a reload that hangs while other resources go on (C4)', async () => {
    await client.put('/app/a', '1');
    await resource('stuck', '{{getv "/app/a"}}', 'reload_cmd = "sleep 300"\nreload_cmd_timeout = "400ms"');
    await resource('free', '{{getv "/app/a"}}', `reload_cmd = "echo r >> ${out('log')}"`);
    await resource('checked', '{{getv "/app/a"}}', 'check_cmd = "sleep 300"');
    start();
    await expect.poll(() => read('stuck')).toBe('1');
    await client.put('/app/a', '2');
    await expect.poll(() => read('free')).toBe('2');
    await expect
      .poll(() => reloads.filter((event) => event.command === 'sleep 300').map((event) => event.outcome))
      .toContain('timed out after 0.4 s');
    await expect.poll(() => lines('log')).toBe(2);
    expect(read('checked')).toBeUndefined();
  });

  it('does not let a slow check hold up the reload of the rest of its group', async () => {
    await client.put('/app/a', '1');
    const reload = `reload_cmd = "echo r >> ${out('log')}"`;
    await resource('fast', '{{getv "/app/a"}}', reload);
    await resource(
      'slow',
      '{{getv "/app/a"}}',
      `${reload}\ncheck_cmd = "while ! test -e ${out('permit')}; do sleep 0.02; done"`,
    );
    start({ timing: { patienceMs: 50 } });
    await expect.poll(() => lines('log')).toBe(1);
    expect(read('slow')).toBeUndefined();
    await client.put('/app/a', '2');
    await expect.poll(() => read('fast')).toBe('2');
    await expect.poll(() => lines('log')).toBe(2);
    await writeFile(out('permit'), '');
    await expect.poll(() => read('slow')).toBe('2');
    await expect.poll(() => reloads.at(-1)?.dests).toContain(out('slow'));
  });

  it('gathers a burst into few reloads and ends with the last value (C5)', async () => {
    await client.put('/app/n', '0');
    await resource('x', '{{getv "/app/n"}}', `reload_cmd = "echo r >> ${out('log')}"`);
    start({ timing: { waitMinMs: 200, waitMaxMs: 1_000 } });
    await expect.poll(() => read('x')).toBe('0');
    const began = Date.now();
    for (let n = 1; n <= 1_000; n++) await client.put('/app/n', `${n}`);
    const seconds = (Date.now() - began) / 1_000;
    await expect.poll(() => read('x'), { timeout: 10_000 }).toBe('1000');
    await expect.poll(() => reloads.length).toBe(renders.length);
    expect(reloads.length).toBeLessThanOrEqual(Math.ceil(seconds) + 2);
  });

  it('repairs a target that was edited or deleted (C7)', async () => {
    await client.put('/app/a', '1');
    await resource('x', '{{getv "/app/a"}}', `mode = "0640"\nreload_cmd = "echo r >> ${out('log')}"`);
    start({}, 50);
    await expect.poll(() => lines('log')).toBe(1);
    await writeFile(out('x'), 'edited');
    await expect.poll(() => read('x')).toBe('1');
    await rm(out('x'));
    await expect.poll(() => read('x')).toBe('1');
    await expect.poll(() => lines('log')).toBe(3);
    await chmod(out('x'), 0o600);
    await expect.poll(() => lines('log')).toBe(4);
  });

  it('reloads once for several files with one command, all at one revision (C9)', async () => {
    await client.put('/app/a', '1');
    for (const name of ['x', 'y', 'z'])
      await resource(name, '{{getv "/app/a"}}', `reload_cmd = "echo r >> ${out('log')}"`);
    start();
    await expect.poll(() => lines('log')).toBe(1);
    await client.put('/app/a', '2');
    await expect.poll(() => lines('log')).toBe(2);
    expect(['x', 'y', 'z'].map(read)).toEqual(['2', '2', '2']);
    await expect.poll(() => reloads.length).toBe(2);
    expect(new Set(renders.slice(3).map((event) => event.revision)).size).toBe(1);
    expect(reloads[1]?.dests.length).toBe(3);
  });

  it('makes good a reload that a crash or a stop has left owing (C11)', async () => {
    await client.put('/app/a', '1');
    const failing = `reload_cmd = "test -e ${out('permit')} && echo r >> ${out('log')}"`;
    await resource('x', '{{getv "/app/a"}}', failing);
    const first = start();
    await expect.poll(() => reloads.length).toBeGreaterThan(0);
    first.stop.abort();
    await first.done;
    // What a kill between rename and reload leaves behind: the new file, and the marker.
    expect((await readdir(join(folder, 'out'))).sort()).toEqual(['.x.roster-pending', 'x']);
    await writeFile(out('permit'), '');
    start();
    await expect.poll(() => lines('log')).toBe(1);
    await expect.poll(() => existsSync(out('.x.roster-pending'))).toBe(false);
    expect(renders).toHaveLength(1);
  });

  it('waits for a key that is missing, and names it', async () => {
    await resource('x', '{{getv "/app/later"}}');
    const { renderer } = start();
    await expect.poll(() => failures.length).toBeGreaterThan(0);
    expect(renderer.status()[0]?.error?.message).toContain('getv: key does not exist: /app/later');
    expect(read('x')).toBeUndefined();
    await client.put('/app/later', 'now');
    await expect.poll(() => read('x')).toBe('now');
  });

  it('renders again when a template changes', async () => {
    await client.put('/app/a', '1');
    await resource('x', 'one {{getv "/app/a"}}');
    start();
    await expect.poll(() => read('x')).toBe('one 1');
    await writeFile(join(folder, 'templates/x.tmpl'), '{{#broken');
    await expect.poll(() => failures.at(-1)?.message, { timeout: 5_000 }).toContain('Parse error');
    expect(read('x')).toBe('one 1');
    await writeFile(join(folder, 'templates/x.tmpl'), 'two {{getv "/app/a"}}');
    await expect.poll(() => read('x'), { timeout: 5_000 }).toBe('two 1');
  });

  it('takes on, changes and drops resources while it runs; a bad file stops nothing', async () => {
    await client.put('/app/a', '1');
    await client.put('/new/b', '2');
    await resource('x', '{{getv "/app/a"}}');
    const { renderer } = start();
    await expect.poll(() => read('x')).toBe('1');
    await resource('y', '{{getv "/new/b"}}', '', '"/new"');
    await expect.poll(() => read('y'), { timeout: 5_000 }).toBe('2');
    await writeFile(join(folder, 'conf.d/x.toml'), '[template]\nsrc = 5');
    await expect
      .poll(() => renderer.definitionErrors.map(({ message }) => message), { timeout: 5_000 })
      .toEqual([expect.stringContaining('conf.d/x.toml: template.src')]);
    await client.put('/app/a', 'still');
    await expect.poll(() => read('x')).toBe('still');
    await resource('x', '{{getv "/app/a"}}', `reload_cmd = "touch ${out('reloaded')}"`);
    await expect.poll(() => renderer.definitionErrors.length, { timeout: 5_000 }).toBe(0);
    await client.put('/app/a', 'redefined');
    await expect.poll(() => existsSync(out('reloaded'))).toBe(true);
    await rm(join(folder, 'conf.d/y.toml'));
    await expect.poll(() => renderer.status().length, { timeout: 5_000 }).toBe(1);
    expect(read('y')).toBe('2');
  });

  it('polls when it does not watch', async () => {
    await client.put('/app/a', '1');
    await resource('x', '{{getv "/app/a"}}');
    start({}, 50, 'poll');
    await expect.poll(() => read('x')).toBe('1');
    await client.put('/app/a', '2');
    await expect.poll(() => read('x')).toBe('2');
  });

  it('lets a reload finish before it stops', async () => {
    await client.put('/app/a', '1');
    await resource('x', '{{getv "/app/a"}}', `reload_cmd = "touch ${out('begun')}; sleep 0.3; touch ${out('ended')}"`);
    const { stop, done } = start();
    await expect.poll(() => existsSync(out('begun'))).toBe(true);
    stop.abort();
    await done;
    expect(existsSync(out('ended'))).toBe(true);
    expect(existsSync(out('.x.roster-pending'))).toBe(false);
  });

  it('renders once and says with its exit code whether all is well', async () => {
    await client.put('/app/a', '1');
    await resource('x', '{{getv "/app/a"}}', `reload_cmd = "echo r >> ${out('log')}"`);
    expect(await confd('-onetime').code).toBe(0);
    expect(read('x')).toBe('1');
    expect(await confd('-onetime').code).toBe(0);
    expect(lines('log')).toBe(1);
    await resource('y', '{{getv "/app/none"}}');
    await client.put('/app/a', '2');
    expect(await confd('-onetime').code).toBe(1);
    expect(read('x')).toBe('2');
    await rm(join(folder, 'conf.d/y.toml'));
    await writeFile(join(folder, 'conf.d/bad.toml'), 'x');
    await client.put('/app/a', '3');
    expect(await confd('--onetime').code).toBe(1);
    expect(read('x')).toBe('3');
    await rm(join(folder, 'conf.d/bad.toml'));
    await resource('x', '{{getv "/app/a"}}', 'reload_cmd = "exit 1"');
    await client.put('/app/a', '4');
    expect(await confd('--onetime').code).toBe(1);
    network.failRanges(1);
    expect(await confd('--onetime').code).toBe(1);
    await rm(join(folder, 'conf.d'), { recursive: true });
    expect(await confd('--onetime').code).toBe(1);
    expect(await confd('--nonsense').code).toBe(2);
  });

  it('only prints what would change with --noop', async () => {
    await client.put('/app/a', 'new');
    await writeFile(out('x'), 'old\n');
    await resource(
      'x',
      '{{getv "/app/a"}}\n',
      `check_cmd = "touch ${out('checked')}"\nreload_cmd = "touch ${out('reloaded')}"`,
    );
    const { code, printed } = confd('--onetime', '--noop');
    expect(await code).toBe(0);
    expect(printed.join('')).toBe(`--- ${out('x')}\n+++ ${out('x')}\n@@ -1 +1 @@\n-old\n+new\n`);
    expect(await readdir(join(folder, 'out'))).toEqual(['x']);
    expect(read('x')).toBe('old\n');
    expect(renders[0]?.noop).toBe(true);
  });

  it('runs no command with --sync-only and keeps staged files on request', async () => {
    await client.put('/app/a', '1');
    await resource('x', '{{getv "/app/a"}}', `check_cmd = "exit 1"\nreload_cmd = "touch ${out('reloaded')}"`);
    expect(await confd('--onetime', '--keep-stage-file').code).toBe(1);
    const kept = await readdir(join(folder, 'out'));
    expect(kept).toEqual([expect.stringMatching(/^\.x\.[0-9a-f]{16}$/)]);
    expect(await readFile(out(kept[0]!), 'utf8')).toBe('1');
    expect(await confd('--onetime', '--sync-only').code).toBe(0);
    expect(read('x')).toBe('1');
    expect(existsSync(out('reloaded'))).toBe(false);
  });

  it('makes its own client from --node, and says when the address or a certificate is no good', async () => {
    await client.put('/app/a', '1');
    await resource('x', '{{getv "/app/a"}}');
    const complaints: string[] = [];
    const run = (...argv: string[]) =>
      runConfd(['--onetime', '--confdir', folder, ...argv], new AbortController().signal, {
        environment: {},
        log: silentLogger,
        complain: (text) => complaints.push(text),
      });
    expect(await run('--node', `http://${store.endpoint}`)).toBe(0);
    expect(read('x')).toBe('1');
    expect(await run('--node', 'ftp://x')).toBe(2);
    expect(await run('--client-ca-keys', '/no/such.pem')).toBe(2);
    expect(complaints.map((text) => text.split('\n')[0])).toEqual([
      expect.stringMatching(/^roster confd: --node: /),
      expect.stringMatching(/^roster confd: --client-ca-keys: ENOENT/),
    ]);
  });

  it('follows as a command until it is stopped', async () => {
    await client.put('/prod/app/a', '1');
    await resource('x', '{{getv "/app/a"}}', 'prefix = "/ignored"');
    const { code, stop } = confd('--watch', '--prefix', '/prod', '--wait', '5ms');
    await expect.poll(() => read('x')).toBe('1');
    await client.put('/prod/app/a', '2');
    await expect.poll(() => read('x')).toBe('2');
    stop.abort();
    expect(await code).toBe(0);
  });
});
