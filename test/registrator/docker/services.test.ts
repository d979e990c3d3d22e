import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nanoseconds, signalNumber } from '../../../registrator/docker/container.ts';
import { type ContainerInspect, engineAddress, negotiate } from '../../../registrator/docker/engine.ts';
import {
  type ContainerOptions,
  chooseBinding,
  containerAddress,
  containerServices,
  unfitReason,
} from '../../../registrator/docker/services.ts';
import { serviceValue } from '../../../registrator/service.ts';

const options: ContainerOptions = {
  hostname: 'h1',
  ip: undefined,
  hostAddress: () => '10.0.0.7',
  internal: false,
  explicit: false,
  tags: [],
};

function container(over: Partial<ContainerInspect> = {}): ContainerInspect {
  return {
    Id: 'c1',
    Name: '/web-1',
    State: { Running: true },
    Config: { Image: 'team/web:2', Env: null, Labels: null, ExposedPorts: { '8080/tcp': {}, '9000/tcp': {} } },
    HostConfig: { NetworkMode: 'default' },
    NetworkSettings: {
      IPAddress: '172.17.0.5',
      Ports: {
        '8080/tcp': [
          { HostIp: '0.0.0.0', HostPort: '32768' },
          { HostIp: '::', HostPort: '32768' },
        ],
        '9000/tcp': null,
      },
      Networks: { bridge: { IPAddress: '172.17.0.5' } },
    },
    ...over,
  };
}

const places = (found: ContainerInspect, over: Partial<ContainerOptions> = {}, peer?: ContainerInspect): string[] =>
  containerServices(found, { ...options, ...over }, peer).map(
    (service) => `${service.name} ${service.id} ${serviceValue(service)}`,
  );

describe('published ports', () => {
  it('registers what is published, not what is only exposed', () => {
    expect(containerServices(container(), options)).toEqual([
      { id: 'h1:web-1:8080', name: 'web', ip: '10.0.0.7', port: 32768, tags: [], attrs: {}, origin: 'docker:web-1' },
    ]);
  });

  it('--ip overrides every host address', () => {
    const bound = container({ NetworkSettings: { Ports: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '81' }] } } });
    expect(places(bound)).toEqual(['web h1:web-1:80 127.0.0.1:81']);
    expect(places(bound, { ip: '1.2.3.4' })).toEqual(['web h1:web-1:80 1.2.3.4:81']);
    expect(places(container(), { ip: 'fd00::7' })).toEqual(['web h1:web-1:8080 [fd00::7]:32768']);
  });

  it('names get a suffix with several published ports, tcp and udp of one number included', () => {
    const dns = container({
      NetworkSettings: {
        Ports: { '53/udp': [{ HostIp: '', HostPort: '53' }], '53/tcp': [{ HostIp: '', HostPort: '53' }] },
      },
    });
    expect(places(dns)).toEqual(['web-53 h1:web-1:53 10.0.0.7:53', 'web-53 h1:web-1:53:udp 10.0.0.7:53']);
  });

  it('host networking publishes the exposed ports on the host', () => {
    const host = container({ HostConfig: { NetworkMode: 'host' }, NetworkSettings: { Ports: {}, Networks: {} } });
    expect(places(host)).toEqual(['web-8080 h1:web-1:8080 10.0.0.7:8080', 'web-9000 h1:web-1:9000 10.0.0.7:9000']);
    expect(places(host, { internal: true })).toEqual(places(host));
  });

  it('no network, no service', () => {
    const none = container({ HostConfig: { NetworkMode: 'none' }, NetworkSettings: { Ports: {}, Networks: {} } });
    expect(places(none)).toEqual([]);
    expect(places(none, { internal: true })).toEqual([]);
  });

  it('a shared network is reached at the other container, whatever the options', () => {
    const sidecar = container({ HostConfig: { NetworkMode: 'container:c2' }, NetworkSettings: { Ports: {} } });
    expect(places(sidecar, { ip: '1.2.3.4' }, container())).toEqual([
      'web-8080 h1:web-1:8080 172.17.0.5:8080',
      'web-9000 h1:web-1:9000 172.17.0.5:9000',
    ]);
    expect(places(sidecar)).toEqual([]);
  });
});

