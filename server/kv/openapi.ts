/**
 * The OpenAPI 3.1 document of this port: `/kv/{key}` from the table of parameters, the probes, and the paths of the JSON
 * gateway from theirs. A description only; nothing is decided by it.
 */
import { GATEWAY_PATHS } from '../http/gateway-paths.ts';
import { ROSTER_VERSION } from '../version.ts';
import { PARAMETERS, type Parameter, type Use } from './parameters.ts';

type Json = Record<string, unknown>;

const json = (schema: Json): Json => ({ 'application/json': { schema } });
const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });
const integer = (description: string): Json => ({ type: 'integer', minimum: 0, description });
const text = (description: string): Json => ({ type: 'string', description });
const object = (properties: Json, required: readonly string[] = []): Json => ({ type: 'object', properties, required });
const list = (items: Json): Json => ({ type: 'array', items });

const BASE64 = { type: 'string', const: 'base64', description: 'The field beside it is base64: it is not UTF-8.' };
const LEASE = text('ID of its lease, hexadecimal.');
const REVISION = integer('Revision that this is as of.');

const SCHEMAS: Json = {
  Error: object(
    {
      error: text('What is wrong.'),
      code: text('The same for programs.'),
      hint: text('What to do.'),
      compactRevision: integer('With Compacted: what can be read at the earliest.'),
      modRevision: { type: ['integer', 'null'], description: 'With ConditionFailed: where the key is; null: nowhere.' },
      revision: REVISION,
    },
    ['error', 'code', 'hint'],
  ),
  Pair: object(
    {
      key: text('Text, or base64 if there is a keyEncoding.'),
      keyEncoding: BASE64,
      value: text('Text, or base64 if there is a valueEncoding.'),
      valueEncoding: BASE64,
      createRevision: integer('When it came to be.'),
      modRevision: integer('When it was put last: its ETag.'),
      version: integer('How often it has been put since it came to be.'),
      lease: LEASE,
    },
    ['key', 'createRevision', 'modRevision', 'version'],
  ),
  List: object(
    {
      kvs: list(ref('Pair')),
      count: integer('Keys of the whole list, from the cursor on.'),
      more: { type: 'boolean', description: 'Whether the limit has left something out.' },
      next: text('Cursor of the next page.'),
      revision: REVISION,
    },
    ['count', 'revision'],
  ),
  Child: object(
    {
      name: text('Its name below the prefix; of a group with the delimiter at the end.'),
      nameEncoding: BASE64,
      key: text('Of a key.'),
      keyEncoding: BASE64,
      prefix: text('Of a group: what its keys begin with.'),
      prefixEncoding: BASE64,
      path: text('Where to ask for it.'),
      modRevision: integer('Of a key.'),
      keys: integer('Of a group: how many keys are in it.'),
    },
    ['name', 'path'],
  ),
  Children: object(
    {
      children: list(ref('Child')),
      more: { type: 'boolean' },
      next: text('Cursor of the next page.'),
      revision: REVISION,
    },
    ['children', 'more', 'revision'],
  ),
  Put: object(
    {
      key: text('As in Pair.'),
      keyEncoding: BASE64,
      revision: integer('Of this change: the new ETag.'),
      lease: LEASE,
      ttl: integer('Seconds that were granted.'),
      prev: { anyOf: [ref('Pair'), { type: 'null' }] },
    },
    ['key', 'revision'],
  ),
  Deleted: object({ deleted: integer('Keys.'), revision: REVISION, prev: { anyOf: [ref('Pair'), { type: 'null' }] } }, [
    'deleted',
    'revision',
  ]),
  WatchMessage: object(
    {
      type: { type: 'string', enum: ['watching', 'events', 'progress', 'keep-alive', 'compacted', 'failed'] },
      revision: integer('Everything up to it has been said; go on with ?rev= one more.'),
      from: integer('With watching: the first revision that is told of.'),
      events: list({
        allOf: [ref('Pair'), object({ type: { enum: ['put', 'delete'] }, prev: ref('Pair') }, ['type'])],
      }),
      compactRevision: integer('With compacted: where one may go on.'),
      error: text('What is wrong.'),
      code: text('The same for programs.'),
      hint: text('What to do.'),
    },
    ['type'],
  ),
};

const HEADERS: Json = {
  ETag: { description: 'The modRevision of the key, in quotes.', schema: { type: 'string' } },
  'X-Roster-Revision': { description: 'The revision of the store.', schema: { type: 'integer' } },
};

const FAILED = { description: 'What is wrong and what to do.', content: json(ref('Error')) };

/** `{key}` may hold slashes, which OpenAPI has no way to say. */
const KEY = {
  ...{ name: 'key', in: 'path', required: true, schema: { type: 'string' } },
  description: 'The key, percent-encoded byte by byte; slashes may stay. /kv//app is the key /app.',
};

const header = (name: string, description: string): Json => ({
  name,
  in: 'header',
  description,
  schema: { type: 'string' },
});
const IF_MATCH = header('If-Match', 'Only if the key is at this revision; * means: if it exists.');
const IF_NONE_MATCH = header(
  'If-None-Match',
  'Only if the key is not at this revision; * means: if it does not exist.',
);

