/**
 * Files of `ETCD_NAME="..."` lines, such as /etc/etcd/etcd.conf and /etc/default/etcd, read as systemd's EnvironmentFile
 * reads them; `export` before a name is taken too, since shells read these files as well. Expands nothing.
 */
import { UsageError } from './flag-table.ts';

export interface FileVariable {
  readonly name: string;
  readonly value: string;
  /** Counted from 1. */
  readonly line: number;
}

/** In the order of the file. `path` is for the errors. Throws UsageError with path and line. */
export function parseEnvironmentFile(content: string, path: string): FileVariable[] {
  const variables: FileVariable[] = [];
  const text = content.replaceAll('\r\n', '\n');
  let at = 0;
  while (at < text.length) {
    const end = lineEnd(text, at);
    const line = text.slice(at, end);
    if (/^\s*(?:[#;].*)?$/.test(line)) {
      at = end + 1;
      continue;
    }
    const begun = /^\s*(?:export\s+)?([A-Za-z_]\w*)=/.exec(line);
    const number = lineNumber(text, at);
    if (begun === null) throw new UsageError(`${path}:${number}: ${JSON.stringify(line)} must be NAME=value`);
    const read = readValue(text, at + begun[0].length);
    if (read === undefined) throw new UsageError(`${path}:${number}: the quote in ${begun[1]} is not closed`);
    variables.push({ name: begun[1]!, value: read.value, line: number });
    at = read.end + 1;
  }
  return variables;
}

/** From right behind the `=` to the end of the line, or of the line a quote or a backslash makes it end in. */
function readValue(text: string, begin: number): { value: string; end: number } | undefined {
  let value = '';
  /** Spaces from here on belong to the value only if something follows. */
  let kept = 0;
  let at = begin;
  while (at < text.length && text[at] !== '\n') {
    const char = text[at]!;
    if (char === '"' || char === "'") {
      const quoted = char === '"' ? doubleQuoted(text, at + 1) : singleQuoted(text, at + 1);
      if (quoted === undefined) return undefined;
      value += quoted.value;
      kept = value.length;
      at = quoted.end;
      // What follows a quote after a space can only be a comment (systemd would take it for part of the value).
      if (/^[ \t]+#/.test(text.slice(at, lineEnd(text, at)))) return { value, end: lineEnd(text, at) };
    } else if (char === '\\' && at + 1 < text.length) {
      if (text[at + 1] !== '\n') value += text[at + 1];
      kept = value.length;
      at += 2;
    } else {
      if (char !== ' ' && char !== '\t') kept = value.length + 1;
      // Spaces before the value are none of it.
      if (kept > 0) value += char;
      at++;
    }
  }
  return { value: value.slice(0, kept), end: at };
}

function singleQuoted(text: string, begin: number): { value: string; end: number } | undefined {
  const end = text.indexOf("'", begin);
  return end < 0 ? undefined : { value: text.slice(begin, end), end: end + 1 };
}

/** A backslash counts before the characters a shell would care for, and joins lines; elsewhere it is itself. */
function doubleQuoted(text: string, begin: number): { value: string; end: number } | undefined {
  let value = '';
  for (let at = begin; at < text.length; at++) {
    const char = text[at]!;
    if (char === '"') return { value, end: at + 1 };
    const next = text[at + 1];
    if (char !== '\\' || next === undefined || !'"\\`$\n'.includes(next)) value += char;
    else {
      if (next !== '\n') value += next;
      at++;
    }
  }
  return undefined;
}

function lineEnd(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end < 0 ? text.length : end;
}

function lineNumber(text: string, at: number): number {
  return text.slice(0, at).split('\n').length;
}
