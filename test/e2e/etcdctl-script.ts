/**
 * A session of `etcdctl` (API 3) commands, run against any etcd and written down as a transcript. `$NAME` stands for a
 * value an earlier command printed; everything that may differ between two servers (ids, terms, sizes, versions, times,
 * addresses) is masked.
 */
import { spawn } from 'node:child_process';

export interface Step {
  /** Arguments of etcdctl. */
  args: string[];
  stdin?: string;
  /** Remember the first match of the pattern's group in the output under this name. */
  capture?: { name: string; pattern: RegExp };
  /** For commands that do not end: interrupt them once the output contains this. */
  until?: string;
  /** Commands to run once the output of such a command contains `after`: its share of the history is printed then. */
  during?: Step[];
  after?: string;
}

/** One command line. */
export const w = (line: string, more: Omit<Step, 'args'> = {}): Step => ({ args: words(line), ...more });

/** Splits at spaces; single quotes keep words together. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2]!);
}

const grant = (name: string, ttl: number) =>
  w(`lease grant ${ttl}`, { capture: { name, pattern: /lease ([0-9a-f]{16})/ } });

export const script: Step[] = [
  // put
  w('put /app/host localhost'),
  w('put /app/port 8080'),
  w('put /app/port 8081 --prev-kv'),
  w('put /app/empty', { stdin: '' }),
  w('put /app/stdin', { stdin: 'from standard input' }),
  w('put --ignore-value /app/port'),
  w('put --ignore-value /app/missing'),
  w('put --ignore-lease /app/missing x'),
  w('put --lease=0123 /app/port x'),
  w("put '' x"),
  w("put /bin/\u00e9\u4e2d 'text beyond ascii'"),
  w('put /app/port 8082 -w json'),
  w('put /app/port 8083 --prev-kv -w json'),
  w('put /app/port 8084 --prev-kv -w fields'),
  // get
  w('get /app/port'),
  w('get /app/port -w json'),
  w('get /app/port -w fields'),
  w('get /app/missing'),
  w('get /app/missing -w json'),
  w('get /app/ --prefix'),
  w('get /app/ --prefix --keys-only'),
  w('get /app/ --prefix --keys-only -w json'),
  w('get /app/ --prefix --limit=2'),
  w('get /app/ --prefix --limit=2 -w json'),
  w('get /app/ --prefix --order=DESCEND'),
  w('get /app/ --prefix --sort-by=MODIFY'),
  w('get /app/ --prefix --sort-by=MODIFY --order=DESCEND'),
  w('get /app/ --prefix --sort-by=CREATE --order=ASCEND --limit=3'),
  w('get /app/ --prefix --sort-by=VERSION --order=DESCEND --limit=1'),
  w('get /app/ --prefix --sort-by=VALUE --order=ASCEND'),
  w('get /app/ --prefix --sort-by=KEY --order=DESCEND --print-value-only'),
  w('get /app/host /app/port'),
  w('get /app/host /app/stdin'),
  w('get --from-key /app/port'),
  w('get /app/port --rev=3'),
  w('get /app/port --rev=4 -w fields'),
  w('get /app/port --rev=10000'),
  w('get /app/port --consistency=s'),
  w("get '' --prefix --keys-only"),
  w("get '' --from-key --hex"),
  w('get /app/port --print-value-only --hex'),
  w("get ''"),
  w('get /app/ --prefix --order=WRONG'),
  // del
  w('put /del/1 a'),
  w('put /del/2 b'),
  w('put /del/3 c'),
  w('put /del/4 d'),
  w('del /del/none'),
  w('del /del/1'),
  w('del /del/2 --prev-kv'),
  w('del /del/ --prefix --prev-kv -w json'),
  w('del /del/ --prefix -w fields'),
  w('put zzz/1 1'),
  w('put zzz/2 2'),
  w('del --from-key zzz/1'),
  w("del ''"),
  // txn
  w('txn', {
    stdin: 'value("/app/host") = "localhost"\n\nput /txn/a 1\nget /txn/a\ndel /app/empty\n\nget /app/port\n\n',
  }),
  w('txn', { stdin: 'value("/app/host") = "elsewhere"\n\nput /txn/a 2\n\nget /txn/a\nget /app/ /app/q\n\n' }),
  w('txn', {
    stdin: 'version("/txn/a") > "0"\nmod("/txn/a") < "1000"\ncreate("/txn/none") = "0"\n\nput /txn/b x\n\n\n',
  }),
  w('txn -w json', { stdin: 'version("/txn/a") = "1"\n\nput /txn/c y\ndel /txn/b --prev-kv\n\nput /txn/d z\n\n' }),
  w('txn -w fields', { stdin: 'mod("/txn/a") > "0"\n\nget /txn/a\nput /txn/a 3\n\n\n' }),
  w('txn', { stdin: '\n\nput /txn/same 1\nput /txn/same 2\n\n\n' }),
  w('txn', { stdin: '\n\nput /txn/same 1\ndel /txn/ /txn0\n\n\n' }),
  w('txn', { stdin: '\n\nput /txn/l x --lease=123\n\n\n' }),
  w('txn', { stdin: '\n\n\n\n' }),
  // watch: history, live, filters of the command line, exec
  w('watch --rev=2 /app/port', {
    after: '8084',
    until: 'sentinel-1',
    during: [w('put /app/port sentinel-1')],
  }),
  w('watch --rev=2 --prefix /app/ --prev-kv', {
    after: 'sentinel-1',
    until: 'sentinel-2',
    during: [w('put /app/zend sentinel-2')],
  }),
  w('watch --rev=2 /app/a /app/p -w json', {
    after: 'bG9jYWxob3N0',
    until: 'c2VudGluZWwtMw==',
    during: [w('put /app/o sentinel-3')],
  }),
  w('watch --rev=5 --prefix / -w fields', {
    after: 'sentinel-3',
    until: 'sentinel-4',
    during: [w('put /zend sentinel-4')],
  }),
  w("watch --rev=2 /app/port -- sh -c 'echo $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE'", {
    after: '"PUT" "/app/port" "sentinel-1"',
    until: '"PUT" "/app/port" "sentinel-5"',
    during: [w('put /app/port sentinel-5')],
  }),
  w('watch --interactive', {
    stdin: 'watch --rev=2 /app/host\nwatch --rev=2 /i/z\n',
    after: 'localhost',
    until: 'sentinel-6',
    during: [w('put /i/z sentinel-6')],
  }),
  // lease
  grant('L1', 600),
  w('put --lease=$L1 /leased/a 1'),
  w('put --lease=$L1 /leased/b 2'),
  w('get /leased/a -w json'),
  w('get /leased/a -w fields'),
  w('put --ignore-lease /leased/a 3'),
  w('get /leased/a -w fields'),
  w('lease list'),
  w('lease list -w json'),
  w('put /leased/b unleased'),
  w('lease timetolive $L1 --keys'),
  w('lease timetolive $L1 -w json'),
  w('lease timetolive $L1 -w fields'),
  w('lease keep-alive --once $L1'),
  w('lease keep-alive --once $L1 -w json'),
  w('lease revoke $L1'),
  w('lease revoke $L1'),
  w('lease timetolive $L1'),
  w('lease timetolive $L1 -w json'),
  w('lease keep-alive --once $L1'),
  w('get /leased/ --prefix -w fields'),
  w('lease grant 0 -w fields'),
  w('lease grant 10000000000'),
  w('lease grant 60 -w json'),
  // recipes that etcdctl builds from the above
  w("lock /locks/one -- echo 'held'"),
  w('elect /elections/one candidate', { until: 'candidate' }),
  // compaction
  w('compaction 10'),
  w('compaction 10'),
  w('compaction 100000'),
  w('get /app/port --rev=9'),
  w('get /app/port --rev=10 -w fields'),
  w('watch --rev=3 /app/port'),
  w('compaction --physical 30'),
  w('compaction 31 -w json'),
  // cluster
  w('endpoint health'),
  w('endpoint health -w json'),
  w('endpoint status'),
  w('endpoint status -w json'),
  w('endpoint status -w table'),
  w('endpoint status -w fields'),
  w('member list'),
  w('member list -w json'),
  w('member list -w table'),
  w('member list -w fields'),
  w('alarm list'),
];

export interface Output {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs one command line on a store: a program, or rosterctl inside the test. */
export type Run = (endpoint: string, args: string[], step: Step, whenStarted: () => Promise<void>) => Promise<Output>;

