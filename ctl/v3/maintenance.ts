/** compaction, alarm, defrag, move-leader and downgrade. */
import type { Command } from 'commander';
import { methods } from '../../client/methods.ts';
import { RosterError } from '../../core/errors.ts';
import {
  AlarmAction,
  AlarmResponse,
  DowngradeAction,
  DowngradeResponse,
  MoveLeaderResponse,
} from '../../core/wire/messages.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { goDuration, parseInteger, parseUnsigned } from '../go-text.ts';
import { fieldLine, headerLines } from '../output/fields.ts';
import { printAnswer } from '../output/print.ts';
import { shortHexId } from '../output/text.ts';
import { alarmName, endpointsOf } from './endpoint.ts';
import { clamped, expectArguments } from './numbers.ts';

export function addMaintenanceCommands(program: Command, context: Context): void {
  program
    .command('compaction [args...]')
    .usage('[options] <revision>')
    .description('Compacts the event history')
    .option('--physical', "'true' to wait for compaction to physically remove all old revisions")
    .action((args: string[], flags: { physical?: boolean }) => compaction(context, args, flags.physical === true));
  const alarm = program.command('alarm').description('Alarm related commands');
  alarm
    .command('disarm')
    .description('Disarms all alarms')
    .action(() => disarm(context));
  alarm
    .command('list')
    .description('Lists all alarms')
    .action(() => listAlarms(context));
  program
    .command('defrag')
    .description('Defragments the storage of the members at the given endpoints')
    .option('--cluster', 'use all endpoints from the cluster member list')
    .option('--data-dir <dir>', 'of a member that is not running')
    .action((flags: { cluster?: boolean; dataDir?: string }) => defrag(context, flags));
  program
    .command('move-leader [args...]')
    .usage('<transferee-member-id>')
    .description('Transfers leadership to another member')
    .action((args: string[]) => moveLeader(context, args));
  addDowngrade(program, context);
}

async function compaction(context: Context, args: readonly string[], physical: boolean): Promise<void> {
  expectArguments(args, 1, 'compaction command needs 1 argument');
  const revision = parseInteger(args[0]!);
  if (typeof revision !== 'bigint') throw new CommandError(revision.complaint);
  await context.client.compact(clamped(revision), { physical, ...context.call });
  context.print(`compacted revision ${revision}`);
}

async function listAlarms(context: Context): Promise<void> {
  printAlarms(context, await context.client.call(methods.alarm, {}, context.call));
}

async function disarm(context: Context): Promise<void> {
  const { alarms } = await context.client.call(methods.alarm, {}, context.call);
  const disarmed: AlarmResponse = { alarms: [] };
  for (const { memberID, alarm } of alarms) {
    const request = { action: AlarmAction.values.DEACTIVATE, memberID, alarm };
    disarmed.alarms.push(...(await context.client.call(methods.alarm, request, context.call)).alarms);
  }
  printAlarms(context, disarmed);
}

function printAlarms(context: Context, message: AlarmResponse): void {
  printAnswer(context, {
    type: AlarmResponse,
    message,
    simple: () => {
      for (const { memberID, alarm } of message.alarms)
        context.print(`memberID:${memberID} alarm:${alarmName(alarm)} `);
    },
    fields: () => [
      ...headerLines(message.header),
      ...message.alarms.flatMap(({ memberID, alarm }) => [
        fieldLine('MemberID', memberID),
        fieldLine('AlarmType', alarmName(alarm)),
        '',
      ]),
    ],
  });
}

async function defrag(context: Context, flags: { cluster?: boolean; dataDir?: string }): Promise<void> {
  if (flags.dataDir !== undefined) {
    context.print(
      `Nothing to do in ${flags.dataDir}: Roster uses free pages again by itself. A data directory of etcd is for etcdutl defrag.`,
    );
    return;
  }
  let failures = 0;
  for (const endpoint of await endpointsOf(context, flags.cluster === true)) {
    const started = performance.now();
    const took = () => `took ${goDuration(performance.now() - started)}`;
    try {
      await context.client.call(methods.defragment, {}, { endpoint, ...context.call });
      context.print(`Finished defragmenting etcd member[${endpoint}]. ${took()}`);
    } catch (error) {
      if (!(error instanceof RosterError)) throw error;
      failures++;
      context.warn(`Failed to defragment etcd member[${endpoint}]. ${took()}. (${error.message})`);
    }
  }
  if (failures > 0) throw new CommandError('');
}

/** Leadership is given away by the leader: it is looked for among the endpoints. */
async function moveLeader(context: Context, args: readonly string[]): Promise<void> {
  expectArguments(args, 1, 'move-leader command needs 1 argument');
  const target = parseUnsigned(args[0]!, 16);
  if (typeof target !== 'bigint') throw new CommandError(target.complaint, Exit.BAD_ARGUMENTS);
  const { endpoints } = context.globals;
  for (const endpoint of endpoints) {
    const { leader, header } = await context.client.status(endpoint, context.call);
    if (leader !== header?.member_id) continue;
    const message = await context.client.call(methods.moveLeader, { targetID: target }, { endpoint, ...context.call });
    printAnswer(context, {
      type: MoveLeaderResponse,
      message,
      simple: () => context.print(`Leadership transferred from ${shortHexId(leader)} to ${shortHexId(target)}`),
    });
    return;
  }
  throw new CommandError(`no leader endpoint given at [${endpoints.join(' ')}]`, Exit.BAD_ARGUMENTS);
}

function addDowngrade(program: Command, context: Context): void {
  const downgrade = program.command('downgrade').description('Downgrade related commands');
  const { VALIDATE, ENABLE, CANCEL } = DowngradeAction.values;
  for (const [name, action, text] of [
    ['validate', VALIDATE, 'Validate downgrade capability before starting downgrade'],
    ['enable', ENABLE, 'Start a downgrade action to cluster'],
  ] as const) {
    downgrade
      .command(`${name} [args...]`)
      .usage('<TARGET_VERSION>')
      .description(text)
      .action((args: string[]) => {
        if (args.length < 1) throw new CommandError('TARGET_VERSION not provided', Exit.BAD_ARGUMENTS);
        if (args.length > 1) throw new CommandError('too many arguments', Exit.BAD_ARGUMENTS);
        return changeVersion(context, name, action, args[0]!);
      });
  }
  downgrade
    .command('cancel')
    .description('Cancel the ongoing downgrade action to cluster')
    .action(() => changeVersion(context, 'cancel', CANCEL, ''));
}

async function changeVersion(context: Context, name: string, action: number, version: string): Promise<void> {
  const message = await context.client.call(methods.downgrade, { action, version }, context.call);
  const simple = () => context.print(`Downgrade ${name} success, cluster version ${message.version}`);
  printAnswer(context, { type: DowngradeResponse, message, simple });
}
