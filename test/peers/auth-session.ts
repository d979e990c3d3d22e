/**
 * Who is logged in on the two servers, and as whom an operation is sent: the tokens each server gave, and the
 * administrator's, which stays good whatever is done to users and roles. Sends nothing but logins.
 */
import type * as m from '../../core/wire/messages.ts';
import { methodOf } from './auth-methods.ts';
import type { Caller, UnaryOperation } from './operations.ts';
import type { Answer, Side } from './side.ts';

/** Its password is its name, always. */
const ADMINISTRATOR = 'root';

/** What every token of the administrator's may be ended by, where it succeeds. */
const ENDS_TOKENS: ReadonlySet<string> = new Set<UnaryOperation['op']>(['authEnable', 'userChangePassword']);

export class AuthSession {
  /** Auth is turned on. */
  on = false;
  /** There may be users and roles. */
  touched = false;
  readonly #sides: readonly Side[];
  readonly #administrator = new Map<Side, string>();
  /** By server and user, the last one last. */
  readonly #tokens = new Map<Side, Map<string, string[]>>();

  constructor(sides: readonly Side[]) {
    this.#sides = sides;
  }

  /** The token with which `caller` asks; undefined: none. */
  token(side: Side, caller: Caller | undefined): string | undefined {
    if (caller === undefined) return this.on ? this.#administrator.get(side) : undefined;
    if (caller === 'nobody') return undefined;
    if ('raw' in caller) return caller.raw;
    return this.#tokens
      .get(side)
      ?.get(caller.user)
      ?.at(caller.token === 'last' ? -1 : -2);
  }

  /** Whether what both servers have just accepted ends watches, or may: they are opened again then. */
  async accepted(op: UnaryOperation['op'], request: object, answers: readonly object[]): Promise<boolean> {
    this.touched ||= op.startsWith('user') || op.startsWith('role');
    if (op === 'authenticate') {
      const { name } = request as m.AuthenticateRequest;
      for (const [index, side] of this.#sides.entries()) {
        this.#keep(side, name, (answers[index] as m.AuthenticateResponse).token);
      }
    }
    if (op === 'authDisable') {
      const was = this.on;
      this.on = false;
      return was;
    }
    if (op === 'authEnable') this.on = true;
    const whose = op === 'userChangePassword' ? (request as m.AuthUserChangePasswordRequest).name : ADMINISTRATOR;
    if (!this.on || !ENDS_TOKENS.has(op) || whose !== ADMINISTRATOR) return false;
    for (const side of this.#sides) this.#administrator.set(side, await this.#login(side));
    return true;
  }

  /** Nobody is logged in any more. */
  forget(): void {
    this.#tokens.clear();
    this.touched = false;
  }

  #keep(side: Side, user: string, token: string): void {
    const ofSide = this.#tokens.get(side) ?? new Map<string, string[]>();
    this.#tokens.set(side, ofSide);
    ofSide.set(user, [...(ofSide.get(user) ?? []), token]);
  }

  async #login(side: Side): Promise<string> {
    const request = { name: ADMINISTRATOR, password: ADMINISTRATOR };
    const answer = (await side.call('grpc', methodOf('authenticate'), request)) as Answer<m.AuthenticateResponse>;
    if ('message' in answer) return answer.message.token;
    throw new Error(`${side.name} does not let the administrator in: ${answer.refusal.text}`);
  }
}
