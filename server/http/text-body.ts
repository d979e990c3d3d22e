/** The body of an answer that is made piece by piece, under the reader's flow control. Knows nothing of what is in it. */

/** Pieces a body may hold for a reader that is behind, before whoever writes is told to wait. */
export const BODY_PIECES_MAX = 64;
/** The same in bytes. */
export const BODY_BYTES_MAX = 1024 * 1024;

export class TextBody {
  readonly stream: ReadableStream<Uint8Array>;
  /** There is room again, after a {@link write} that returned false. */
  onDrain: () => void = () => {};
  /** The reader has gone; nothing more is called. */
  onLeave: () => void = () => {};
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #full = false;
  #over = false;

  constructor() {
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => {
          if (!this.#full) return;
          this.#full = false;
          this.onDrain();
        },
        cancel: () => {
          if (this.#over) return;
          this.#over = true;
          this.onLeave();
        },
      },
      // A short piece counts as much as its share of the bytes would: that bounds both.
      { highWaterMark: BODY_BYTES_MAX, size: (piece) => Math.max(piece!.length, BODY_BYTES_MAX / BODY_PIECES_MAX) },
    );
  }

  /** Whether the reader has yet to take what is there, and more must wait. */
  get full(): boolean {
    return this.#full;
  }

  /** False: taken, but there is no room for more until {@link onDrain}. */
  write(text: string): boolean {
    if (this.#over || text === '') return true;
    this.#controller.enqueue(Buffer.from(text, 'utf8'));
    this.#full = (this.#controller.desiredSize ?? 0) <= 0;
    return !this.#full;
  }

  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#controller.close();
  }

  /** Breaks off, so that the reader sees that the body is not whole. */
  breakOff(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#controller.error(error);
  }
}
