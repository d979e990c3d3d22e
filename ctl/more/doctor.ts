/**
 * doctor: asks every member what it knows, and says in sentences what is wrong and what to do. Owns the questions; what
 * the answers mean is findings.ts.
 */
import type { Command } from 'commander';
import type { Member } from '../../client/index.ts';
import { methods } from '../../client/methods.ts';
import { RosterError } from '../../core/errors.ts';
import { CommandError, type Context } from '../context.ts';
import { getDate } from '../http.ts';
import { unsupported } from '../output/print.ts';
import { type Examined, type Finding, findings } from './findings.ts';

/** Reads of one member, whose fastest tells how far away it is. */
const PROBES = 3;

export function addDoctorCommand(program: Command, context: Context): void {
  program
    .command('doctor')
    .description('Says what is wrong with a cluster, and what to do about it')
    .addHelpText(
      'after',
      '\nExit code 0: nothing to worry about, 1: something is wrong.\n\nExample:\n  $ rosterctl --endpoints a:2379 doctor',
    )
    .action(() => doctor(context));
}

async function doctor(context: Context): Promise<void> {
  const { format, endpoints } = context.globals;
  if (format !== 'simple' && format !== 'json') throw unsupported(format);
  const members = await memberList(context);
  const advertised = members.flatMap(({ clientURLs }) => clientURLs);
  // What was given is asked even if nobody advertises it: that is where the user's programs connect.
  const known = new Set(advertised.map(bare));
  const asked = [...endpoints.filter((endpoint) => !known.has(bare(endpoint))), ...new Set(advertised)];
  const examined = await Promise.all(asked.map((endpoint) => examine(context, endpoint)));
  const found = findings({ members, examined, given: endpoints });
  if (format === 'json') context.print(JSON.stringify(found));
  else tell(context, found, examined.filter(({ status }) => status !== undefined).length, members.length);
  if (found.some(({ severity }) => severity === 'wrong')) throw new CommandError('');
}

const bare = (endpoint: string): string => endpoint.replace(/^https?:\/\//, '').replace(/\/$/, '');

/** From whoever answers, even without a majority; empty when nobody does. */
async function memberList(context: Context): Promise<Member[]> {
  try {
    return (await context.client.memberList({ serializable: true, ...context.call })).members;
  } catch (error) {
    if (error instanceof RosterError) return [];
    throw error;
  }
}

async function examine(context: Context, endpoint: string): Promise<Examined> {
  const target = { endpoint, ...context.call };
  const examined: Examined = { endpoint, alarms: [] };
  try {
    examined.status = await context.client.status(endpoint, context.call);
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    examined.problem = error;
    return examined;
  }
  try {
    const times: number[] = [];
    for (let i = 0; i < PROBES; i++) {
      const started = performance.now();
      await context.client.range({ key: 'health' }, target);
      times.push(performance.now() - started);
    }
    examined.readMs = Math.min(...times);
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    if (error.code !== 'PermissionDenied') examined.readProblem = error;
  }
  try {
    examined.alarms = (await context.client.call(methods.alarm, {}, target)).alarms;
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
  }
  examined.clockSkewMs = await clockSkew(context, endpoint);
  return examined;
}

/** How far the server's clock is from ours, by the Date of an HTTP answer; undefined when it does not tell. */
async function clockSkew(context: Context, endpoint: string): Promise<number | undefined> {
  const before = Date.now();
  const date = await getDate(context, endpoint, '/version').catch(() => undefined);
  const between = (before + Date.now()) / 2;
  return date === undefined ? undefined : date - between;
}

function tell(context: Context, found: readonly Finding[], reached: number, members: number): void {
  const order = { wrong: 0, warning: 1 };
  for (const { severity, text, remedy } of found.toSorted((a, b) => order[a.severity] - order[b.severity])) {
    context.print(`${severity === 'wrong' ? 'WRONG' : 'mind'}: ${text}. ${remedy}`);
  }
  if (found.length === 0) {
    context.print(`All is well: ${reached} of ${Math.max(members, reached)} members answer, and agree.`);
  }
}
