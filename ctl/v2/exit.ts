/** How the v2 verbs end: etcdctl's exit codes of API 2, and its errors, which have two spaces after the colon. */
import { CommandError } from '../context.ts';

export const Exit2 = {
  OK: 0,
  BAD_ARGUMENTS: 1,
  BAD_CONNECTION: 2,
  BAD_AUTH: 3,
  SERVER_ERROR: 4,
  UNHEALTHY: 5,
} as const;

/** An error told as etcdctl tells it. */
export const failure = (message: string, exitCode: number): CommandError => new CommandError(` ${message}`, exitCode);
export const badArguments = (message: string): CommandError => failure(message, Exit2.BAD_ARGUMENTS);
