/** Processes that run seeds side by side. Owns them from start to end; knows nothing of what a run is. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Outcome, Task } from './seed-run.ts';

const WORKER = fileURLToPath(new URL('./worker.js', import.meta.url));
/** A run that takes longer than this will never end. */
const RUN_MS_MAX = 180_000;

interface Waiting {
  task: Task;
  done: (outcome: Outcome) => void;
  isAgain?: boolean;
}

export class Workers {
  readonly #canary: string | undefined;
  readonly #idle: ChildProcess[] = [];
  readonly #all = new Set<ChildProcess>();
  readonly #waiting: Waiting[] = [];

  /** With `canary`, they run code with that bug in it. */
  constructor(count: number, canary?: string) {
    this.#canary = canary;
    for (let i = 0; i < count; i++) this.#spawn();
  }

  #spawn(): void {
    const child = fork(WORKER, this.#canary === undefined ? [] : [this.#canary], { stdio: ['ignore', 1, 2, 'ipc'] });
    this.#all.add(child);
    this.#idle.push(child);
  }

  /** Resolves with what came of it, also when the process has died of it. */
  run(task: Task): Promise<Outcome> {
    return new Promise((resolve) => {
      this.#waiting.push({ task, done: resolve });
      this.#next();
    });
  }

  #next(): void {
    const child = this.#waiting.length > 0 ? this.#idle.pop() : undefined;
    if (child === undefined) return;
    const waiting = this.#waiting.shift()!;
    const { task, done } = waiting;
    const over = () => {
      clearTimeout(timer);
      child.off('exit', onExit);
      child.off('message', onMessage);
    };
    const onMessage = (outcome: Outcome) => {
      over();
      this.#idle.push(child);
      done(outcome);
      this.#next();
    };
    /** Whatever happened to the process may not be the run's fault: it gets another one, once. */
    const lost = (message: string) => {
      over();
      child.kill('SIGKILL');
      this.#all.delete(child);
      this.#spawn();
      if (waiting.isAgain === true) done({ seed: task.seed, ok: false, checker: 'error', message });
      else this.#waiting.unshift({ ...waiting, isAgain: true });
      this.#next();
    };
    const onExit = (code: number | null, signal: string | null) => lost(`the process ended with ${code ?? signal}`);
    const timer = setTimeout(() => lost('the run does not end'), RUN_MS_MAX);
    child.on('exit', onExit);
    child.on('message', onMessage);
    child.send(task);
  }

  close(): void {
    for (const child of this.#all) child.kill();
    this.#all.clear();
  }
}
