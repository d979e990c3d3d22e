/** member add, remove, update, promote and list. */
import type { Command } from 'commander';
import { methods } from '../../client/methods.ts';
import {
  type Member,
  MemberAddResponse,
  MemberListResponse,
  MemberPromoteResponse,
  MemberRemoveResponse,
  MemberUpdateResponse,
} from '../../core/wire/messages.ts';
import type { MessageType } from '../../core/wire/schema.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { goQuote } from '../go-text.ts';
import { fieldLine, headerLines, quotedLine } from '../output/fields.ts';
import { goJson } from '../output/go-json.ts';
import { printAnswer, printListing } from '../output/print.ts';
import { shortHexId } from '../output/text.ts';
import { expectArguments, parseMemberId } from './numbers.ts';
import { serializable } from './requests.ts';

export function addMemberCommands(program: Command, context: Context): void {
  const member = program.command('member').description('Membership related commands');
  const peerUrls = ['--peer-urls <urls>', 'peer URLs of the member, separated by commas', ''] as const;
  member
    .command('add [args...]')
    .usage('<memberName> [options]')
    .description('Adds a member into the cluster')
    .option(...peerUrls)
    .option('--learner', 'indicates if the new member is raft learner')
    .addHelpText('after', '\nExample:\n  $ rosterctl member add d --learner --peer-urls http://10.0.0.4:2380')
    .action((args: string[], flags: { peerUrls: string; learner?: boolean }) => add(context, args, flags));
  member
    .command('remove [args...]')
    .usage('<memberID>')
    .description('Removes a member from the cluster')
    .action((args: string[]) => remove(context, args));
  member
    .command('update [args...]')
    .usage('<memberID> [options]')
    .description('Updates a member in the cluster')
    .option(...peerUrls)
    .action((args: string[], flags: { peerUrls: string }) => update(context, args, flags.peerUrls));
  member
    .command('promote [args...]')
    .usage('<memberID>')
    .description('Promotes a non-voting member in the cluster')
    .action((args: string[]) => promote(context, args));
  member
    .command('list')
    .description('Lists all members in the cluster')
    .option('--consistency <l|s>', 'Linearizable(l) or Serializable(s)', 'l')
    .action((flags: { consistency: string }) => list(context, flags.consistency));
}

/** Ids as Go's %16x prints them: padded with spaces. */
const wideId = (id: bigint): string => shortHexId(id).padStart(16);

function urlsOf(text: string): string[] {
  if (text === '') throw new CommandError('member peer urls not provided', Exit.BAD_ARGUMENTS);
  return text.split(',');
}

async function add(
  context: Context,
  args: readonly string[],
  flags: { peerUrls: string; learner?: boolean },
): Promise<void> {
  if (args.length < 1) throw new CommandError('member name not provided', Exit.BAD_ARGUMENTS);
  if (args.length > 1) {
    const urls = args.filter((word) => /^(?:http|https|unix|unixs):\/\//.test(word));
    const guess = urls.length === 0 ? '' : `, did you mean --peer-urls=${urls.join(',')}`;
    throw new CommandError(`too many arguments${guess}`, Exit.BAD_ARGUMENTS);
  }
  const name = args[0]!;
  const request = { peerURLs: urlsOf(flags.peerUrls), isLearner: flags.learner === true };
  const message = await context.client.call(methods.memberAdd, request, context.call);
  const member = message.member!;
  const kind = member.isLearner ? 'added as learner to' : 'added to';
  printOne(context, MemberAddResponse, message, () => {
    context.print(`Member ${wideId(member.ID)} ${kind} cluster ${wideId(message.header?.cluster_id ?? 0n)}`);
  });
  if (context.globals.format !== 'simple') return;
  const { members } = message;
  const founders = members.flatMap(({ ID, name: own, peerURLs }) =>
    peerURLs.map((url) => `${ID === member.ID ? name : own}=${url}`),
  );
  context.print('');
  context.print(`ETCD_NAME=${goQuote(name)}`);
  context.print(`ETCD_INITIAL_CLUSTER=${goQuote(founders.join(','))}`);
  context.print(`ETCD_INITIAL_ADVERTISE_PEER_URLS=${goQuote(flags.peerUrls)}`);
  context.print('ETCD_INITIAL_CLUSTER_STATE="existing"');
}

function printOne<T extends MemberAddResponse | MemberListResponse>(
  context: Context,
  type: MessageType<T>,
  message: T,
  simple: () => void,
): void {
  printAnswer(context, { type, message, simple });
}

async function remove(context: Context, args: readonly string[]): Promise<void> {
  expectArguments(args, 1, 'member ID is not provided');
  const ID = parseMemberId(args[0]!);
  const message = await context.client.call(methods.memberRemove, { ID }, context.call);
  printOne(context, MemberRemoveResponse, message, () =>
    context.print(`Member ${wideId(ID)} removed from cluster ${wideId(message.header?.cluster_id ?? 0n)}`),
  );
}

async function update(context: Context, args: readonly string[], peerUrls: string): Promise<void> {
  expectArguments(args, 1, 'member ID is not provided');
  const ID = parseMemberId(args[0]!);
  const message = await context.client.call(methods.memberUpdate, { ID, peerURLs: urlsOf(peerUrls) }, context.call);
  printOne(context, MemberUpdateResponse, message, () =>
    context.print(`Member ${wideId(ID)} updated in cluster ${wideId(message.header?.cluster_id ?? 0n)}`),
  );
}

async function promote(context: Context, args: readonly string[]): Promise<void> {
  expectArguments(args, 1, 'member ID is not provided');
  const ID = parseMemberId(args[0]!);
  const message = await context.client.call(methods.memberPromote, { ID }, context.call);
  printOne(context, MemberPromoteResponse, message, () =>
    context.print(`Member ${wideId(ID)} promoted in cluster ${wideId(message.header?.cluster_id ?? 0n)}`),
  );
}

async function list(context: Context, consistency: string): Promise<void> {
  const message = await context.client.memberList({ serializable: serializable(consistency), ...context.call });
  if (context.globals.format === 'protobuf') {
    printOne(context, MemberListResponse, message, () => {});
    return;
  }
  printListing(context, {
    head: ['ID', 'Status', 'Name', 'Peer Addrs', 'Client Addrs', 'Is Learner'],
    rows: message.members.map(memberRow),
    fields: () => [...headerLines(message.header), ...message.members.flatMap(memberLines)],
    json: () => goJson(MemberListResponse, message, { hexIds: context.globals.hex }),
  });
}

function memberRow({ ID, name, peerURLs, clientURLs, isLearner }: Member): string[] {
  const state = name === '' ? 'unstarted' : 'started';
  return [shortHexId(ID), state, name, peerURLs.join(','), clientURLs.join(','), String(isLearner)];
}

function memberLines({ ID, name, peerURLs, clientURLs, isLearner }: Member): string[] {
  return [
    fieldLine('ID', ID),
    quotedLine('Name', name),
    ...peerURLs.map((url) => quotedLine('PeerURL', url)),
    ...clientURLs.map((url) => quotedLine('ClientURL', url)),
    fieldLine('IsLearner', isLearner),
    '',
  ];
}
