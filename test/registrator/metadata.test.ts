import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isOn, nameService, portMetadata, splitTags } from '../../registrator/metadata.ts';
import type { Protocol } from '../../registrator/service.ts';

function named(
  env: string[],
  labels: Record<string, string> = {},
  over: { port?: number; protocol?: Protocol; severalPorts?: boolean; explicit?: boolean; extraTags?: string[] } = {},
) {
  const { port = 80, protocol = 'tcp', severalPorts = false, explicit = false, extraTags = [] } = over;
  return nameService(portMetadata(env, labels, port, protocol), port, protocol, {
    hostname: 'h1',
    unit: 'web-1',
    defaultName: 'nginx',
    explicit,
    severalPorts,
    extraTags,
  });
}

describe('names', () => {
  it.each([
    ['the image, when nothing is set', [], {}, false, 'nginx'],
    ['SERVICE_NAME', ['SERVICE_NAME=web'], {}, false, 'web'],
    ['an empty SERVICE_NAME counts as none', ['SERVICE_NAME='], {}, false, 'nginx'],
    ['the port key over the general one', ['SERVICE_80_NAME=http', 'SERVICE_NAME=web'], {}, false, 'http'],
    ['a key for another port does not count', ['SERVICE_443_NAME=https'], {}, false, 'nginx'],
    ['a label over the environment', ['SERVICE_NAME=env'], { SERVICE_NAME: 'label' }, false, 'label'],
    ['a port key in the environment over a general label', ['SERVICE_80_NAME=p'], { SERVICE_NAME: 'l' }, false, 'p'],
    ['suffix with several ports', ['SERVICE_NAME=web'], {}, true, 'web-80'],
    ['suffix on the image name', [], {}, true, 'nginx-80'],
    ['no suffix on a port-specific name', ['SERVICE_80_NAME=web'], {}, true, 'web'],
    ['no suffix on a port-and-protocol name', ['SERVICE_80_TCP_NAME=web'], {}, true, 'web'],
    ['the prefix is case-sensitive', ['service_name=web'], {}, false, 'nginx'],
    ['the rest is not', ['SERVICE_Name=web'], {}, false, 'web'],
    ['values keep their equal signs', ['SERVICE_NAME=a=b'], {}, false, 'a=b'],
  ])('%s', (_what, env, labels, severalPorts, name) => {
    expect(named(env, labels as Record<string, string>, { severalPorts })?.name).toBe(name);
  });

  it('explicit registers only what has a name', () => {
    expect(named([], {}, { explicit: true })).toBeUndefined();
    expect(named(['SERVICE_NAME=web'], {}, { explicit: true })?.name).toBe('web');
    expect(named(['SERVICE_80_NAME=web'], {}, { explicit: true })?.name).toBe('web');
  });
});

describe('protocols', () => {
  it('tells tcp/53 from udp/53', () => {
    const env = ['SERVICE_53_NAME=dns', 'SERVICE_53_UDP_NAME=dns-udp', 'SERVICE_53_tcp_TAGS=t'];
    expect(named(env, {}, { port: 53, protocol: 'udp' })).toEqual({
      name: 'dns-udp',
      id: 'h1:web-1:53:udp',
      tags: ['udp'],
      attrs: {},
    });
    expect(named(env, {}, { port: 53 })).toEqual({ name: 'dns', id: 'h1:web-1:53', tags: ['t'], attrs: {} });
  });

  it('a protocol key in the environment beats a port label', () => {
    expect(named(['SERVICE_80_TCP_NAME=a'], { SERVICE_80_NAME: 'b' })?.name).toBe('a');
  });
});

describe('ids, tags, attributes', () => {
  it('SERVICE_ID is taken as it is', () => {
    expect(named(['SERVICE_ID=x:y'])?.id).toBe('x:y');
    expect(named(['SERVICE_ID=x', 'SERVICE_80_ID=z'])?.id).toBe('z');
    expect(named(['SERVICE_ID='])?.id).toBe('h1:web-1:80');
  });

  it('port tags replace general ones; the agent adds its own, and udp', () => {
    const env = ['SERVICE_TAGS=a,b', 'SERVICE_80_TAGS=c'];
    expect(named(env, {}, { extraTags: ['x'] })?.tags).toEqual(['c', 'x']);
    expect(named(env, {}, { port: 81, protocol: 'udp', extraTags: ['x'] })?.tags).toEqual(['a', 'b', 'x', 'udp']);
  });

  it('everything else is an attribute in lower case', () => {
    const env = ['SERVICE_REGION=eu', 'SERVICE_80_Check_HTTP=/up', 'SERVICE_IGNORE=false', 'SERVICE_=x', 'PATH=/bin'];
    expect(named(env)?.attrs).toEqual({ region: 'eu', check_http: '/up' });
  });

  it.each([
    ['', []],
    ['a', ['a']],
    ['a,b', ['a', 'b']],
    [',a,,b,', ['a', 'b']],
    ['a\\,b,c', ['a,b', 'c']],
    ['a\\b', ['a\\b']],
    ['\\,', [',']],
    [' a , b', [' a ', ' b']],
  ])('splits tags %j', (text, tags) => {
    expect(splitTags(text)).toEqual(tags);
  });

  it('any tags without backslashes survive escaping', () => {
    const tag = fc.string({ minLength: 1 }).filter((text) => !text.includes('\\'));
    fc.assert(
      fc.property(fc.array(tag), (tags) => {
        expect(splitTags(tags.map((text) => text.replaceAll(',', '\\,')).join(','))).toEqual(tags);
      }),
    );
  });
});

describe('SERVICE_IGNORE', () => {
  it.each(['1', 'true', 'yes', 'TRUE', 'ignore me', '2'])('%j ignores', (value) => {
    expect(named([`SERVICE_IGNORE=${value}`])).toBeUndefined();
    expect(named([`SERVICE_80_IGNORE=${value}`])).toBeUndefined();
    expect(named([`SERVICE_81_IGNORE=${value}`])).toBeDefined();
  });

  it.each(['', 'false', '0', 'no', 'OFF', ' False ', 'n', 'f'])('%j does not', (value) => {
    expect(isOn(value)).toBe(false);
    expect(named([`SERVICE_IGNORE=${value}`])).toBeDefined();
  });

  it('one port can be kept', () => {
    expect(named(['SERVICE_IGNORE=true', 'SERVICE_80_IGNORE=false'])).toBeDefined();
  });
});

describe('precedence as a model', () => {
  const levels = ['SERVICE_X', 'SERVICE_80_X', 'SERVICE_80_TCP_X'];

  it('the most specific level wins, and within it the label', () => {
    const offer = fc.record({
      level: fc.integer({ min: 0, max: 2 }),
      label: fc.boolean(),
      value: fc.string({ minLength: 1 }),
    });
    fc.assert(
      fc.property(
        fc.uniqueArray(offer, { minLength: 1, selector: ({ level, label }) => `${level}${label}` }),
        (offers) => {
          const env = offers.filter(({ label }) => !label).map(({ level, value }) => `${levels[level]}=${value}`);
          const labels = Object.fromEntries(
            offers.filter(({ label }) => label).map(({ level, value }) => [levels[level], value]),
          );
          const best = offers.reduce((a, b) => (b.level * 2 + Number(b.label) > a.level * 2 + Number(a.label) ? b : a));
          const metadata = portMetadata(env, labels, 80, 'tcp');
          expect(metadata.values.get('x')).toBe(best.value);
          expect(metadata.fromPort.has('x')).toBe(best.level > 0);
        },
      ),
    );
  });
});
