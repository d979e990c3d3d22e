/**
 * Whether who connects comes from a place that its certificate names (etcd: the check of the SAN field between members,
 * which --peer-skip-client-san-verification turns off). Asks the system's resolver; never longer than its limits.
 */
import { lookup, reverse } from 'node:dns/promises';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { addressBytes, plainAddress } from './ip-address.ts';

/** Names of a certificate that are looked up; those beyond do not help it. */
export const NAMES_LOOKED_UP_MAX = 32;
export const LOOKUP_TIMEOUT_MS = 5000;

export interface Resolver {
  /** The addresses of a name; rejects when there are none. */
  addressesOf(name: string): Promise<readonly string[]>;
  /** The names of an address; rejects when there are none. */
  namesOf(address: string): Promise<readonly string[]>;
}

/** With the hosts file, as Go's. */
const system: Resolver = {
  addressesOf: async (name) => (await lookup(name, { all: true })).map(({ address }) => address),
  namesOf: (address) => reverse(address),
};

/** Undefined when it comes from where it says, or does not say; otherwise the reason against it. */
export async function refusedAddress(
  remoteAddress: string,
  certificate: PeerCertificate,
  resolver: Resolver = system,
): Promise<string | undefined> {
  const names = [...(certificate.subjectaltname ?? '').matchAll(/(DNS|IP Address):([^,\s"]+)/g)];
  const hosts = names.filter(([, kind]) => kind === 'DNS').map(([, , host]) => host!);
  if (names.length === 0) return undefined;
  const remote = plainAddress(remoteAddress);
  if (checkServerIdentity(remote, certificate) === undefined) return undefined;
  const reason = `its certificate is for ${names.map(([, , name]) => name).join(', ')}, which is not where it comes from`;
  const checks = hosts.slice(0, NAMES_LOOKED_UP_MAX).map((host) => isAt(host, remote, resolver).catch(() => false));
  return (await firstTrue(checks)) ? undefined : reason;
}

async function isAt(host: string, remote: string, resolver: Resolver): Promise<boolean> {
  if (host.startsWith('*.')) {
    const suffix = host.slice(1).toLowerCase();
    return (await resolver.namesOf(remote)).some((name) => isOneLabelBefore(name.toLowerCase(), suffix));
  }
  const wanted = addressBytes(remote);
  return (await resolver.addressesOf(host)).some((address) => addressBytes(plainAddress(address)).equals(wanted));
}

function isOneLabelBefore(name: string, suffix: string): boolean {
  const label = name.replace(/\.$/, '').slice(0, -suffix.length);
  return name.replace(/\.$/, '').endsWith(suffix) && label !== '' && !label.includes('.');
}

/** The resolver's answers may take minutes; what has not come in time is no. */
function firstTrue(checks: readonly Promise<boolean>[]): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => settle(false), LOOKUP_TIMEOUT_MS);
    const settle = (yes: boolean): void => {
      clearTimeout(timer);
      resolve(yes);
    };
    for (const check of checks) {
      void check.then((yes) => {
        if (yes) settle(true);
      });
    }
    void Promise.all(checks).then(() => settle(false));
  });
}
