import type { networkInterfaces } from 'node:os';
import { describe, expect, it } from 'vitest';
import { hostAddress } from '../../registrator/address.ts';
import { DesiredState } from '../../registrator/desired.ts';
import { silentLog } from '../../registrator/log.ts';
import {
  imageName,
  isIdOfHost,
  normalPrefix,
  type Service,
  serviceKey,
  serviceValue,
} from '../../registrator/service.ts';

const web: Service = { id: 'h:web:80', name: 'web', ip: '10.0.0.1', port: 80, tags: [], attrs: {}, origin: 'test' };

describe('keys and values', () => {
  it('lays keys out as registrator does', () => {
    for (const prefix of ['/services', 'services/', '/services/', 'services']) {
      expect(serviceKey(normalPrefix(prefix), web)).toBe('/services/web/h:web:80');
    }
    expect(serviceKey(normalPrefix('/'), web)).toBe('/web/h:web:80');
    expect(serviceValue(web)).toBe('10.0.0.1:80');
    expect(serviceValue({ ip: 'fd00::1', port: 80 })).toBe('[fd00::1]:80');
  });

  it.each([
    ['nginx', 'nginx'],
    ['nginx:1.27', 'nginx'],
    ['registry:5000/team/nginx:1', 'nginx'],
    ['team/nginx@sha256:0123', 'nginx'],
  ])('image %s -> %s', (image, name) => {
    expect(imageName(image)).toBe(name);
  });

  it.each([
    ['h:web:80', true],
    ['h:web:80:udp', true],
    ['h2:web:80', false],
    ['h:web', false],
    ['h:web:x', false],
    ['h:a:b:80', false],
    ['custom', false],
  ])('id %s is of host h: %s', (id, expected) => {
    expect(isIdOfHost(id, 'h')).toBe(expected);
  });
});

describe('the host address', () => {
  const entry = (address: string, internal = false, family = 'IPv4') => [{ address, internal, family }];
  const detect = (interfaces: Record<string, object[]>): string =>
    hostAddress(interfaces as ReturnType<typeof networkInterfaces>);

  it('is the first IPv4 of a real interface', () => {
    expect(
      detect({
        lo: entry('127.0.0.1', true),
        docker0: entry('172.17.0.1'),
        eth0: entry('10.0.0.7'),
        eth1: entry('10.1.0.7'),
      }),
    ).toBe('10.0.0.7');
  });

  it('falls back to a bridge, then to loopback', () => {
    expect(detect({ docker0: entry('172.17.0.1') })).toBe('172.17.0.1');
    expect(detect({ lo: entry('127.0.0.1', true), eth0: entry('fe80::1', false, 'IPv6') })).toBe('127.0.0.1');
    expect(detect({ eth0: entry('169.254.3.3') })).toBe('127.0.0.1');
  });
});

describe('the desired state', () => {
  it('gives a contested key to the first group, then to the next', () => {
    const warnings: string[] = [];
    const log = { ...silentLog, warn: (_fields: object, message: string) => void warnings.push(message) };
    const state = new DesiredState('/s', log);
    let changes = 0;
    state.onChange(() => changes++);
    state.set('a', [web]);
    state.set('b', [{ ...web, ip: '10.0.0.2' }]);
    expect([...state.services().values()].map((service) => service.ip)).toEqual(['10.0.0.1']);
    state.services();
    expect(warnings).toHaveLength(1);
    state.set('a', []);
    expect([...state.services().values()].map((service) => service.ip)).toEqual(['10.0.0.2']);
    expect(changes).toBe(3);
  });

  it('a report that changes nothing is no change', () => {
    const state = new DesiredState('/s', silentLog);
    let changes = 0;
    state.onChange(() => changes++);
    state.set('a', []);
    state.set('a', [web]);
    state.set('a', [{ ...web }]);
    expect(changes).toBe(1);
  });
});
