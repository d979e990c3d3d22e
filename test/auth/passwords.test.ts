import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { RosterError } from '../../core/errors.ts';
import {
  FAILURE_INTERVAL_MS,
  FAILURES_AT_ONCE_MAX,
  FAILURES_REMEMBERED_MAX,
  LOGINS_PER_ADDRESS_MAX,
  LoginGate,
} from '../../server/security/login-gate.ts';
import { isSame, WorkerPasswords } from '../../server/security/passwords.ts';
import { bytes, text } from '../apply/harness.ts';

let passwords: WorkerPasswords | undefined;
afterEach(() => passwords?.close());

function made(jobsMax?: number): WorkerPasswords {
  passwords = new WorkerPasswords(4, jobsMax);
  return passwords;
}
const hash = (on: WorkerPasswords, password: string) =>
  new Promise<Uint8Array | RosterError>((resolve) => {
    on.hash(password, resolve);
  });
const compare = (on: WorkerPasswords, password: string, stored?: Uint8Array) =>
  new Promise<boolean | RosterError>((resolve) => {
    on.compare(password, stored, resolve);
  });

describe('passwords', () => {
  it('become hashes as etcd has them, each another one', async () => {
    const on = made();
    const [one, two] = [(await hash(on, 'pässword')) as Uint8Array, (await hash(on, 'pässword')) as Uint8Array];
    expect(text(one)).toMatch(/^\$2a\$04\$[./A-Za-z0-9]{53}$/);
    expect(text(two)).not.toBe(text(one));
    expect([await compare(on, 'pässword', one), await compare(on, 'password', one)]).toEqual([true, false]);
    expect(await compare(on, '', (await hash(on, '')) as Uint8Array)).toBe(true);
    expect(await compare(on, '', one)).toBe(false);
    expect(await compare(on, 'a\0b', (await hash(on, 'a\0c')) as Uint8Array), 'behind a zero, too').toBe(false);
  });

  it('are known by hashes that other programs made', async () => {
    const on = made();
    // From the test suite of golang.org/x/crypto/bcrypt, which etcd uses, and of OpenBSD.
    expect(await compare(on, 'allmine', bytes('$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga'))).toBe(
      true,
    );
    expect(await compare(on, 'U*U', bytes('$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'))).toBe(true);
    expect(await compare(on, 'U*U*', bytes('$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'))).toBe(
      false,
    );
  });

  it('match nothing that is no hash', async () => {
    const on = made();
    for (const stored of [
      undefined,
      bytes(''),
      bytes('x'),
      bytes('$2a$04$'),
      bytes('$9a$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'),
    ]) {
      expect(await compare(on, '', stored)).toBe(false);
    }
    expect([isSame('', ''), isSame('a', 'b'), isSame('a', 'a'), isSame('ab', 'a')]).toEqual([
      false,
      false,
      true,
      false,
    ]);
  });

  it('wait in a queue with an end', async () => {
    const on = made(3);
    const answers = await Promise.all(Array.from({ length: 4 }, () => compare(on, 'x')));
    expect(answers.map((answer) => (answer instanceof RosterError ? answer.code : answer))).toEqual([
      false,
      false,
      false,
      'RequestTooManyRequests',
    ]);
    expect(await compare(on, 'x'), 'there is room again').toBe(false);
  });

  it('are not looked at any more when the server stops', async () => {
    const on = made();
    const waiting = compare(on, 'x');
    await on.close();
    expect([await waiting, await compare(on, 'x')]).toMatchObject([{ code: 'Stopped' }, { code: 'Stopped' }]);
  });

  it('are in no thread of the requests', () => {
    const source = readFileSync(new URL('../../server/security/passwords.ts', import.meta.url), 'utf8');
    const outside = source.replace(/const THREAD = `[\s\S]*?`;/, '');
    expect(outside).not.toMatch(/hashSync|compareSync/);
  });
});

describe('the gate before passwords', () => {
  it('lets fail a few at once, then one now and then, each user and address apart', () => {
    let ms = 0;
    const gate = new LoginGate({ nowMs: () => ms });
    const attempt = (remote: string, user: string, failed = true) => {
      if (!gate.enter(remote, user)) return false;
      gate.leave(remote, user, failed);
      return true;
    };
    for (let i = 0; i < FAILURES_AT_ONCE_MAX; i++) expect(attempt(`1.2.3.4:${i}`, 'u')).toBe(true);
    expect(attempt('1.2.3.4:99', 'u')).toBe(false);
    expect(attempt('1.2.3.4:99', 'v')).toBe(true);
    expect(attempt('[::1]:99', 'u')).toBe(true);
    ms += FAILURE_INTERVAL_MS;
    expect([attempt('1.2.3.4:1', 'u'), attempt('1.2.3.4:1', 'u')]).toEqual([true, false]);
    for (let i = 0; i < 100; i++) expect(attempt('9.9.9.9', 'u', false), 'who knows the password').toBe(true);
  });

  it('bounds what one address has under way', () => {
    const gate = new LoginGate({ nowMs: () => 0 });
    for (let i = 0; i < LOGINS_PER_ADDRESS_MAX; i++) expect(gate.enter('1.2.3.4:5', `u${i}`)).toBe(true);
    expect([gate.enter('1.2.3.4:6', 'v'), gate.enter('1.2.3.5:6', 'v')]).toEqual([false, true]);
    gate.leave('1.2.3.4:5', 'u0', false);
    expect(gate.enter('1.2.3.4:6', 'v')).toBe(true);
  });

  it('forgets the oldest failures of too many', () => {
    const gate = new LoginGate({ nowMs: () => 0 });
    const fail = (user: string) => {
      if (!gate.enter('a', user)) return false;
      gate.leave('a', user, true);
      return true;
    };
    for (let i = 0; i < FAILURES_AT_ONCE_MAX; i++) fail('first');
    expect(fail('first')).toBe(false);
    for (let i = 0; i < FAILURES_REMEMBERED_MAX; i++) fail(`u${i}`);
    expect(fail('first')).toBe(true);
  });
});
