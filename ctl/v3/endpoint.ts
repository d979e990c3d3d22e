/** endpoint status, health and hashkv: every endpoint is asked, one that fails does not hide the others. */
import type { Command } from 'commander';
import { methods } from '../../client/methods.ts';
import { RosterError } from '../../core/errors.ts';
import { AlarmType, HashKVResponse, StatusResponse } from '../../core/wire/messages.ts';
import { CommandError, type Context } from '../context.ts';
import { goDuration } from '../go-text.ts';
import { fieldLine, headerLines, quotedLine } from '../output/fields.ts';
import { goJson, goString } from '../output/go-json.ts';
import { printListing } from '../output/print.ts';
import { humanBytes, shortHexId } from '../output/text.ts';
import { integer } from './numbers.ts';

export function addEndpointCommands(program: Command, context: Context): void {
  const endpoint = program.command('endpoint').description('Endpoint related commands');
  const cluster = ['--cluster', 'use all endpoints from the cluster member list'] as const;
  endpoint
    .command('health')
    .description('Checks the healthiness of endpoints specified in `--endpoints` flag')
    .option(...cluster)
    .action((flags: { cluster?: boolean }) => health(context, flags.cluster === true));
  endpoint
    .command('status')
    .description('Prints out the status of endpoints specified in `--endpoints` flag')
    .option(...cluster)
    .addHelpText('after', '\nExample:\n  $ rosterctl endpoint status --cluster -w table')
    .action((flags: { cluster?: boolean }) => status(context, flags.cluster === true));
  endpoint
    .command('hashkv')
    .description('Prints the KV history hash for each endpoint in --endpoints')
    .option(...cluster)
    .option('--rev <n>', 'maximum revision to hash (default: latest revision)', integer('rev'), 0)
    .action((flags: { cluster?: boolean; rev: number }) => hashKv(context, flags.cluster === true, flags.rev));
}

/** The endpoints of --endpoints, or, with --cluster, those that the members advertise. */
export async function endpointsOf(context: Context, cluster: boolean): Promise<string[]> {
  if (!cluster) return context.globals.endpoints;
  try {
    const { members } = await context.client.memberList(context.call);
    return [...new Set(members.flatMap((member) => member.clientURLs))];
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    const failure = new CommandError(`failed to fetch endpoints from etcd cluster member list: ${error.message}`);
    failure.cause = error;
    throw failure;
  }
}

interface Answered<T> {
  endpoint: string;
  answer: T;
}

/** What each endpoint answers, in their order; those that do not are told of, and `failed` is why. */
async function askAll<T>(
  context: Context,
  cluster: boolean,
  what: string,
  ask: (endpoint: string) => Promise<T>,
): Promise<{ answers: Answered<T>[]; failed: Error | undefined }> {
  const endpoints = await endpointsOf(context, cluster);
  const settled = await Promise.allSettled(endpoints.map(ask));
  const answers: Answered<T>[] = [];
  let failed: Error | undefined;
  for (const [i, outcome] of settled.entries()) {
    const endpoint = endpoints[i]!;
    if (outcome.status === 'fulfilled') answers.push({ endpoint, answer: outcome.value });
    else {
      failed = outcome.reason as Error;
      context.warn(`Failed to get the ${what} of endpoint ${endpoint} (${failed.message})`);
    }
  }
  return { answers, failed };
}

async function status(context: Context, cluster: boolean): Promise<void> {
  const { answers, failed } = await askAll(context, cluster, 'status', (endpoint) =>
    context.client.status(endpoint, context.call),
  );
  printListing(context, {
    head: STATUS_HEAD,
    rows: answers.map(statusRow),
    fields: () => answers.flatMap(statusLines),
    json: () => listJson(answers, ({ answer }) => `"Status":${goJson(StatusResponse, answer)}`),
  });
  if (failed !== undefined) throw new CommandError('');
}

function listJson<T>(answers: readonly Answered<T>[], member: (item: Answered<T>) => string): string {
  return `[${answers.map((item) => `{"Endpoint":${goString(item.endpoint)},${member(item)}}`).join(',')}]`;
}

const STATUS_HEAD = [
  'endpoint',
  'ID',
  'version',
  'storage version',
  'db size',
  'in use',
  'percentage not in use',
  'quota',
  'is leader',
  'is learner',
  'raft term',
  'raft index',
  'raft applied index',
  'errors',
  'downgrade target version',
  'downgrade enabled',
];

function statusRow({ endpoint, answer: status }: Answered<StatusResponse>): string[] {
  const unused = status.dbSize === 0 ? 0 : 100 - Math.floor((status.dbSizeInUse * 100) / status.dbSize);
  return [
    endpoint,
    shortHexId(status.header?.member_id ?? 0n),
    status.version,
    status.storageVersion,
    humanBytes(status.dbSize),
    humanBytes(status.dbSizeInUse),
    `${unused}%`,
    humanBytes(status.dbSizeQuota),
    String(status.leader === status.header?.member_id),
    String(status.isLearner),
    String(status.raftTerm),
    String(status.raftIndex),
    String(status.raftAppliedIndex),
    status.errors.join(', '),
    status.downgradeInfo?.targetVersion ?? '',
    String(status.downgradeInfo?.enabled ?? false),
  ];
}