describe('the choice among bindings', () => {
  it('is the same in whatever order the engine lists them', () => {
    const bindings = [
      { HostIp: '::', HostPort: '80' },
      { HostIp: '127.0.0.1', HostPort: '80' },
      { HostIp: '10.0.0.9', HostPort: '82' },
      { HostIp: '10.0.0.8', HostPort: '82' },
      { HostIp: '0.0.0.0', HostPort: '' },
    ];
    fc.assert(
      fc.property(fc.shuffledSubarray(bindings, { minLength: bindings.length }), (order) => {
        expect(chooseBinding(order)).toEqual({ HostIp: '10.0.0.8', HostPort: '82' });
      }),
    );
    expect(chooseBinding([{ HostIp: '::', HostPort: '80' }])).toEqual({ HostIp: '::', HostPort: '80' });
    expect(chooseBinding([])).toBeUndefined();
  });
});

describe('internal addresses', () => {
  const networks = {
    zeta: { IPAddress: '10.9.0.2' },
    alpha: { IPAddress: '10.1.0.2', GlobalIPv6Address: 'fd00::2' },
    mid: { IPAddress: '', GlobalIPv6Address: 'fd00::3' },
  };

  it('T8: the same among several networks, in any order', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(Object.entries(networks), { minLength: 3 }), (order) => {
        const with_ = (mode: string): ContainerInspect =>
          container({ HostConfig: { NetworkMode: mode }, NetworkSettings: { Networks: Object.fromEntries(order) } });
        expect(containerAddress(with_('zeta'))).toBe('10.9.0.2');
        expect(containerAddress(with_('default'))).toBe('10.1.0.2');
        expect(containerAddress(with_('mid'))).toBe('10.1.0.2');
      }),
    );
  });

  it('falls back to IPv6', () => {
    const six = container({ NetworkSettings: { Networks: { mid: networks.mid } } });
    expect(places(six, { internal: true })).toEqual([
      'web-8080 h1:web-1:8080 [fd00::3]:8080',
      'web-9000 h1:web-1:9000 [fd00::3]:9000',
    ]);
  });
});

describe('fitness', () => {
  it.each([
    [{ Running: true }, undefined],
    [{ Running: false }, 'not running'],
    [{ Running: true, Paused: true }, 'paused'],
    [{ Running: true, Restarting: true }, 'not running'],
    [{ Running: true, Health: { Status: 'starting' } }, 'health: starting'],
    [{ Running: true, Health: { Status: 'unhealthy' } }, 'health: unhealthy'],
    [{ Running: true, Health: { Status: 'healthy' } }, undefined],
    [{ Running: true, Health: { Status: 'none' } }, undefined],
    [{ Running: true, Health: null }, undefined],
  ])('%j', (State, reason) => {
    expect(unfitReason(container({ State }))).toBe(reason);
  });
});

describe('the engine’s words', () => {
  it('reads addresses', () => {
    expect(engineAddress('unix:///run/d.sock')).toEqual({ socketPath: '/run/d.sock' });
    expect(engineAddress('/run/d.sock')).toEqual({ socketPath: '/run/d.sock' });
    expect(engineAddress('tcp://10.0.0.1:2375')).toEqual({ host: '10.0.0.1', port: 2375 });
    expect(engineAddress('tcp://[fd00::1]')).toEqual({ host: 'fd00::1', port: 2375 });
    expect(() => engineAddress('npipe:////./pipe/docker_engine')).toThrow(/not a Docker address/);
  });

  it('agrees on the version both know', () => {
    expect(negotiate('1.41')).toBe('1.41');
    expect(negotiate('1.9')).toBe('1.9');
    expect(negotiate('9.99')).toBe('1.51');
    expect(negotiate(undefined)).toBe('1.24');
    expect(negotiate('../x')).toBe('1.24');
  });

  it('reads signals and times', () => {
    expect([signalNumber('15'), signalNumber('SIGTERM'), signalNumber('quit'), signalNumber('SIGRTMIN+3')]).toEqual([
      15, 15, 3, 0,
    ]);
    const base = BigInt(Date.parse('2026-01-02T03:04:05Z')) * 1_000_000n;
    expect(nanoseconds('2026-01-02T03:04:05.000000001Z')).toBe(base + 1n);
    expect(nanoseconds('2026-01-02T03:04:05.5Z')).toBe(base + 500_000_000n);
    expect(nanoseconds('2026-01-02T05:04:05+02:00')).toBe(base);
    expect(nanoseconds('0001-01-01T00:00:00Z')).toBeLessThan(0n);
    expect(nanoseconds(undefined)).toBe(0n);
  });
});
