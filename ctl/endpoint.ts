/** endpoint status and health: every endpoint is asked, one that fails does not hide the others. */
import type { Command } from 'commander';
import { type AlarmMember, RosterError, type StatusResponse } from '../client/index.ts';
import { AlarmType } from '../core/wire/messages.ts';
import { CommandError, type Context } from './context.ts';
import { goDuration, humanBytes, shortHexId } from './format.ts';

export function addEndpointCommands(program: Command, context: Context): void {
  const endpoint = program.command('endpoint').description('Endpoint related commands');
  endpoint
    .command('status')
    .description('Prints out the status of endpoints specified in `--endpoints` flag')
    .option('--cluster', 'use all endpoints from the cluster member list')
    .action((flags: { cluster?: boolean }) => status(context, flags.cluster === true));
  endpoint
    .command('health')
    .description('Checks the healthiness of endpoints specified in `--endpoints` flag')
    .option('--cluster', 'use all endpoints from the cluster member list')
    .action((flags: { cluster?: boolean }) => health(context, flags.cluster === true));
}

async function endpointsOf(context: Context, cluster: boolean): Promise<string[]> {
  if (!cluster) return context.globals.endpoints;
  const { members } = await context.client.memberList({ signal: context.io.signal });
  return [...new Set(members.flatMap((member) => member.clientURLs))];
}

async function status(context: Context, cluster: boolean): Promise<void> {
  const endpoints = await endpointsOf(context, cluster);
  const { signal } = context.io;
  const answers = await Promise.allSettled(endpoints.map((endpoint) => context.client.status(endpoint, { signal })));
  let failed = false;
  for (const [i, answer] of answers.entries()) {
    if (answer.status === 'fulfilled') context.print(statusRow(endpoints[i]!, answer.value).join(', '));
    else {
      failed = true;
      context.warn(`Failed to get the status of endpoint ${endpoints[i]} (${(answer.reason as Error).message})`);
    }
  }
  if (failed) throw new CommandError('');
}

function statusRow(endpoint: string, status: StatusResponse): string[] {
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

async function health(context: Context, cluster: boolean): Promise<void> {
  const endpoints = await endpointsOf(context, cluster);
  const problems = await Promise.all(
    endpoints.map(async (endpoint) => {
      const started = performance.now();
      const problem = await problemOf(context, endpoint);
      const took = goDuration(performance.now() - started);
      if (problem === undefined) {
        context.print(`${endpoint} is healthy: successfully committed proposal: took = ${took}`);
      } else context.warn(`${endpoint} is unhealthy: failed to commit proposal: ${problem}`);
      return problem;
    }),
  );
  if (problems.some((problem) => problem !== undefined)) throw new CommandError('unhealthy cluster');
}

/** What is wrong with an endpoint: it cannot answer a linearizable read, or an alarm is raised. */
async function problemOf(context: Context, endpoint: string): Promise<string | undefined> {
  const options = { endpoint, signal: context.io.signal };
  try {
    await context.client.get('health', options);
  } catch (error) {
    // Being denied the key proves as much as reading it: the request went through consensus.
    if (!(error instanceof RosterError) || error.code !== 'PermissionDenied') return (error as Error).message;
  }
  let alarms: AlarmMember[];
  try {
    alarms = await context.client.alarms(options);
  } catch {
    return 'Unable to fetch the alarm list';
  }
  const raised = alarms.map(({ alarm }) => ALARMS.get(alarm) ?? String(alarm));
  return raised.length === 0 ? undefined : `Active Alarm(s): ${raised.join(' ')} `;
}

const ALARMS: ReadonlyMap<number, string> = new Map(
  Object.entries(AlarmType.values).map(([name, number]) => [number, name]),
);