function statusLines({ endpoint, answer: status }: Answered<StatusResponse>): string[] {
  return [
    ...headerLines(status.header),
    quotedLine('Version', status.version),
    quotedLine('StorageVersion', status.storageVersion),
    fieldLine('DBSize', status.dbSize),
    fieldLine('DBSizeInUse', status.dbSizeInUse),
    fieldLine('DBSizeQuota', status.dbSizeQuota),
    fieldLine('Leader', status.leader),
    fieldLine('IsLearner', status.isLearner),
    fieldLine('RaftIndex', status.raftIndex),
    fieldLine('RaftTerm', status.raftTerm),
    fieldLine('RaftAppliedIndex', status.raftAppliedIndex),
    fieldLine('Errors', `[${status.errors.join(' ')}]`),
    quotedLine('Endpoint', endpoint),
    quotedLine('DowngradeTargetVersion', status.downgradeInfo?.targetVersion ?? ''),
    fieldLine('DowngradeEnabled', status.downgradeInfo?.enabled ?? false),
    '',
  ];
}

async function hashKv(context: Context, cluster: boolean, revision: number): Promise<void> {
  const { answers, failed } = await askAll(context, cluster, 'hash', (endpoint) =>
    context.client.call(methods.hashKv, { revision }, { endpoint, ...context.call }),
  );
  printListing(context, {
    head: ['endpoint', 'hash', 'hash_revision'],
    rows: answers.map(({ endpoint, answer }) => [endpoint, String(answer.hash), String(answer.hash_revision)]),
    fields: () =>
      answers.flatMap(({ endpoint, answer }) => [
        ...headerLines(answer.header),
        quotedLine('Endpoint', endpoint),
        fieldLine('Hash', answer.hash),
        fieldLine('HashRevision', answer.hash_revision),
        '',
      ]),
    json: () => listJson(answers, ({ answer }) => `"HashKV":${goJson(HashKVResponse, answer)}`),
  });
  if (failed !== undefined) throw failed;
}

interface Health {
  endpoint: string;
  took: string;
  problem: string | undefined;
}

async function health(context: Context, cluster: boolean): Promise<void> {
  const endpoints = await endpointsOf(context, cluster);
  const found = await Promise.all(
    endpoints.map(async (endpoint): Promise<Health> => {
      const started = performance.now();
      const problem = await problemOf(context, endpoint);
      return { endpoint, problem, took: goDuration(performance.now() - started) };
    }),
  );
  printListing(context, {
    head: ['endpoint', 'health', 'took', 'error'],
    rows: found.map(({ endpoint, took, problem }) => [endpoint, String(problem === undefined), took, problem ?? '']),
    fields: () => found.flatMap(healthLines),
    json: () => `[${found.map(healthJson).join(',')}]`,
    simple: () => {
      for (const one of found) tellHealth(context, one);
    },
  });
  if (found.some(({ problem }) => problem !== undefined)) throw new CommandError('unhealthy cluster');
}

function tellHealth(context: Context, { endpoint, took, problem }: Health): void {
  if (problem === undefined) {
    context.print(`${endpoint} is healthy: successfully committed proposal: took = ${took}`);
  } else context.warn(`${endpoint} is unhealthy: failed to commit proposal: ${problem}`);
}

function healthLines({ endpoint, took, problem }: Health): string[] {
  return [
    quotedLine('Endpoint', endpoint),
    fieldLine('Health', problem === undefined),
    fieldLine('Took', took),
    fieldLine('Error', problem ?? ''),
    '',
  ];
}

function healthJson({ endpoint, took, problem }: Health): string {
  const error = problem === undefined ? '' : `,"error":${goString(problem)}`;
  return `{"endpoint":${goString(endpoint)},"health":${problem === undefined},"took":"${took}"${error}}`;
}

/** What is wrong with an endpoint: it cannot answer a linearizable read, or an alarm is raised. */
async function problemOf(context: Context, endpoint: string): Promise<string | undefined> {
  const options = { endpoint, ...context.call };
  try {
    await context.client.get('health', options);
  } catch (error) {
    // Being denied the key proves as much as reading it: the request went through consensus.
    if (!(error instanceof RosterError) || error.code !== 'PermissionDenied') return (error as Error).message;
  }
  try {
    const raised = (await context.client.alarms(options)).map(({ alarm }) => alarmName(alarm));
    return raised.length === 0 ? undefined : `Active Alarm(s): ${raised.join(' ')} `;
  } catch {
    return 'Unable to fetch the alarm list';
  }
}

/** NOSPACE, CORRUPT, or the number of an alarm that is not known here. */
export function alarmName(alarm: number): string {
  return ALARMS.get(alarm) ?? String(alarm);
}

const ALARMS: ReadonlyMap<number, string> = new Map(
  Object.entries(AlarmType.values).map(([name, number]) => [number, name]),
);
