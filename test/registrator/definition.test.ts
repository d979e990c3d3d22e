import { describe, expect, it } from 'vitest';
import { FILE_SERVICES_MAX, parseDefinitions } from '../../registrator/definition.ts';

const toml = `
[[service]]
name = "db"
ip = "10.0.0.5"
port = 5432
tags = ["primary"]
attrs = { zone = "a", weight = 3, spare = false }
check = { tcp = true, interval = "250ms", timeout = 1000, rise = 2, fall = 3 }
`;
const expected = [
  {
    name: 'db',
    ip: '10.0.0.5',
    port: 5432,
    tags: ['primary'],
    attrs: { zone: 'a', weight: '3', spare: 'false' },
    check: { tcp: true, interval: 250, timeout: 1000, rise: 2, fall: 3 },
  },
];

describe('service definition files', () => {
  it('means the same in TOML, YAML and JSON', () => {
    expect(parseDefinitions('a.toml', toml)).toEqual(expected);
    const yaml = `
service:
  - name: db
    ip: 10.0.0.5
    port: 5432
    tags: [primary]
    attrs: { zone: a, weight: 3, spare: false }
    check: { tcp: true, interval: 250ms, timeout: 1000, rise: 2, fall: 3 }
`;
    expect(parseDefinitions('a.yaml', yaml)).toEqual(expected);
    expect(parseDefinitions('a.yml', yaml)).toEqual(expected);
    const json = { service: [{ ...expected[0], check: { ...expected[0]!.check, interval: '0.25s' } }] };
    expect(parseDefinitions('a.json', JSON.stringify(json))).toEqual(expected);
  });

  const one = (fields: object): string => JSON.stringify({ service: [{ name: 'a', port: 1, ...fields }] });
  it.each([
    ['a missing port', JSON.stringify({ service: [{ name: 'a' }] }), /^service\[0\]\.port: /],
    ['a port out of range', one({ port: 65536 }), /^service\[0\]\.port: /],
    ['a name with a slash', one({ name: 'a/b' }), /^service\[0\]\.name: expected text without "\/"/],
    ['an empty name', one({ name: '' }), /^service\[0\]\.name: /],
    ['a name for an address', one({ ip: 'db.local' }), /^service\[0\]\.ip: expected an IPv4 or IPv6 address/],
    ['both ip and address', one({ ip: '::1', address: '::1' }), /^service\[0\]: "ip" and "address"/],
    ['a misspelt field', one({ chekc: {} }), /^service\[0\]: .*chekc/],
    ['a check of no kind', one({ check: { interval: '1s' } }), /^service\[0\]\.check: expected exactly one/],
    ['a check of two kinds', one({ check: { tcp: true, http: '/' } }), /^service\[0\]\.check: expected exactly one/],
    [
      'too short an interval',
      one({ check: { tcp: true, interval: 99 } }),
      /^service\[0\]\.check\.interval: expected 100/,
    ],
    ['no duration', one({ check: { tcp: true, timeout: '1 hour' } }), /^service\[0\]\.check\.timeout: expected 10 /],
    ['a relative health path', one({ check: { http: 'health' } }), /^service\[0\]\.check\.http: expected a path/],
    ['no services', '{}', /^service: /],
    ['no object', '3', /^\(file\): /],
    ['no JSON', '{', /^not readable: /],
  ])('%s is refused by name', (_what, text, message) => {
    expect(() => parseDefinitions('a.json', text)).toThrow(message);
  });

  it('names every fault at once, and the line of broken TOML', () => {
    expect(() => parseDefinitions('a.json', one({ port: 0, ip: 'x' }))).toThrow(
      /service\[0\]\.ip: .*\n.*service\[0\]\.port: |service\[0\]\.port: .*\n.*service\[0\]\.ip: /s,
    );
    expect(() => parseDefinitions('a.toml', '[[service]\nname=1')).toThrow(/not readable: .*TOML/s);
  });

  it('accepts the shortest interval, and as many services as allowed', () => {
    expect(parseDefinitions('a.json', one({ check: { tcp: '[::1]:80', interval: 100 } }))[0]!.check!.interval).toBe(
      100,
    );
    const many = (count: number): string =>
      JSON.stringify({ service: Array.from({ length: count }, (_, i) => ({ name: 'a', port: i + 1 })) });
    expect(parseDefinitions('a.json', many(FILE_SERVICES_MAX))).toHaveLength(FILE_SERVICES_MAX);
    expect(() => parseDefinitions('a.json', many(FILE_SERVICES_MAX + 1))).toThrow(/^service: /);
  });
});
