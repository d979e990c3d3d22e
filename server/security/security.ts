/** What the server needs to know who is calling: tokens, passwords, and word of every change of auth. Owns their life. */
import type { StateMachine } from '../../core/apply/state-machine.ts';
import type { Node } from '../../core/node/node.ts';
import { BCRYPT_COST } from './bcrypt-cost.ts';
import type { JwtOptions } from './jwt-tokens.ts';
import { JwtTokens } from './jwt-tokens.ts';
import { LoginGate } from './login-gate.ts';
import { type Passwords, WorkerPasswords } from './passwords.ts';
import { SIMPLE_TOKEN_TTL_SECONDS, SimpleTokens } from './simple-tokens.ts';
import type { Tokens } from './tokens.ts';

export interface SecurityOptions {
  readonly node: Pick<Node, 'propose' | 'linearizableRead' | 'status'>;
  readonly machine: Pick<StateMachine, 'auth' | 'appliedIndex'>;
  /** See --auth-token; simple ones when absent. */
  readonly authToken?: 'simple' | JwtOptions;
  /** See --auth-token-ttl; etcd's default when absent. */
  readonly tokenTtlSeconds?: number;
  /** See --bcrypt-cost; etcd's default when absent. */
  readonly bcryptCost?: number;
  /** In place of a thread of its own. */
  readonly passwords?: Passwords;
  /** A password was wrong, or its user unknown. For the log, which is never told the password. */
  readonly onLoginFailed?: (user: string, remote: string) => void;
  /** Monotonic. */
  readonly clock?: { nowMs(): number };
}

const monotonic = { nowMs: () => performance.now() };

export class Security {
  readonly tokens: Tokens;
  readonly passwords: Passwords;
  readonly gate: LoginGate;
  readonly onLoginFailed: (user: string, remote: string) => void;
  readonly #listeners = new Set<() => void>();

  constructor(options: SecurityOptions) {
    const { node, machine, authToken = 'simple', clock = monotonic } = options;
    const ttlSeconds = options.tokenTtlSeconds ?? SIMPLE_TOKEN_TTL_SECONDS;
    this.tokens =
      authToken === 'simple' ? new SimpleTokens({ node, machine, ttlSeconds, clock }) : new JwtTokens(authToken);
    this.passwords = options.passwords ?? new WorkerPasswords(options.bcryptCost ?? BCRYPT_COST);
    this.gate = new LoginGate(clock);
    this.onLoginFailed = options.onLoginFailed ?? (() => {});
    machine.auth.onChange = () => {
      for (const listener of [...this.#listeners]) listener();
    };
  }

  /** Runs `listener` right after every change of users, roles or the switch, until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  start(): void {
    this.tokens.start();
  }

  async close(): Promise<void> {
    this.tokens.close();
    await this.passwords.close();
  }
}
