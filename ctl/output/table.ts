/** The tables of `-w table`: a frame of dashes, headings in capitals, cells to the right. */

/** Words of a longer cell go to further lines. */
const CELL_WIDTH_MAX = 30;

/** The lines of a table. Cells are text of one line. */
export function tableLines(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const titles = head.map((title) => title.replaceAll('_', ' ').toUpperCase());
  const cells = rows.map((row) => row.map(wrapped));
  const widths = titles.map((title, i) =>
    Math.max(title.length, ...cells.flatMap((row) => row[i]!.map((line) => line.length))),
  );
  const rule = `+${widths.map((width) => '-'.repeat(width + 2)).join('+')}+`;
  const lines = [rule, framed(titles.map((title, i) => centred(title, widths[i]!))), rule];
  for (const row of cells) {
    const height = Math.max(...row.map((cell) => cell.length));
    for (let line = 0; line < height; line++) {
      lines.push(framed(row.map((cell, i) => (cell[line] ?? '').padStart(widths[i]!))));
    }
  }
  if (rows.length > 0) lines.push(rule);
  return lines;
}

const framed = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

function centred(text: string, width: number): string {
  const left = Math.floor((width - text.length) / 2);
  return text.padStart(text.length + left).padEnd(width);
}

function wrapped(cell: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of cell.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > CELL_WIDTH_MAX) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
