/** The v2 verbs cluster-health and member list, add, remove, update. */
import type { Command } from 'commander';
import { sleep } from '../../client/wait.ts';
import { CommandError, type Context, PlainError } from '../context.ts';
import { goQuote } from '../go-text.ts';
import { Exit2, failure } from './exit.ts';
import { json, type Member2, messageOf } from './store.ts';

const HEALTH_PAUSE_MS = 10_000;

export function addMemberCommands(program: Command, context: Context): void {
  program
    .command('cluster-health')
    .description('Checks the health of the cluster')
    .option('-f, --forever', 'forever check the health every 10 second until CTRL+C')
    .action((flags: { forever?: boolean }) => clusterHealth(context, flags.forever === true));
  const member = program.command('member').description('Lists, adds, removes members');
  const verb = (name: string, usage: string, text: string) =>
    member.command(`${name} [args...]`).usage(usage).description(text);
  verb('list', '', 'Enumerates existing cluster members').action((args: string[]) => list(context, args));
  verb('add', '<name> <peerURL>', 'Adds a new member to the cluster').action((args: string[]) => add(context, args));
  verb('remove', '<memberID>', 'Removes an existing member').action((args: string[]) => remove(context, args));
  verb('update', '<memberID> <peerURLs>', 'Updates an existing member').action((args: string[]) =>
    update(context, args),
  );
}

const refusal = (text: string) => new PlainError(text, Exit2.BAD_ARGUMENTS);

async function clusterHealth(context: Context, forever: boolean): Promise<void> {
  const members = await context.store2.members().catch((error: unknown) => {
    if (!(error instanceof CommandError)) throw error;
    context.print('cluster may be unhealthy: failed to list members');
    const failed = failure(error.message.trim(), Exit2.SERVER_ERROR);
    failed.hint = error.hint;
    throw failed;
  });
  for (;;) {
    let healthy = 0;
    for (const member of members) if (await isHealthy(context, member)) healthy++;
    const whole = healthy === members.length;
    context.print(`cluster is ${whole ? 'healthy' : healthy === 0 ? 'unavailable' : 'degraded'}`);
    if (!forever) {
      if (!whole) throw new CommandError('', Exit2.UNHEALTHY);
      return;
    }
    context.print('\nnext check after 10 second...\n');
    await sleep(HEALTH_PAUSE_MS, context.io.signal);
    if (context.io.signal.aborted) return;
  }
}

/** Asks the member's addresses in turn; the first that answers decides. */
async function isHealthy(context: Context, { id, clientURLs }: Member2): Promise<boolean> {
  if ((clientURLs ?? []).length === 0) {
    context.print(`member ${id} is unreachable: no available published client urls`);
    return false;
  }
  for (const url of clientURLs) {
    const { reply, problem } = await context.store2.ask(url, { method: 'GET', path: '/health' });
    if (reply === undefined) {
      context.print(`failed to check the health of member ${id} on ${url}: ${problem}`);
      continue;
    }
    const healthy = /"health"\s*:\s*"?true\b/.test(reply.text);
    context.print(
      `member ${id} is ${healthy ? 'healthy: got healthy' : 'unhealthy: got unhealthy'} result from ${url}`,
    );
    return healthy;
  }
  context.print(`member ${id} is unreachable: [${clientURLs.join(' ')}] are all unreachable`);
  return false;
}

async function allMembers(context: Context): Promise<Member2[]> {
  const reply = await context.store2.call({ method: 'GET', path: '/v2/members' });
  if (reply.status !== 200) throw refusal(messageOf(reply));
  return (json(reply) as { members: Member2[] }).members;
}

async function list(context: Context, args: readonly string[]): Promise<void> {
  if (args.length > 0) throw refusal('No arguments accepted');
  const members = await allMembers(context);
  const reply = await context.store2.call({ method: 'GET', path: '/v2/members/leader' });
  if (reply.status !== 200) throw refusal(`Failed to get leader:  ${messageOf(reply)}`);
  const leader = (json(reply) as Member2).id;
  for (const { id, name, peerURLs, clientURLs } of members) {
    const peers = peerURLs.join(',');
    if (name === '') context.print(`${id}[unstarted]: peerURLs=${peers}`);
    else {
      context.print(
        `${id}: name=${name} peerURLs=${peers} clientURLs=${clientURLs.join(',')} isLeader=${id === leader}`,
      );
    }
  }
}

async function add(context: Context, args: readonly string[]): Promise<void> {
  if (args.length !== 2) throw refusal('Provide a name and a single member peerURL');
  const [name, url] = args as [string, string];
  const reply = await context.store2.call({ method: 'POST', path: '/v2/members', body: { peerURLs: [url] } });
  if (reply.status !== 201) throw refusal(messageOf(reply));
  const { id } = json(reply) as Member2;
  context.print(`Added member named ${name} with ID ${id} to cluster`);
  const members = await allMembers(context);
  const founders = members.flatMap((one) => one.peerURLs.map((peer) => `${one.id === id ? name : one.name}=${peer}`));
  context.print('');
  context.print(`ETCD_NAME=${goQuote(name)}`);
  context.print(`ETCD_INITIAL_CLUSTER=${goQuote(founders.join(','))}`);
  context.print('ETCD_INITIAL_CLUSTER_STATE="existing"');
}

async function remove(context: Context, args: readonly string[]): Promise<void> {
  if (args.length !== 1) throw refusal('Provide a single member ID');
  const wanted = args[0]!;
  const members = await allMembers(context);
  const named = members.find(({ name }) => name === wanted);
  if (named !== undefined) {
    context.warn(
      `Found a member named ${wanted}; if this is correct, please use its ID, eg:\n\trosterctl --api 2 member remove ${named.id}`,
    );
  }
  if (!members.some(({ id }) => id === wanted)) {
    throw refusal(`Couldn't find a member in the cluster with an ID of ${wanted}.`);
  }
  const reply = await context.store2.call({ method: 'DELETE', path: `/v2/members/${wanted}` });
  if (reply.status !== 204 && reply.status !== 200) {
    throw refusal(`Received an error trying to remove member ${wanted}: ${messageOf(reply)}`);
  }
  context.print(`Removed member ${wanted} from cluster`);
}

async function update(context: Context, args: readonly string[]): Promise<void> {
  if (args.length !== 2) {
    throw refusal(
      'Provide an ID and a list of comma separated peerURL (0xabcd http://example.com,http://example1.com)',
    );
  }
  const [id, urls] = args as [string, string];
  const path = `/v2/members/${encodeURIComponent(id)}`;
  const reply = await context.store2.call({ method: 'PUT', path, body: { peerURLs: urls.split(',') } });
  if (reply.status !== 204 && reply.status !== 200) throw refusal(messageOf(reply));
  context.print(`Updated member with ID ${id} in cluster`);
}
