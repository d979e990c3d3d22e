/** The files of `roster dev`: a temporary folder with a service definition, a template and the file that follows. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DemoService } from './demo-services.ts';

export interface Workspace {
  readonly folder: string;
  readonly dataDir: string;
  readonly servicesDir: string;
  readonly confDir: string;
  readonly definition: string;
  readonly template: string;
  /** The rendered file. */
  readonly upstreams: string;
  remove(): Promise<void>;
}

const template = `# Made by Roster from /services/web: do not edit.
upstream web {
{{#gets "/services/web/*"}}
  server {{value}}; # {{base key}}
{{else}}
  server 127.0.0.1:1 down; # nothing on the roster
{{/gets}}
}
`;

function resource(upstreams: string): string {
  return `[template]
src = "upstreams.conf.hbs"
dest = ${JSON.stringify(upstreams)}
keys = ["/services/web"]
# With a real nginx, put its test and its reload here:
# check_cmd = "nginx -t -c /etc/nginx/nginx.conf"
# reload_cmd = "nginx -s reload"
`;
}

export async function createWorkspace(): Promise<Workspace> {
  const folder = await mkdtemp(join(tmpdir(), 'roster-dev-'));
  const confDir = join(folder, 'confd');
  const servicesDir = join(folder, 'services.d');
  const upstreams = join(folder, 'upstreams.conf');
  await mkdir(join(confDir, 'conf.d'), { recursive: true });
  await mkdir(join(confDir, 'templates'));
  await mkdir(servicesDir);
  await writeFile(join(confDir, 'templates', 'upstreams.conf.hbs'), template);
  await writeFile(join(confDir, 'conf.d', 'upstreams.toml'), resource(upstreams));
  return {
    folder,
    dataDir: join(folder, 'store'),
    servicesDir,
    confDir,
    definition: join(servicesDir, 'demo.toml'),
    template: join(confDir, 'templates', 'upstreams.conf.hbs'),
    upstreams,
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** The demo's service definition file: what `roster registrator --files` reads. */
export async function writeDefinition(workspace: Workspace, services: readonly DemoService[]): Promise<void> {
  const entries = services.map(
    ({ name, port }) => `[[service]]
name = "web"
id = "${name}"
ip = "127.0.0.1"
port = ${port}
check = { http = "/", interval = "200ms", timeout = "1s", fall = 1 }
`,
  );
  await writeFile(workspace.definition, entries.join('\n'));
}
