/** lease grant, revoke, timetolive, list and keep-alive. */
import type { Command } from 'commander';
import { byteStringToUtf8, RosterError } from '../client/index.ts';
import { sleep } from '../client/wait.ts';
import { CommandError, type Context, Exit } from './context.ts';
import { hexId, parseInteger, parseLeaseId } from './format.ts';

export function addLeaseCommands(program: Command, context: Context): void {
  const lease = program.command('lease').description('Lease related commands');
  lease
    .command('grant [args...]')
    .usage('<ttl>')
    .description('Creates leases')
    .action((args: string[]) => grant(context, args));
  lease
    .command('revoke [args...]')
    .usage('<leaseID>')
    .description('Revokes leases')
    .action((args: string[]) => revoke(context, args));
  lease
    .command('timetolive [args...]')
    .usage('<leaseID> [options]')
    .description('Get lease information')
    .option('--keys', 'get keys attached to this lease')
    .action((args: string[], flags: { keys?: boolean }) => timeToLive(context, args, flags.keys === true));
  lease
    .command('list')
    .description('List all active leases')
    .action(() => list(context));
  lease
    .command('keep-alive [args...]')
    .usage('[options] <leaseID>')
    .description('Keeps leases alive (renew)')
    .option('--once', 'resets the keep-alive time to its original value and exits immediately')
    .action((args: string[], flags: { once?: boolean }) => keepAlive(context, args, flags.once === true));
}

function leaseArgument(args: readonly string[], command: string, what = 'lease ID as argument'): bigint {
  if (args.length !== 1) throw new CommandError(`lease ${command} command needs ${what}`, Exit.BAD_ARGUMENTS);
  return parseLeaseId(args[0]!, 'lease ID arg');
}

async function grant(context: Context, args: readonly string[]): Promise<void> {
  if (args.length !== 1) throw new CommandError('lease grant command needs TTL argument', Exit.BAD_ARGUMENTS);
  const ttl = parseInteger(args[0]!);
  if (typeof ttl !== 'bigint') throw new CommandError(`bad TTL (${ttl.complaint})`, Exit.BAD_ARGUMENTS);
  const { signal } = context.io;
  const { ID, TTL } = await explained('grant', context.client.leaseGrant(Number(ttl), { signal }));
  context.print(`lease ${hexId(ID)} granted with TTL(${TTL}s)`);
}

async function explained<T>(what: 'grant' | 'revoke', answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    throw new CommandError(`failed to ${what} lease (${error.message})`);
  }
}

async function revoke(context: Context, args: readonly string[]): Promise<void> {
  const id = leaseArgument(args, 'revoke', '1 argument');
  await explained('revoke', context.client.leaseRevoke(id, { signal: context.io.signal }));
  context.print(`lease ${hexId(id)} revoked`);
}

async function timeToLive(context: Context, args: readonly string[], keys: boolean): Promise<void> {
  const id = leaseArgument(args, 'timetolive');
  const answer = await context.client.leaseTimeToLive(id, { keys, signal: context.io.signal });
  if (answer.grantedTTL === 0 && answer.TTL === -1) {
    context.print(`lease ${hexId(id)} already expired`);
    return;
  }
  const attached = keys ? `, attached keys([${answer.keys.map(byteStringToUtf8).join(' ')}])` : '';
  context.print(`lease ${hexId(id)} granted with TTL(${answer.grantedTTL}s), remaining(${answer.TTL}s)${attached}`);
}

async function list(context: Context): Promise<void> {
  const { leases } = await context.client.leases({ signal: context.io.signal });
  context.print(`found ${leases.length} leases`);
  for (const { ID } of leases) context.print(hexId(ID));
}

async function keepAlive(context: Context, args: readonly string[], once: boolean): Promise<void> {
  const id = leaseArgument(args, 'keep-alive');
  const { signal } = context.io;
  while (!signal.aborted) {
    const { TTL } = await context.client.leaseKeepAliveOnce(id, { signal });
    if (TTL <= 0) {
      context.print(`lease ${hexId(id)} expired or revoked.`);
      if (once) throw new CommandError('etcdserver: requested lease not found');
      return;
    }
    context.print(`lease ${hexId(id)} keepalived with TTL(${TTL})`);
    if (once) return;
    await sleep((TTL * 1_000) / 3, signal);
  }
}
