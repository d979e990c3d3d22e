/**
 * gliderlabs/registrator's metadata rules: which SERVICE_* settings of a container hold for one of its ports, and the
 * name, id, tags and attributes they make. Pure: no Docker, no addresses.
 */
import { defaultId, type Protocol } from './service.ts';

/** The settings that hold for one port, keys in lower case without `SERVICE_[<port>_[<proto>_]]`. */
export interface PortMetadata {
  readonly values: ReadonlyMap<string, string>;
  /** Keys that were given for this very port. */
  readonly fromPort: ReadonlySet<string>;
}

/** What the metadata of one port says about its service; `undefined` where the port is not to be registered. */
export interface NamedService {
  name: string;
  id: string;
  tags: string[];
  attrs: Record<string, string>;
}

export interface NamingContext {
  hostname: string;
  /** Container, file or program the port belongs to: the middle of the id. */
  unit: string;
  /** Name where none is set. */
  defaultName: string;
  /** Register only what has a name set. */
  explicit: boolean;
  /** More than one port is published, so names that are not port-specific get `-<port>`. */
  severalPorts: boolean;
  /** Tags every service of this agent gets. */
  extraTags: readonly string[];
}

const PREFIX = 'SERVICE_';
const PORT_KEY = /^(\d+)_(?:(tcp|udp|sctp)_)?(.+)$/;
const OWN_KEYS = new Set(['id', 'name', 'tags', 'ignore']);

/**
 * Settings for `port`/`protocol`. More specific wins: `SERVICE_53_udp_X` over `SERVICE_53_X` over `SERVICE_X`; between
 * equals a label wins over the environment. Names are case-sensitive in the prefix only. (The protocol form is not
 * registrator's own; there tcp/53 and udp/53 cannot differ.)
 */
export function portMetadata(
  env: readonly string[],
  labels: Readonly<Record<string, string>>,
  port: number,
  protocol: Protocol,
): PortMetadata {
  const values = new Map<string, string>();
  const ranks = new Map<string, number>();
  const offer = (name: string, value: string): void => {
    if (!name.startsWith(PREFIX) || name.length === PREFIX.length) return;
    let key = name.slice(PREFIX.length).toLowerCase();
    let rank = 0;
    const match = PORT_KEY.exec(key);
    if (match !== null) {
      if (Number(match[1]) !== port) return;
      if (match[2] !== undefined && match[2] !== protocol) return;
      key = match[3]!;
      rank = match[2] === undefined ? 1 : 2;
    }
    if (rank < (ranks.get(key) ?? 0)) return;
    ranks.set(key, rank);
    values.set(key, value);
  };
  for (const pair of env) {
    const at = pair.indexOf('=');
    if (at > 0) offer(pair.slice(0, at), pair.slice(at + 1));
  }
  for (const [name, value] of Object.entries(labels)) offer(name, value);
  const fromPort = new Set([...ranks].filter(([, rank]) => rank > 0).map(([key]) => key));
  return { values, fromPort };
}

/**
 * The text of a switch. `false`, `0`, `no`, `off`, `f` and `n` in any case, and the empty text, are off; all else is
 * on. Registrator differs: there SERVICE_IGNORE ignores with any text at all, even `false`.
 */
export function isOn(text: string | undefined): boolean {
  return text !== undefined && !['', 'false', '0', 'no', 'off', 'f', 'n'].includes(text.trim().toLowerCase());
}

/** A comma list; `\,` is a comma inside a tag; empty tags are dropped. Order is kept (registrator turns it round). */
export function splitTags(text: string): string[] {
  const tags: string[] = [];
  let tag = '';
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\' && text[i + 1] === ',') {
      tag += ',';
      i++;
    } else if (text[i] === ',') {
      if (tag !== '') tags.push(tag);
      tag = '';
    } else tag += text[i];
  }
  if (tag !== '') tags.push(tag);
  return tags;
}

/** Applies registrator's naming rules to one port; undefined when it is ignored or, with `explicit`, has no name. */
export function nameService(
  metadata: PortMetadata,
  port: number,
  protocol: Protocol,
  context: NamingContext,
): NamedService | undefined {
  const { values, fromPort } = metadata;
  if (isOn(values.get('ignore'))) return undefined;
  const chosen = values.get('name') ?? '';
  if (chosen === '' && context.explicit) return undefined;
  const base = chosen === '' ? context.defaultName : chosen;
  const suffix = context.severalPorts && !(chosen !== '' && fromPort.has('name')) ? `-${port}` : '';
  const tags = [...splitTags(values.get('tags') ?? ''), ...context.extraTags];
  if (protocol !== 'tcp') tags.push(protocol);
  return {
    name: base + suffix,
    id: values.get('id') || defaultId(context.hostname, context.unit, port, protocol),
    tags,
    attrs: Object.fromEntries([...values].filter(([key]) => !OWN_KEYS.has(key))),
  };
}