/** Time for one command; a server that does not answer fails the test by its empty output. */
const COMMAND_TIMEOUT_MS = 10_000;

/** Runs the script; one text block a command. */
export async function runScript(
  etcdctl: string | Run,
  endpoint: string,
  steps: readonly Step[] = script,
): Promise<string[]> {
  const values = new Map<string, string>();
  const transcript: string[] = [];
  const run = typeof etcdctl === 'string' ? runnerOf(etcdctl) : etcdctl;
  for (const step of steps) await runStep(run, endpoint, step, values, transcript);
  return transcript;
}

async function runStep(
  run: Run,
  endpoint: string,
  step: Step,
  values: Map<string, string>,
  transcript: string[],
): Promise<void> {
  const args = step.args.map((arg) => arg.replace(/\$(L\d)/g, (_, name: string) => values.get(name) ?? ''));
  const output = await run(endpoint, args, step, async () => {
    for (const inner of step.during ?? []) await runStep(run, endpoint, inner, values, transcript);
  });
  const found = step.capture?.pattern.exec(output.stdout)?.[1];
  if (step.capture !== undefined && found !== undefined) values.set(step.capture.name, found);
  // An interrupted command's exit code depends on where the signal met it.
  const code = step.until === undefined ? `exit ${output.code}` : 'interrupted';
  transcript.push(mask(`$ etcdctl ${step.args.join(' ')}\n${output.stdout}${output.stderr}${code}`, endpoint, values));
}

