/**
 * Globs with the semantics of Go's path.Match, which confd's `gets` and `getvs` promise: `*` and `?` never cross a
 * slash, `[a-z]` and `[^a-z]` are classes, a backslash escapes. Compiles once, matches without backtracking over more
 * than one star (so no pattern is slow). Never touches a file system.
 */

type Token =
  | { kind: 'star' }
  | { kind: 'any' }
  | { kind: 'literal'; char: string }
  | { kind: 'class'; negated: boolean; ranges: readonly (readonly [number, number])[] };
type Step = Exclude<Token, { kind: 'star' }>;
/** A run of single-character steps, with or without a star before it. */
interface Chunk {
  star: boolean;
  steps: readonly Step[];
}

/** One path segment of a glob: its exact text, or a test. */
export type SegmentMatch = string | ((name: string) => boolean);

/** A compiled pattern. */
export interface Glob {
  readonly pattern: string;
  /** The leading segments without any special character, as a path: `/a/b` for `/a/b/*`, '' for `/*`. */
  readonly directory: string;
  /** How each segment after `directory` is matched; undefined when a class could match a slash. */
  readonly segments: readonly SegmentMatch[] | undefined;
  match(path: string): boolean;
}

/** The pattern is malformed (Go's ErrBadPattern). */
export class BadPatternError extends Error {
  override name = 'BadPatternError';
  constructor(pattern: string) {
    super(`syntax error in pattern ${JSON.stringify(pattern)}`);
  }
}

function parseClass(chars: readonly string[], from: number, pattern: string): { token: Token; next: number } {
  let at = from;
  const negated = chars[at] === '^';
  if (negated) at++;
  const ranges: [number, number][] = [];
  const one = (): number => {
    const char = chars[at];
    if (char === undefined || char === '-' || char === ']') throw new BadPatternError(pattern);
    if (char === '\\') at++;
    const literal = chars[at++];
    if (literal === undefined || at >= chars.length) throw new BadPatternError(pattern);
    return literal.codePointAt(0)!;
  };
  for (;;) {
    if (chars[at] === ']' && ranges.length > 0) return { token: { kind: 'class', negated, ranges }, next: at + 1 };
    const low = one();
    let high = low;
    if (chars[at] === '-') {
      at++;
      high = one();
    }
    ranges.push([low, high]);
  }
}

function tokenize(pattern: string): Token[] {
  const chars = [...pattern];
  const tokens: Token[] = [];
  for (let at = 0; at < chars.length; ) {
    const char = chars[at++]!;
    if (char === '*') {
      if (tokens.at(-1)?.kind !== 'star') tokens.push({ kind: 'star' });
    } else if (char === '?') tokens.push({ kind: 'any' });
    else if (char === '[') {
      const { token, next } = parseClass(chars, at, pattern);
      tokens.push(token);
      at = next;
    } else if (char === '\\') {
      const literal = chars[at++];
      if (literal === undefined) throw new BadPatternError(pattern);
      tokens.push({ kind: 'literal', char: literal });
    } else tokens.push({ kind: 'literal', char });
  }
  return tokens;
}

function toChunks(tokens: readonly Token[]): Chunk[] {
  const chunks: Chunk[] = [];
  let steps: Step[] = [];
  let star = false;
  for (const token of tokens) {
    if (token.kind === 'star') {
      if (star || steps.length > 0) chunks.push({ star, steps });
      star = true;
      steps = [];
    } else steps.push(token);
  }
  if (star || steps.length > 0) chunks.push({ star, steps });
  return chunks;
}

function widthAt(text: string, at: number): number {
  return text.codePointAt(at)! > 0xffff ? 2 : 1;
}

/** The place in `text` after all steps matched from `at`, or -1. */
function matchSteps(steps: readonly Step[], text: string, at: number): number {
  let place = at;
  for (const step of steps) {
    if (place >= text.length) return -1;
    if (step.kind === 'literal') {
      if (!text.startsWith(step.char, place)) return -1;
      place += step.char.length;
      continue;
    }
    const code = text.codePointAt(place)!;
    if (step.kind === 'any') {
      if (code === 0x2f) return -1;
    } else if (step.ranges.some(([low, high]) => low <= code && code <= high) === step.negated) return -1;
    place += code > 0xffff ? 2 : 1;
  }
  return place;
}

/** Go's algorithm: each chunk takes the earliest place a star allows, and is never reconsidered. */
function matchChunks(chunks: readonly Chunk[], text: string): boolean {
  let place = 0;
  for (let i = 0; i < chunks.length; i++) {
    const { star, steps } = chunks[i]!;
    const last = i === chunks.length - 1;
    if (star && steps.length === 0) return !text.includes('/', place);
    let end = matchSteps(steps, text, place);
    let found = end >= 0 && (!last || end === text.length);
    for (let at = place; star && !found && at < text.length && text[at] !== '/'; ) {
      at += widthAt(text, at);
      end = matchSteps(steps, text, at);
      found = end >= 0 && (!last || end === text.length);
    }
    if (!found) return false;
    place = end;
  }
  return place === text.length;
}

function splitSegments(tokens: readonly Token[]): Token[][] {
  const segments: Token[][] = [[]];
  for (const token of tokens) {
    if (token.kind === 'literal' && token.char === '/') segments.push([]);
    else segments.at(-1)!.push(token);
  }
  return segments;
}

function literalText(tokens: readonly Token[]): string | undefined {
  let text = '';
  for (const token of tokens) {
    if (token.kind !== 'literal') return undefined;
    text += token.char;
  }
  return text;
}

/** Compiled patterns kept; beyond that the cache starts anew. */
export const GLOB_CACHE_MAX = 4_096;
const cache = new Map<string, Glob>();

/** Compiles (or recalls) a pattern; throws {@link BadPatternError}. */
export function compileGlob(pattern: string): Glob {
  const known = cache.get(pattern);
  if (known !== undefined) return known;
  const tokens = tokenize(pattern);
  const chunks = toChunks(tokens);
  const parts = splitSegments(tokens);
  // parts[0] is what stands before the first slash: empty for an absolute pattern.
  let literal = 1;
  let directory = '';
  while (literal < parts.length - 1) {
    const text = literalText(parts[literal]!);
    if (text === undefined) break;
    directory += `/${text}`;
    literal++;
  }
  const segments = tokens.some((token) => token.kind === 'class')
    ? undefined
    : parts.slice(literal).map((part): SegmentMatch => {
        const text = literalText(part);
        if (text !== undefined) return text;
        const own = toChunks(part);
        return (name) => matchChunks(own, name);
      });
  const glob: Glob = { pattern, directory, segments, match: (path) => matchChunks(chunks, path) };
  if (cache.size >= GLOB_CACHE_MAX) cache.clear();
  cache.set(pattern, glob);
  return glob;
}
