/** A certificate authority for tests, made with the openssl command: certificates of any kind, and revocation lists. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

export interface Leaf {
  readonly cert: string;
  readonly key: string;
}

export interface LeafOptions {
  /** `IP:127.0.0.1,DNS:localhost` */
  readonly names?: string;
  readonly usage?: string;
  /** `YYYYMMDDHHMMSSZ` */
  readonly start?: string;
  readonly end?: string;
}

const CONFIG = `[ca]
default_ca = x
[x]
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = p
unique_subject = no
[p]
commonName = supplied
[req]
distinguished_name = d
[d]
`;

export class Authority {
  readonly cert: string;
  readonly #folder: string;

  constructor(name: string) {
    this.#folder = mkdtempSync(join(tmpdir(), 'roster-authority-'));
    for (const [file, text] of [
      ['openssl.cnf', CONFIG],
      ['index.txt', ''],
      ['serial', '1000\n'],
      ['crlnumber', '01\n'],
    ] as const) {
      writeFileSync(join(this.#folder, file), text);
    }
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'ca.key'];
    const extensions = [
      '-addext',
      'basicConstraints=critical,CA:TRUE',
      '-addext',
      'keyUsage=critical,keyCertSign,cRLSign',
    ];
    const request = ['req', '-config', 'openssl.cnf', '-x509', '-days', '30', '-subj', `/CN=${name}`, '-out', 'ca.pem'];
    this.#run([...request, ...key, ...extensions]);
    this.cert = this.#read('ca.pem');
  }

  issue(commonName: string, options: LeafOptions = {}): Leaf {
    const { names = 'IP:127.0.0.1,DNS:localhost', usage = 'serverAuth,clientAuth', start, end } = options;
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'leaf.key'];
    this.#run(['req', '-config', 'openssl.cnf', '-subj', `/CN=${commonName}`, '-out', 'leaf.csr', ...key]);
    writeFileSync(join(this.#folder, 'leaf.ext'), `subjectAltName=${names}\nextendedKeyUsage=${usage}\n`);
    const dates = [
      ...(start === undefined ? [] : ['-startdate', start]),
      ...(end === undefined ? [] : ['-enddate', end]),
    ];
    const sign = ['ca', '-batch', '-config', 'openssl.cnf', '-in', 'leaf.csr', '-out', 'leaf.pem', '-notext'];
    this.#run([...sign, '-extfile', 'leaf.ext', ...dates]);
    return { cert: this.#read('leaf.pem'), key: this.#read('leaf.key') };
  }

  /** PEM of the list with this certificate, and those before it, revoked. */
  revoke(leaf?: Leaf): string {
    if (leaf !== undefined) {
      writeFileSync(join(this.#folder, 'revoked.pem'), leaf.cert);
      this.#run(['ca', '-config', 'openssl.cnf', '-revoke', 'revoked.pem']);
    }
    this.#run(['ca', '-config', 'openssl.cnf', '-gencrl', '-out', 'crl.pem']);
    return this.#read('crl.pem');
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #run(args: string[]): void {
    execFileSync('openssl', args, { cwd: this.#folder, stdio: 'pipe' });
  }

  #read(file: string): string {
    return readFileSync(join(this.#folder, file), 'utf8');
  }
}

/** A folder for files of one test. */
export class TlsFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'roster-tls-'));

  /** The path of a file with this text. */
  write(name: string, text: string | Buffer): string {
    const path = join(this.path, name);
    mkdirSync(this.path, { recursive: true });
    writeFileSync(path, text);
    return path;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