const runnerOf =
  (etcdctl: string): Run =>
  (endpoint, args, step, whenStarted) =>
    runProgram(etcdctl, endpoint, args, step, whenStarted);

function runProgram(
  etcdctl: string,
  endpoint: string,
  args: string[],
  step: Step,
  whenStarted: () => Promise<void>,
): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = spawn(etcdctl, args, {
      env: { ...process.env, ETCDCTL_API: '3', ETCDCTL_ENDPOINTS: endpoint },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const output: Output = { code: null, stdout: '', stderr: '' };
    const timer = setTimeout(() => child.kill('SIGKILL'), COMMAND_TIMEOUT_MS);
    let started = false;
    let inner: Promise<void> | undefined;
    const look = () => {
      const text = output.stdout + output.stderr;
      if (!started && (step.after === undefined || text.includes(step.after))) {
        started = true;
        inner = whenStarted();
        inner.catch(reject);
      }
      if (step.until !== undefined && text.includes(step.until)) child.kill('SIGINT');
    };
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output.stdout += chunk;
      look();
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      output.stderr += chunk;
      look();
    });
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      // The commands run meanwhile come first in the transcript.
      void Promise.resolve(inner).then(() => resolve({ ...output, code }));
    });
    // `watch -i` ends with its input; other commands read to its end.
    child.stdin.on('error', () => {});
    if (step.stdin !== undefined) child.stdin.write(step.stdin);
    if (!step.args.includes('--interactive')) child.stdin.end();
    look();
  });
}

const masks: readonly [RegExp, string][] = [
  // ids, terms and indexes
  [
    /("(?:cluster_id|member_id|raft_term|ID|raftIndex|raftTerm|raftAppliedIndex|leader|dbSize|dbSizeInUse)":)\d+/g,
    '$1#',
  ],
  [
    /("(?:ClusterID|MemberID|Revision|RaftTerm|ID|Leader|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse)" : )(?!\d{1,4}$)\d+/gm,
    '$1#',
  ],
  [/("(?:RaftTerm|RaftIndex|RaftAppliedIndex|DBSize|DBSizeInUse)" : )\d+/g, '$1#'],
  [/("Version" : )"[^"]*"/g, '$1"#"'],
  [/("version":)"[^"]*"/g, '$1"#"'],
  [/("[lL]ease" : |"lease":|"id":)(?!0\b)-?\d+/g, '$1#'],
  [/\b[0-9a-f]{11,16}\b/g, '<id>'],
  // What is left of 600 seconds depends on how fast the commands run.
  [/(remaining\(|"ttl":|"TTL" : )5[89]\d(?!\d)/g, '$1#'],
  [/took = [^\s"]+/g, 'took = #'],
  [/"took":"[^"]+"/g, '"took":"#"'],
  [/http:\/\/(?:127\.0\.0\.1|localhost):\d+/g, '<url>'],
  // Go's client logs carry a time and a source line.
  [/\{"level":"warn","ts":"[^"]*","caller":"[^"]*"/g, '{"level":"warn"'],
  [/"target":"[^"]*"/g, '"target":"#"'],
  // the status table: version, size, term, index
  [/(<endpoint>(?: \||,) <id>(?: \||,)\s+)[\d.]+((?: \||,)\s+)[\d.]+ [kM]?B/g, '$1#$2#'],
  [/((?:true|false)(?: \||,)\s+(?:true|false)(?: \||,)\s+)\d+((?: \||,)\s+)\d+((?: \||,)\s+)\d+/g, '$1#$2#$3#'],
];

function mask(text: string, endpoint: string, values: ReadonlyMap<string, string>): string {
  let masked = text.replaceAll(endpoint, '<endpoint>');
  for (const [name, value] of values) masked = masked.replaceAll(value, `<${name}>`);
  for (const [pattern, replacement] of masks) masked = masked.replace(pattern, replacement);
  // Columns are as wide as what was masked.
  return masked.replace(/[-+]{3,}/g, '---').replace(/ {2,}/g, ' ');
}
