/** A line that says how far something is, drawn over and over on standard error; nothing where that is no terminal. */
import type { Writable } from 'node:stream';
import { humanBytes } from './text.ts';

const WIDTH = 30;
const REDRAW_MS = 100;

export class ProgressBar {
  readonly #out: (Writable & { isTTY?: boolean }) | undefined;
  readonly #label: string;
  #drawnAt = 0;
  #drawn = false;

  constructor(out: Writable & { isTTY?: boolean }, label: string) {
    this.#out = out.isTTY === true ? out : undefined;
    this.#label = label;
  }

  /** `done` of `total`, in octets unless `unit` spells them. */
  show(done: number, total: number, unit: (value: number) => string = humanBytes): void {
    const now = performance.now();
    if (this.#out === undefined || (done < total && now - this.#drawnAt < REDRAW_MS)) return;
    this.#drawnAt = now;
    this.#drawn = true;
    const share = total === 0 ? 1 : Math.min(done / total, 1);
    const full = Math.round(share * WIDTH);
    const bar = `${'='.repeat(full)}${' '.repeat(WIDTH - full)}`;
    this.#out.write(`\r${this.#label} [${bar}] ${Math.floor(share * 100)}% ${unit(done)} of ${unit(total)}\x1b[K`);
  }

  /** Takes the line away. */
  end(): void {
    if (this.#drawn) this.#out!.write('\r\x1b[K');
  }
}
