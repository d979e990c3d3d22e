/** The two demo services of `roster dev`: child processes that can be stopped and started again on the same port. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface DemoService {
  readonly name: string;
  readonly port: number;
  /** Undefined while it is stopped. */
  readonly pid: number | undefined;
}

const script = fileURLToPath(new URL('./demo-service.js', import.meta.url));

export class DemoServices {
  readonly #services = new Map<string, { port: number; child: ChildProcess | undefined }>();
  readonly #onExit: (name: string) => void;
  #closing = false;

  /** `onExit`: a service has ended, whoever ended it. */
  constructor(onExit: (name: string) => void) {
    this.#onExit = onExit;
  }

  list(): DemoService[] {
    return [...this.#services].map(([name, { port, child }]) => ({ name, port, pid: child?.pid }));
  }

  /** Starts a service, on the port it had before if it ran before. Resolves when it listens. */
  async start(name: string): Promise<void> {
    const before = this.#services.get(name);
    if (before?.child !== undefined) return;
    const child = fork(script, {
      env: { ...process.env, DEMO_NAME: name, DEMO_PORT: String(before?.port ?? 0) },
      // Standard input stays ours: keys pressed are for `roster dev`.
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    child.once('exit', () => {
      const service = this.#services.get(name);
      if (service?.child === child) service.child = undefined;
      if (!this.#closing) this.#onExit(name);
    });
    const port = await new Promise<number>((resolve, reject) => {
      child.once('message', (message: { port: number }) => resolve(message.port));
      child.once('exit', () => reject(new Error(`demo service ${name} did not start`)));
    });
    this.#services.set(name, { port, child });
  }

  stop(name: string): void {
    this.#services.get(name)?.child?.kill('SIGTERM');
  }

  async close(): Promise<void> {
    this.#closing = true;
    const running = [...this.#services.values()].flatMap(({ child }) => (child === undefined ? [] : [child]));
    await Promise.all(
      running.map((child) => {
        const gone = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGKILL');
        return gone;
      }),
    );
  }
}
