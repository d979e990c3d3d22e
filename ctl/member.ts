/** member list. */
import type { Command } from 'commander';
import type { Context } from './context.ts';
import { shortHexId } from './format.ts';
import { serializable } from './kv.ts';

export function addMemberCommands(program: Command, context: Context): void {
  const member = program.command('member').description('Membership related commands');
  member
    .command('list')
    .description('Lists all members in the cluster')
    .option('--consistency <l|s>', 'Linearizable(l) or Serializable(s)', 'l')
    .action((flags: { consistency: string }) => list(context, flags.consistency));
}

async function list(context: Context, consistency: string): Promise<void> {
  const options = { serializable: serializable(consistency), signal: context.io.signal };
  const { members } = await context.client.memberList(options);
  for (const member of members) {
    const row = [
      shortHexId(member.ID),
      member.name === '' ? 'unstarted' : 'started',
      member.name,
      member.peerURLs.join(','),
      member.clientURLs.join(','),
      String(member.isLearner),
    ];
    context.print(row.join(', '));
  }
}
