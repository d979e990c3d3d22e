/**
 * make-mirror: copies a prefix to another cluster and keeps the copy current, revision by revision, each as one
 * transaction as far as the destination takes them that large.
 */
import type { Command } from 'commander';
import type { Client, RequestOp } from '../../client/index.ts';
import { prefixRange } from '../../client/key.ts';
import { rosterError } from '../../core/errors.ts';
import { type ByteString, fromByteString, utf8ToByteString } from '../../core/util/bytes.ts';
import { defaults } from '../../core/wire/binary.ts';
import { EventType, PutRequest } from '../../core/wire/messages.ts';
import { onByDefault } from '../arguments.ts';
import { CommandError, type Context, Exit } from '../context.ts';
import { readTls } from '../globals.ts';
import { askSecret } from '../prompt.ts';
import { integer } from './numbers.ts';

interface MirrorFlags {
  prefix: string;
  rev: number;
  maxTxnOps: number;
  destPrefix: string;
  noDestPrefix?: boolean;
  destCert: string;
  destKey: string;
  destCacert: string;
  destInsecureTransport: boolean;
  destUser: string;
  destPassword: string;
}

const REPORT_MS = 30_000;
const PAGE_PAIRS = 1_000;

export function addMakeMirrorCommand(program: Command, context: Context): void {
  const command = program
    .command('make-mirror [args...]')
    .usage('[options] <destination>')
    .description('Makes a mirror at the destination cluster')
    .option('--prefix <prefix>', 'key-value prefix to mirror', '')
    .option('--rev <n>', 'revision to begin with: 0 copies all keys first', integer('rev'), 0)
    .option('--max-txn-ops <n>', 'operations of a transaction at the destination', integer('max-txn-ops'), 128)
    .option('--dest-prefix <prefix>', 'mirror the prefix to a different prefix', '');
  // Not commander's "--no-": a flag of this name.
  command
    .option('--no-dest-prefix', 'mirror key-values to the root of the destination cluster')
    .option('--dest-cert <file>', 'the certificate shown to the destination', '')
    .option('--dest-key <file>', 'the key that goes with --dest-cert', '')
    .option('--dest-cacert <file>', "the authorities that may have signed the destination's certificate", '')
    .addOption(onByDefault('--dest-insecure-transport', 'a destination without https:// is reached without TLS'))
    .option('--dest-user <name:password>', 'who writes there', '')
    .option('--dest-password <password>', 'of the --dest-user', '')
    .addHelpText('after', '\nExample:\n  $ rosterctl make-mirror other:2379 --prefix /app/ --dest-prefix /copy/')
    .action((args: string[], flags: MirrorFlags) => mirror(context, args, flags));
}

async function mirror(context: Context, args: readonly string[], flags: MirrorFlags): Promise<void> {
  if (args.length !== 1) throw new CommandError('make-mirror takes one destination argument', Exit.BAD_ARGUMENTS);
  const copied = { keys: 0 };
  const timer = setInterval(() => context.print(String(copied.keys)), REPORT_MS);
  const files = { cert: flags.destCert, key: flags.destKey, cacert: flags.destCacert };
  const tls = readTls(files, 'dest-');
  const destination = context.clientOf({
    endpoints: [args[0]!],
    tls: Object.keys(tls).length > 0 || !flags.destInsecureTransport ? tls : undefined,
    identity: await destinationIdentity(context, flags),
  });
  try {
    await new Mirror(context, destination, flags, copied).run();
  } finally {
    clearInterval(timer);
    destination.close();
  }
}

async function destinationIdentity(context: Context, { destUser, destPassword }: MirrorFlags) {
  if (destUser === '') return {};
  if (destPassword !== '') return { user: destUser, password: destPassword };
  const colon = destUser.indexOf(':');
  if (colon !== -1) return { user: destUser.slice(0, colon), password: destUser.slice(colon + 1) };
  return { user: destUser, password: await askSecret(context.io, 'Destination Password: ') };
}

class Mirror {
  readonly #context: Context;
  readonly #destination: Client;
  readonly #flags: MirrorFlags;
  readonly #copied: { keys: number };
  readonly #from: ByteString;
  readonly #to: ByteString;

  constructor(context: Context, destination: Client, flags: MirrorFlags, copied: { keys: number }) {
    this.#context = context;
    this.#destination = destination;
    this.#flags = flags;
    this.#copied = copied;
    this.#from = utf8ToByteString(flags.prefix);
    const to = typeof flags.destPrefix === 'string' && flags.destPrefix !== '' ? flags.destPrefix : flags.prefix;
    this.#to = (flags.destPrefix as unknown) === false ? '' : utf8ToByteString(to);
  }

  /** Until the user interrupts, or the source has compacted what was not copied yet. */
  async run(): Promise<void> {
    let next = this.#flags.rev;
    if (next === 0) next = (await this.#copyAll()) + 1;
    const { client, io } = this.#context;
    const source = fromByteString(this.#from);
    for await (const item of client.watch(source, { prefix: true, start_revision: next, signal: io.signal })) {
      if (item.kind === 'compacted') throw rosterError('Compacted');
      if (item.kind !== 'events') continue;
      await this.#apply(
        item.events.map(({ type, kv }) =>
          type === EventType.values.PUT
            ? this.#put(kv!.key, kv!.value)
            : { request_delete_range: { key: this.#renamed(kv!.key), range_end: '', prev_kv: false } },
        ),
      );
    }
  }

  #renamed(key: ByteString): ByteString {
    return this.#to + key.slice(this.#from.length);
  }

  #put(key: ByteString, value: Uint8Array): RequestOp {
    return { request_put: { ...defaults(PutRequest), key: this.#renamed(key), value } };
  }

  /** Pages of one revision. Returns it. */
  async #copyAll(): Promise<number> {
    const { client, call } = this.#context;
    const { key, range_end } = prefixRange(fromByteString(this.#from));
    let revision = 0;
    for (let from = key; ; ) {
      const page = await client.range({ key: from, range_end, limit: PAGE_PAIRS, revision }, call);
      if (revision === 0) revision = page.header?.revision ?? 0;
      await this.#apply(page.kvs.map((pair) => this.#put(pair.key, pair.value)));
      const last = page.kvs.at(-1);
      if (!page.more || last === undefined) return revision;
      from = `${last.key}\0`;
    }
  }

  /** In order; a revision with more operations than a transaction may have is told in several. */
  async #apply(ops: readonly RequestOp[]): Promise<void> {
    const size = Math.max(this.#flags.maxTxnOps, 1);
    for (let at = 0; at < ops.length; at += size) {
      const success = ops.slice(at, at + size);
      await this.#destination.txn({ success }, this.#context.call);
      this.#copied.keys += success.length;
    }
  }
}
