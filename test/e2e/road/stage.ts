/** The stage of the road test: real processes, each with a folder and ports of its own, all stopped at the end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../support/ports.ts';

/** A child whose end can be waited for, and what it wrote to standard error. */
export class Actor {
  readonly child: ChildProcess;
  readonly gone: Promise<number | null>;
  errors = '';

  constructor(file: string, args: readonly string[], env: Record<string, string> = {}) {
    this.child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text;
    });
    this.gone = new Promise((resolve) => {
      this.child.once('exit', resolve);
      this.child.once('error', () => resolve(null));
    });
  }

  /** Resolves when the child writes to standard output: our little services do so when they listen. */
  get listening(): Promise<void> {
    return new Promise((resolve) => this.child.stdout!.once('data', () => resolve()));
  }

  /** Resolves when `text` has appeared on standard error. */
  async says(text: string): Promise<void> {
    while (!this.errors.includes(text)) {
      if (this.child.exitCode !== null) throw new Error(`ended without saying "${text}":\n${this.errors}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.child.kill(signal);
    await this.gone;
  }
}

/** Source of a web server that answers with `name` and leaves at once on SIGTERM. */
export function serviceSource(name: string, port: number | 'env'): string {
  const where = port === 'env' ? 'Number(process.env.PORT)' : String(port);
  return `require('http').createServer((q, s) => s.end('${name}')).listen(${where}, '127.0.0.1', () => console.log('up'))`;
}

export interface NginxStage {
  readonly folder: string;
  readonly port: number;
  readonly confDir: string;
  readonly upstreams: string;
  nginx: Actor;
}

/** nginx in front of upstream `web`, whose file the renderer writes; begins with no server in it. */
export async function startNginx(binary: string): Promise<NginxStage> {
  const folder = await mkdtemp(join(tmpdir(), 'roster-road-'));
  const port = await freePort();
  const upstreams = join(folder, 'upstreams.conf');
  const main = join(folder, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/${name};`)
    .join(' ');
  await writeFile(upstreams, 'upstream web { server 127.0.0.1:1 down; }\n');
  await writeFile(
    main,
    `daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
events { worker_connections 512; }
http {
  access_log off; ${temporary}
  include ${upstreams};
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://web; proxy_connect_timeout 1s; } }
}
`,
  );
  const confDir = join(folder, 'confd');
  await mkdir(join(confDir, 'conf.d'), { recursive: true });
  await mkdir(join(confDir, 'templates'));
  await writeFile(
    join(confDir, 'templates', 'upstreams.hbs'),
    `upstream web {
{{#gets "/services/web/*"}}  server {{value}};
{{else}}  server 127.0.0.1:1 down;
{{/gets}}
}
`,
  );
  const nginx = `${binary} -p ${folder} -e ${folder}/error.log`;
  await writeFile(
    join(confDir, 'conf.d', 'upstreams.toml'),
    `[template]
src = "upstreams.hbs"
dest = "${upstreams}"
keys = ["/services/web"]
check_cmd = "sed 's#include .*;#include {{src}};#' ${main} > ${folder}/check.conf && ${nginx} -c ${folder}/check.conf -q -t"
reload_cmd = "${nginx} -c ${main} -s reload"
`,
  );
  const actor = new Actor(binary, ['-p', folder, '-e', `${folder}/error.log`, '-c', main]);
  return { folder, port, confDir, upstreams, nginx: actor };
}

export async function stopNginx(stage: NginxStage): Promise<void> {
  await stage.nginx.end('SIGTERM');
  await rm(stage.folder, { recursive: true, force: true });
}

/** Pid of the one child process of `pid`: the command that a wrapper runs. */
export function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);
}
