/** A promise that was broken, as a checker puts it. */

export class Violation extends Error {
  override name = 'Violation';
  /** The checker. */
  readonly checker: string;

  constructor(checker: string, text: string, options?: ErrorOptions) {
    super(`${checker}: ${text}`, options);
    this.checker = checker;
  }
}

/** Throws a Violation unless `condition` holds. */
export function check(condition: boolean, checker: string, text: () => string): asserts condition {
  if (!condition) throw new Violation(checker, text());
}
