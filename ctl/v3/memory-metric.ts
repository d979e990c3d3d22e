/** How much memory a server says it holds: one number of its /metrics. */
import { CommandError, type Context } from '../context.ts';
import { getText } from '../http.ts';

/** Of the first endpoint. Rejects with a CommandError when it does not tell. */
export async function residentBytes(context: Context): Promise<number> {
  const endpoint = context.globals.endpoints[0]!;
  const text = await getText(context, endpoint, '/metrics').catch(() => '');
  const found = /^process_resident_memory_bytes (\S+)/m.exec(text)?.[1];
  if (found !== undefined) return Number(found);
  throw new CommandError(`could not read process_resident_memory_bytes from the /metrics of ${endpoint}`);
}
