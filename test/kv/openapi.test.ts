import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GATEWAY_PATHS } from '../../server/http/gateway-paths.ts';
import { openApiDocument } from '../../server/kv/openapi.ts';
import { PARAMETERS, type Use } from '../../server/kv/parameters.ts';
import { TestMember } from '../auth/member.ts';
import { send } from './door.ts';

type Json = { [name: string]: Json } & { $ref?: string; properties?: Json };
interface Operation {
  operationId?: string;
  parameters?: { name: string; in: string; description?: string }[];
  responses: Record<string, { description: string; content?: Record<string, { schema: object }> }>;
}

let member: TestMember;
let document: { openapi: string; info: object; paths: Record<string, Record<string, Operation>>; components: Json };
beforeAll(async () => {
  member = await TestMember.start();
  const response = await send(member.url, '/openapi.json');
  expect(response.headers['content-type']).toBe('application/json');
  document = response.json as unknown as typeof document;
});
afterAll(() => member.stop());

function* within(value: unknown): Generator<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) yield value as Record<string, unknown>;
  for (const each of Object.values(value)) yield* within(each);
}

const operations = () =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    ['get', 'head', 'put', 'post', 'delete']
      .filter((method) => method in item)
      .map((method) => ({ path, method, ...item[method]! })),
  );

describe('/openapi.json', () => {
  it('is OpenAPI 3.1, every reference in it leads somewhere, every operation is complete', () => {
    expect(document.openapi).toMatch(/^3\.1\.\d$/);
    expect(document.info).toMatchObject({ title: expect.any(String), version: expect.any(String) });
    let references = 0;
    for (const { $ref } of within(document)) {
      if (typeof $ref !== 'string') continue;
      references++;
      expect($ref).toMatch(/^#\/components\/schemas\//);
      const schemas = (document.components as { schemas: Json }).schemas;
      expect(Object.keys(schemas)).toContain($ref.slice('#/components/schemas/'.length));
    }
    expect(references).toBeGreaterThan(10);
    const ids = operations().flatMap(({ operationId }) => operationId ?? []);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, method, parameters = [], responses } of operations()) {
      const where = `${method} ${path}`;
      expect(Object.keys(responses).length, where).toBeGreaterThan(0);
      for (const [status, { description }] of Object.entries(responses)) {
        expect(status, where).toMatch(/^(?:default|[1-5]\d\d)$/);
        expect(description, where).toBeTruthy();
      }
      for (const parameter of parameters) {
        expect(parameter, where).toMatchObject({ in: expect.stringMatching(/^(?:query|path|header)$/), schema: {} });
      }
      const named = parameters.map((each) => `${each.in} ${each.name}`);
      expect(new Set(named).size, where).toBe(named.length);
    }
    // What is in braces is a parameter of the path.
    for (const [path, item] of Object.entries(document.paths)) {
      const inPath = ((item as unknown as Operation).parameters ?? []).filter((each) => each.in === 'path');
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/g) ?? []);
    }
  });

  it('has every parameter where it means something, and no other', () => {
    const uses: Record<string, Use[]> = {
      get: ['read', 'list', 'children', 'watch'],
      head: ['read'],
      put: ['put'],
      delete: ['delete', 'delete-prefix'],
    };
    for (const [method, of] of Object.entries(uses)) {
      const said = document.paths['/kv/{key}']![method]!.parameters!.filter((each) => each.in === 'query');
      const meant = PARAMETERS.filter((each) => each.uses.some((use) => of.includes(use)));
      expect(said.map(({ name }) => name)).toEqual(meant.map(({ name }) => name));
    }
  });

  it('names paths that are there', async () => {
    for (const path of ['/health', '/livez', '/readyz', '/kv/']) expect(document.paths).toHaveProperty([path, 'get']);
    for (const [path] of GATEWAY_PATHS) expect(document.paths).toHaveProperty([path, 'post']);
    for (const { path, method } of operations()) {
      const { status } = await send(member.url, path.replace('{key}', 'k'), {
        method: method === 'get' ? 'GET' : 'OPTIONS',
      });
      expect([404, 405].includes(status) && path !== '/kv/{key}', `${method} ${path}`).toBe(false);
    }
    const without = openApiDocument({ gateway: false }) as unknown as typeof document;
    expect(Object.keys(without.paths).filter((path) => path.startsWith('/v3/'))).toEqual([]);
  });

  it('says what answers look like', async () => {
    const { schemas } = document.components as unknown as {
      schemas: Record<string, { properties: object; required: string[] }>;
    };
    const fits = (name: string, answer: object) => {
      const { properties, required } = schemas[name]!;
      expect(Object.keys(properties), name).toEqual(expect.arrayContaining(Object.keys(answer)));
      expect(Object.keys(answer), name).toEqual(expect.arrayContaining(required));
    };
    const ask = async (path: string, method = 'GET', headers = {}) =>
      (await send(member.url, path, { method, headers })).json;
    fits('Put', await ask('/kv/d/k%ff?prev&ttl=500', 'PUT'));
    fits('Put', await ask('/kv/d/k', 'PUT'));
    const list = (await ask('/kv/d?prefix&limit=1')) as { kvs: object[] };
    fits('List', list);
    fits('Pair', list.kvs[0]!);
    const children = (await ask('/kv/?children')) as { children: object[] };
    fits('Children', children);
    fits('Child', children.children[0]!);
    fits('Child', ((await ask('/kv/d?children')) as { children: object[] }).children[1]!);
    fits('Error', await ask('/kv/d/k', 'PUT', { 'If-None-Match': '*' }));
    fits('Error', await ask('/kv/none'));
    fits('Deleted', await ask('/kv/d/k?prev', 'DELETE'));
  });
});
