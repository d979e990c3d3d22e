/** What tokens are to the rest of the server, whichever kind --auth-token chooses. */
import type { RosterError } from '../../core/errors.ts';

/** Who somebody was found to be. */
export interface Identity {
  readonly user: string;
  /** The auth revision at which that was established; undefined: it has just been looked at and holds for the present one. */
  readonly revision: number | undefined;
}

export interface Tokens {
  /** Whom `token` speaks for; undefined: nobody. Calls `done` before it returns whenever it can. */
  identify(token: string, done: (identity: Identity | undefined) => void): void;
  /**
   * A new token of `user`, whose password was checked at auth revision `revision`. AuthOldRevision when that has passed
   * meanwhile.
   */
  issue(user: string, revision: number, done: (token: string | RosterError) => void): void;
  /** Begins what must be done regularly. */
  start(): void;
  close(): void;
}
