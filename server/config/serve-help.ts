/** `roster serve --help`: all flags, in etcd's groups. Owns the order in which they are shown, nothing else. */
import { defaultText, type FlagTable } from './flag-table.ts';
import { ignoredFlags } from './ignored-flags.ts';
import { olderFlags } from './older-flags.ts';
import { serveFlags } from './serve-flags.ts';

/** The first pattern that fits a name decides; what fits none belongs to the member. */
const GROUPS: readonly (readonly [title: string, names: RegExp])[] = [
  ['Clustering', /^(?:initial-(?!election)|advertise-|discovery|strict-|pre-vote$|auto-compaction|max-learners$)/],
  ['Security', /cert|key-file|ca-file|crl|tls|^cipher|^cors$|^host-whitelist$|san-verification/],
  ['Auth', /^(?:auth-token|bcrypt-cost)/],
  ['Monitoring', /^(?:metrics|listen-metrics|enable-pprof)/],
  ['Logging', /^(?:log|warning-)/],
  ['Features', /corrupt|^watch-|^feature-gates$|^snapshot-catchup|^quota-(?:manual|compaction)/],
  ['Unsafe', /^force-new-cluster$/],
];
const MEMBER = 'Member';
const FILES = `Configuration:
  --config-file ''
        YAML file whose keys are the names of flags, as etcd's. It replaces all other flags and all variables
  --env-file ''
        file of ETCD_NAME="..." lines; variables that are set, and flags, win over it
`;

/** The whole text. */
export function serveHelp(): string {
  const members = groupsOf(serveFlags).map(([title, lines]) => `${title}:\n${lines.join('\n')}\n`);
  return [
    'usage: roster serve [flags]\n       roster config check [flags]\n',
    'Flags win over ETCD_<FLAG_NAME> in the environment, which wins over --env-file.\n',
    FILES,
    ...members,
    `Accepted, and of no effect:\n${inLines(Object.keys(ignoredFlags))}`,
    `Older names that are still accepted:\n${inLines(Object.keys(olderFlags))}`,
  ].join('\n');
}

function groupsOf(table: FlagTable): [string, string[]][] {
  const groups = new Map<string, string[]>([MEMBER, ...GROUPS.map(([title]) => title)].map((title) => [title, []]));
  for (const [name, flag] of Object.entries(table)) {
    const title = GROUPS.find(([, names]) => names.test(name))?.[0] ?? MEMBER;
    groups.get(title)!.push(`  --${name} ${defaultText(flag)}\n        ${flag.help}`);
  }
  return [...groups].filter(([, lines]) => lines.length > 0);
}

const LINE_LENGTH = 110;

function inLines(names: readonly string[]): string {
  const lines: string[] = [];
  let line = ' ';
  for (const name of names) {
    if (line.length + name.length + 3 > LINE_LENGTH) {
      lines.push(line);
      line = ' ';
    }
    line += ` --${name}`;
  }
  return `${[...lines, line].join('\n')}\n`;
}
