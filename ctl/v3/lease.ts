/** lease grant, revoke, timetolive, list and keep-alive. */
import type { Command } from 'commander';
import { methods } from '../../client/methods.ts';
import { sleep } from '../../client/wait.ts';
import { RosterError } from '../../core/errors.ts';
import { byteStringToUtf8, fromByteString, toBase64 } from '../../core/util/bytes.ts';
import {
  LeaseGrantResponse,
  LeaseKeepAliveResponse,
  LeaseLeasesResponse,
  LeaseRevokeResponse,
  LeaseTimeToLiveResponse,
} from '../../core/wire/messages.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { parseInteger } from '../go-text.ts';
import { fieldLine, headerLines, keyLine } from '../output/fields.ts';
import { goString, headerMembers } from '../output/go-json.ts';
import { printAnswer } from '../output/print.ts';
import { hexId } from '../output/text.ts';
import { clamped, expectArguments, parseLeaseId } from './numbers.ts';

export function addLeaseCommands(program: Command, context: Context): void {
  const lease = program.command('lease').description('Lease related commands');
  lease
    .command('grant [args...]')
    .usage('<ttl>')
    .description('Creates leases')
    .addHelpText('after', '\nExample:\n  $ rosterctl lease grant 60')
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
  expectArguments(args, 1, `lease ${command} command needs ${what}`);
  return parseLeaseId(args[0]!, 'lease ID arg');
}

async function grant(context: Context, args: readonly string[]): Promise<void> {
  expectArguments(args, 1, 'lease grant command needs TTL argument');
  const ttl = parseInteger(args[0]!);
  if (typeof ttl !== 'bigint') throw new CommandError(`bad TTL (${ttl.complaint})`, Exit.BAD_ARGUMENTS);
  const message = await explained('grant', context.client.leaseGrant(clamped(ttl), context.call));
  const { header, ID, TTL, error } = message;
  printAnswer(context, {
    type: LeaseGrantResponse,
    message,
    simple: () => context.print(`lease ${hexId(ID)} granted with TTL(${TTL}s)`),
    fields: () => [...headerLines(header), fieldLine('ID', ID), fieldLine('TTL', TTL)],
    json: () => flat([...headerMembers(header), `"ID":${ID}`, `"TTL":${TTL}`, `"Error":${goString(error)}`]),
  });
}

/** What clientv3's structs about leases look like: the header's members beside the others. */
const flat = (members: readonly string[]): string => `{${members.join(',')}}`;

async function explained<T>(what: 'grant' | 'revoke', answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    const failure = new CommandError(`failed to ${what} lease (${error.message})`);
    failure.cause = error;
    throw failure;
  }
}

async function revoke(context: Context, args: readonly string[]): Promise<void> {
  const id = leaseArgument(args, 'revoke', '1 argument');
  const message = await explained('revoke', context.client.call(methods.leaseRevoke, { ID: id }, context.call));
  const simple = () => context.print(`lease ${hexId(id)} revoked`);
  printAnswer(context, { type: LeaseRevokeResponse, message, simple, fields: () => headerLines(message.header) });
}

async function timeToLive(context: Context, args: readonly string[], withKeys: boolean): Promise<void> {
  const id = leaseArgument(args, 'timetolive');
  const message = await context.client.leaseTimeToLive(id, { keys: withKeys, ...context.call });
  const { header, ID, TTL, grantedTTL, keys } = message;
  const base64 = keys.map((key) => `"${toBase64(fromByteString(key))}"`);
  printAnswer(context, {
    type: LeaseTimeToLiveResponse,
    message,
    simple: () => context.print(remaining(message, withKeys)),
    fields: () => [
      ...headerLines(header),
      fieldLine('ID', ID),
      fieldLine('TTL', TTL),
      fieldLine('GrantedTTL', grantedTTL),
      ...keys.map((key) => keyLine('Key', key)),
    ],
    json: () =>
      flat([
        ...headerMembers(header),
        `"id":${ID}`,
        `"ttl":${TTL}`,
        `"granted-ttl":${grantedTTL}`,
        `"keys":${keys.length === 0 ? 'null' : `[${base64.join(',')}]`}`,
      ]),
  });
}

function remaining({ ID, TTL, grantedTTL, keys }: LeaseTimeToLiveResponse, withKeys: boolean): string {
  if (grantedTTL === 0 && TTL === -1) return `lease ${hexId(ID)} already expired`;
  const attached = withKeys ? `, attached keys([${keys.map(byteStringToUtf8).join(' ')}])` : '';
  return `lease ${hexId(ID)} granted with TTL(${grantedTTL}s), remaining(${TTL}s)${attached}`;
}

async function list(context: Context): Promise<void> {
  const message = await context.client.leases(context.call);
  const { header, leases } = message;
  printAnswer(context, {
    type: LeaseLeasesResponse,
    message,
    simple: () => {
      context.print(`found ${leases.length} leases`);
      for (const { ID } of leases) context.print(hexId(ID));
    },
    fields: () => [...headerLines(header), ...leases.map(({ ID }) => fieldLine('ID', ID))],
    json: () => flat([...headerMembers(header), `"leases":[${leases.map(({ ID }) => `{"id":${ID}}`).join(',')}]`]),
  });
}

async function keepAlive(context: Context, args: readonly string[], once: boolean): Promise<void> {
  const id = leaseArgument(args, 'keep-alive');
  const { signal } = context.io;
  while (!signal.aborted) {
    const message = await context.client.leaseKeepAliveOnce(id, { signal });
    const { header, ID, TTL } = message;
    if (TTL <= 0) {
      if (once) throw new CommandError('etcdserver: requested lease not found', Exit.BAD_CONNECTION);
      context.print(`lease ${hexId(id)} expired or revoked.`);
      return;
    }
    printAnswer(context, {
      type: LeaseKeepAliveResponse,
      message,
      simple: () => context.print(`lease ${hexId(id)} keepalived with TTL(${TTL})`),
      fields: () => [...headerLines(header), fieldLine('ID', ID), fieldLine('TTL', TTL)],
      json: () => flat([...headerMembers(header), `"ID":${ID}`, `"TTL":${TTL}`]),
    });
    if (once) return;
    await sleep((TTL * 1_000) / 3, signal);
  }
}
