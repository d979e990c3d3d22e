/** A unified diff of two texts, for --noop. Pure. */

/** Lines around a change. */
const CONTEXT_LINES = 3;
/** Table cells beyond which the changed middle is shown as one replacement. */
export const DIFF_CELLS_MAX = 4_000_000;

type Edit = { sign: ' ' | '-' | '+'; line: string };

function toLines(text: string): string[] {
  if (text === '') return [];
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  else lines.push(`${lines.pop()}\n\\ No newline at end of file`);
  return lines;
}

/** Longest common subsequence of what is left between the common head and tail. */
function middleEdits(before: readonly string[], after: readonly string[]): Edit[] {
  const removed = (line: string): Edit => ({ sign: '-', line });
  const added = (line: string): Edit => ({ sign: '+', line });
  const width = after.length + 1;
  if (before.length * after.length > DIFF_CELLS_MAX) return [...before.map(removed), ...after.map(added)];
  const common = new Uint32Array((before.length + 1) * width);
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      common[i * width + j] =
        before[i] === after[j]
          ? common[(i + 1) * width + j + 1]! + 1
          : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
    }
  }
  const edits: Edit[] = [];
  let i = 0;
  let j = 0;
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      edits.push({ sign: ' ', line: before[i]! });
      i++;
      j++;
    } else if (j >= after.length || (i < before.length && common[(i + 1) * width + j]! >= common[i * width + j + 1]!)) {
      edits.push(removed(before[i++]!));
    } else edits.push(added(after[j++]!));
  }
  return edits;
}

function allEdits(before: readonly string[], after: readonly string[]): Edit[] {
  const shortest = Math.min(before.length, after.length);
  let head = 0;
  while (head < shortest && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < shortest - head && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  const same = (line: string): Edit => ({ sign: ' ', line });
  return [
    ...before.slice(0, head).map(same),
    ...middleEdits(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...before.slice(before.length - tail).map(same),
  ];
}

function place(start: number, length: number): string {
  return length === 1 ? `${start + 1}` : `${length === 0 ? start : start + 1},${length}`;
}

/** `--- a`, `+++ b` and hunks, as `diff -u` prints them; '' when the texts are equal. */
export function unifiedDiff(before: string, after: string, beforeName: string, afterName: string): string {
  if (before === after) return '';
  const edits = allEdits(toLines(before), toLines(after));
  const changed = edits.flatMap((edit, index) => (edit.sign === ' ' ? [] : [index]));
  const hunks: [number, number][] = [];
  for (const index of changed) {
    const last = hunks.at(-1);
    if (last !== undefined && index - last[1] <= 2 * CONTEXT_LINES) last[1] = index;
    else hunks.push([index, index]);
  }
  let text = `--- ${beforeName}\n+++ ${afterName}\n`;
  for (const [first, last] of hunks) {
    const from = Math.max(0, first - CONTEXT_LINES);
    const part = edits.slice(from, last + CONTEXT_LINES + 1);
    const ahead = edits.slice(0, from);
    const count = (list: readonly Edit[], sign: '-' | '+') => list.filter((edit) => edit.sign !== sign).length;
    text += `@@ -${place(count(ahead, '+'), count(part, '+'))} +${place(count(ahead, '-'), count(part, '-'))} @@\n`;
    for (const { sign, line } of part) text += `${sign}${line}\n`;
  }
  return text;
}
