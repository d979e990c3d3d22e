/** Asks for a secret on the terminal, without showing it. Where there is no terminal it says so instead of waiting. */
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { CommandError, Exit, type Io } from './context.ts';

const silent = () => new Writable({ write: (_chunk, _encoding, done) => done() });

/** What is typed until the end of the line. Rejects with a CommandError where nobody can type. */
export function askSecret(io: Io, question: string): Promise<string> {
  if ((io.stdin as { isTTY?: boolean }).isTTY !== true) {
    const why = 'failed to ask password: standard input is no terminal (give user:password, or --interactive=false)';
    return Promise.reject(new CommandError(why, Exit.BAD_ARGUMENTS));
  }
  io.stderr.write(question);
  const reader = createInterface({ input: io.stdin, output: silent(), terminal: true });
  return new Promise((resolve, reject) => {
    let answered = false;
    reader.once('line', (line) => {
      answered = true;
      reader.close();
      resolve(line);
    });
    reader.once('close', () => {
      io.stderr.write('\n');
      if (!answered) reject(new CommandError('no password was given', Exit.INTERRUPTED));
    });
    reader.once('SIGINT', () => reader.close());
  });
}

/** A new password, asked for twice. */
export async function askNewPassword(io: Io, user: string): Promise<string> {
  const first = await askSecret(io, `Password of ${user}: `);
  if (first === '') throw new CommandError('empty password', Exit.BAD_ARGUMENTS);
  const second = await askSecret(io, `Type password of ${user} again for confirmation: `);
  if (first !== second) throw new CommandError('given passwords are different', Exit.BAD_ARGUMENTS);
  return first;
}