function parametersOf(uses: readonly Use[]): Json[] {
  return PARAMETERS.filter((each) => each.uses.some((use) => uses.includes(use))).map((each) => ({
    ...{ name: each.name, in: 'query', description: each.text, required: false },
    ...(each.kind === 'flag' ? { allowEmptyValue: true } : {}),
    schema: schemaOf(each),
  }));
}

function schemaOf({ kind }: Parameter): Json {
  if (kind === 'flag') return { type: 'boolean' };
  if (kind === 'number') return { type: 'integer', minimum: 1 };
  return kind === 'text' ? { type: 'string', minLength: 1 } : { type: 'string', enum: kind };
}

function keyPath(): Json {
  const value = { schema: { type: 'string', contentMediaType: 'application/octet-stream' } };
  return {
    parameters: [KEY],
    get: {
      operationId: 'get',
      summary: 'The value of a key; with parameters a list, the children, or a watch.',
      parameters: [
        ...parametersOf(['read', 'list', 'children', 'watch']),
        ...[IF_MATCH, IF_NONE_MATCH, header('Last-Event-ID', 'With watch: goes on after this revision.')],
      ],
      responses: {
        200: {
          description: 'The value as it is, or what was asked for.',
          headers: HEADERS,
          content: {
            'text/plain': value,
            'application/octet-stream': value,
            ...json({ anyOf: [ref('Pair'), ref('List'), ref('Children')] }),
            'application/x-ndjson': { schema: ref('WatchMessage') },
            'text/event-stream': { schema: ref('WatchMessage') },
          },
        },
        304: { description: 'The key is at the revision given.', headers: HEADERS },
        default: FAILED,
      },
    },
    head: {
      operationId: 'head',
      summary: 'The headers of GET.',
      parameters: parametersOf(['read']),
      responses: { 200: { description: 'The key exists.', headers: HEADERS }, default: { description: 'See GET.' } },
    },
    put: {
      operationId: 'put',
      summary: 'Stores the body, as it is.',
      parameters: [...parametersOf(['put']), IF_MATCH, IF_NONE_MATCH],
      requestBody: { content: { '*/*': value } },
      responses: { 200: { description: 'Stored.', headers: HEADERS, content: json(ref('Put')) }, default: FAILED },
    },
    delete: {
      operationId: 'delete',
      summary: 'Deletes a key, or with prefix all keys that begin with it.',
      parameters: [...parametersOf(['delete', 'delete-prefix']), IF_MATCH, IF_NONE_MATCH],
      responses: { 200: { description: 'Done.', content: json(ref('Deleted')) }, default: FAILED },
    },
  };
}

/** All keys: what needs none in the path. */
function rootPath(): Json {
  return {
    get: {
      operationId: 'getAll',
      summary: 'Lists, counts or watches all keys, or lists the first level.',
      parameters: parametersOf(['list', 'children', 'watch']),
      responses: {
        200: { description: 'What was asked for.', content: json({ anyOf: [ref('List'), ref('Children')] }) },
        default: FAILED,
      },
    },
    delete: {
      operationId: 'deleteAll',
      summary: 'Deletes every key, with ?prefix&all.',
      parameters: parametersOf(['delete-prefix']),
      responses: { 200: { description: 'Done.', content: json(ref('Deleted')) }, default: FAILED },
    },
  };
}

const PROBES: readonly (readonly [path: string, summary: string, type: string])[] = [
  ['/health', 'Whether this member is well: a leader, no alarm, a read goes through.', 'application/json'],
  ['/livez', 'Whether this member is alive.', 'text/plain'],
  ['/readyz', 'Whether this member can serve.', 'text/plain'],
];

function probePath(summary: string, type: string): Json {
  const answer = { content: { [type]: { schema: type === 'text/plain' ? { type: 'string' } : { type: 'object' } } } };
  return {
    get: {
      summary,
      security: [{}],
      responses: { 200: { description: 'Yes.', ...answer }, 503: { description: 'No; the body says why.' } },
    },
  };
}

function gatewayPath(rpc: string): Json {
  return {
    post: {
      summary: `The RPC ${rpc.slice(1)} as JSON: docs/json-gateway.md.`,
      tags: ['gateway'],
      requestBody: { content: json({ type: 'object' }) },
      responses: { 200: { description: 'The answer, or a stream of them.', content: json({ type: 'object' }) } },
    },
  };
}

export function openApiDocument({ gateway }: { gateway: boolean }): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Roster',
      version: ROSTER_VERSION,
      description: 'Keys over plain HTTP. docs/http.md has an example of each request.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{}, { basic: [] }, { bearer: [] }, { certificate: [] }],
    tags: [{ name: 'gateway', description: "etcd's RPCs as JSON." }],
    paths: {
      '/kv/{key}': keyPath(),
      '/kv/': rootPath(),
      ...Object.fromEntries(PROBES.map(([path, summary, type]) => [path, probePath(summary, type)])),
      ...(gateway ? Object.fromEntries(GATEWAY_PATHS.map(([path, rpc]) => [path, gatewayPath(rpc)])) : {}),
    },
    components: {
      schemas: SCHEMAS,
      securitySchemes: {
        basic: { type: 'http', scheme: 'basic' },
        bearer: { type: 'http', scheme: 'bearer', description: 'A token of /v3/auth/authenticate, or a JWT.' },
        certificate: { type: 'mutualTLS', description: 'The common name is the user.' },
      },
    },
  };
}
