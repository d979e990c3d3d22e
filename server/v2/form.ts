/**
 * Query and form body as Go's net/http reads them: both together, the body's values first, bytes rather than characters.
 * Owns the syntax; knows no parameter.
 */
import type { ByteString } from '../../core/util/bytes.ts';

/** What cannot be read; the text is Go's. */
export class FormError {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** The first value of each name. */
export type Form = ReadonlyMap<string, ByteString>;

/** `query` and `body` (undefined: there is none) as they came, a character for each byte. */
export function readForm(query: string, body: string | undefined): Form | FormError {
  const form = new Map<string, ByteString>();
  const wrong = (body === undefined ? undefined : readInto(form, body)) ?? readInto(form, query);
  return wrong ?? form;
}

function readInto(form: Map<string, ByteString>, text: string): FormError | undefined {
  if (text === '') return undefined;
  for (const pair of text.split('&')) {
    if (pair === '') continue;
    if (pair.includes(';')) return new FormError('invalid semicolon separator in query');
    const at = pair.indexOf('=');
    const name = unescaped(at < 0 ? pair : pair.slice(0, at));
    if (name instanceof FormError) return name;
    const value = at < 0 ? '' : unescaped(pair.slice(at + 1));
    if (value instanceof FormError) return value;
    if (!form.has(name)) form.set(name, value);
  }
  return undefined;
}

function unescaped(text: string): ByteString | FormError {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text;
  return unescapedPath(spaced);
}

/** Each `%xx` as its byte. */
export function unescapedPath(text: string): ByteString | FormError {
  if (!text.includes('%')) return text;
  const wrong = /%(?![0-9A-Fa-f]{2})/.exec(text);
  if (wrong !== null) {
    return new FormError(`invalid URL escape ${JSON.stringify(text.slice(wrong.index, wrong.index + 3))}`);
  }
  return text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
