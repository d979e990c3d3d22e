/**
 * One call while auth may be on: who makes it, and whether it may. Owns the way from metadata to a user, and that a
 * refusal by a state that has passed is never the last word. What a call needs is in access-table.ts.
 */
import { entryRefusal } from '../../core/auth/needs.ts';
import type { Permit } from '../../core/auth/permit.ts';
import { RosterError, rosterError } from '../../core/errors.ts';
import type { ApplyResult } from '../../core/node/machine.ts';
import type { ProposedRequest } from '../../core/node/node.ts';
import { bytesEqual } from '../../core/util/bytes.ts';
import type { Identity } from '../security/tokens.ts';
import type { Rule } from './access-table.ts';
import type { RpcContext } from './context.ts';
import type { Admission, CallContext, CheckDone } from './service.ts';

/** How often a request is put into the log again because auth has changed since its caller was identified. */
export const AUTH_CHANGED_RETRIES_MAX = 8;

const BEARER = 'Bearer ';

/** A user at the time of a check, and the hash that it could log in with then. */
interface Session {
  readonly user: string;
  readonly password: Uint8Array;
}

export class CallAdmission implements Admission {
  decided = false;
  readonly #context: RpcContext;
  readonly #call: CallContext;
  readonly #rule: Rule;
  #session: Session | undefined;

  constructor(context: RpcContext, call: CallContext, rule: Rule) {
    this.#context = context;
    this.#call = call;
    this.#rule = rule;
  }

  check(request: object, done: CheckDone): void {
    this.#withPermit((permit) => done(this.#decide(permit, (known) => this.#rule.need(known, request, this.#leases))));
  }

  checkConfirmed(request: object, done: CheckDone): void {
    this.check(request, (refusal) => {
      if (refusal === undefined) return done(undefined);
      this.#context.node.linearizableRead((error) => (error === undefined ? this.check(request, done) : done(error)));
    });
  }

  checkAnswer(response: object, done: CheckDone): void {
    const { answer } = this.#rule;
    if (answer === undefined) {
      done(undefined);
      return;
    }
    this.#withPermit((permit) => done(this.#decide(permit, (known) => answer(known, response, this.#leases))));
  }

  stillMay(request: object, done: CheckDone): void {
    const { auth } = this.#context.machine;
    const session = this.#session;
    // Auth was off then: nobody has asked who it is.
    if (!auth.enabled || session === undefined) {
      this.check(request, done);
      return;
    }
    if (!this.#isValid(session)) {
      done(rosterError('InvalidAuthToken'));
      return;
    }
    done(this.#rule.need(auth.permit(session.user)!, request, this.#leases));
  }

  propose(request: ProposedRequest, done: (result: ApplyResult) => void): void {
    this.#propose(request, done, AUTH_CHANGED_RETRIES_MAX, false);
  }

  /** `confirmed`: this member has everything that was acknowledged before. */
  #propose(request: ProposedRequest, done: (result: ApplyResult) => void, retries: number, confirmed: boolean): void {
    this.#identify((who) => {
      const { node, machine } = this.#context;
      const { auth } = machine;
      const stamped = who instanceof RosterError || who === undefined ? request : this.#stamped(request, who);
      const refusal = !auth.enabled
        ? undefined
        : who instanceof RosterError
          ? who
          : entryRefusal(auth, stamped, machine.lessor);
      if (refusal !== undefined) {
        if (confirmed) return done(refusal);
        node.linearizableRead((error) =>
          error === undefined ? this.#propose(request, done, retries, true) : done(error),
        );
        return;
      }
      this.decided = true;
      node.propose(stamped, (result) => {
        // Nothing has happened. A token that only says who somebody is says so still, if it does.
        const passed = result instanceof RosterError && result.code === 'AuthOldRevision';
        const again = passed && !(who instanceof RosterError) && who?.revision === undefined && retries > 0;
        if (again) this.#propose(request, done, retries - 1, false);
        else done(result);
      });
    });
  }

  #stamped(request: ProposedRequest, { user, revision }: Identity): ProposedRequest {
    const auth_revision = revision ?? this.#context.machine.auth.revision;
    return { ...request, requester: { user, auth_revision, internal: false } };
  }

  // ---- who

  get #leases() {
    return this.#context.machine.lessor;
  }

  /** Undefined: auth is off. */
  #decide(
    permit: Permit | RosterError | undefined,
    need: (permit: Permit) => RosterError | undefined,
  ): RosterError | undefined {
    const refusal = permit === undefined ? undefined : permit instanceof RosterError ? permit : need(permit);
    if (refusal === undefined) this.decided = true;
    return refusal;
  }

  /** By the state in force when `done` is called, which decides without waiting for anything. */
  #withPermit(done: (permit: Permit | RosterError | undefined) => void): void {
    const { auth } = this.#context.machine;
    if (!auth.enabled) {
      done(undefined);
      return;
    }
    const session = this.#session;
    if (this.#rule.bound && session !== undefined && this.#isValid(session)) {
      done(auth.permit(session.user));
      return;
    }
    this.#identify((who) => {
      if (!auth.enabled) done(undefined);
      else done(who instanceof RosterError ? who : this.#permitOf(who));
    });
  }

  #permitOf(who: Identity | undefined): Permit | RosterError {
    const { auth } = this.#context.machine;
    if (who === undefined || who.user === '') return rosterError('UserEmpty');
    if (who.revision !== undefined && who.revision < auth.revision) return rosterError('AuthOldRevision');
    const permit = auth.permit(who.user);
    if (permit === undefined) return rosterError('PermissionDenied');
    this.#session = { user: who.user, password: auth.user(who.user)!.password };
    return permit;
  }

  /** The user has been there all the time, with the same password. */
  #isValid({ user, password }: Session): boolean {
    const known = this.#context.machine.auth.user(user);
    return known !== undefined && bytesEqual(known.password, password);
  }

  /** A token goes before a certificate; one that is given must be good. */
  #identify(done: (who: Identity | undefined | RosterError) => void): void {
    const token = this.#call.metadata('token') ?? this.#call.metadata('authorization');
    if (token === undefined) {
      const user = this.#call.commonName;
      done(user === undefined || user === '' ? undefined : { user, revision: undefined });
      return;
    }
    const bare = token.startsWith(BEARER) ? token.slice(BEARER.length) : token;
    this.#context.security.tokens.identify(bare, (identity) => done(identity ?? rosterError('InvalidAuthToken')));
  }
}
