/** Line charts as SVG text: x on a logarithmic scale, y from zero. Small, and without anything a browser must load. */

export interface Series {
  readonly name: string;
  /** x ascending, above zero. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Chart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
}

const WIDTH = 560;
const HEIGHT = 320;
const LEFT = 72;
const RIGHT = 90;
const TOP = 36;
const BOTTOM = 48;
const COLORS = ['#b35900', '#0b6bcb', '#2f7d32', '#7b1fa2'];
const Y_TICKS = 4;
const LABEL_HEIGHT = 14;

export function lineChart({ title, xLabel, yLabel, series }: Chart): string {
  const xs = [...new Set(series.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
  const top = niceAbove(Math.max(0, ...series.flatMap(({ points }) => points.map(([, y]) => y))));
  const [first, last] = [xs[0] ?? 1, xs.at(-1) ?? 1];
  const across = (x: number): number =>
    first === last
      ? (LEFT + WIDTH - RIGHT) / 2
      : scaled(Math.log(x / first) / Math.log(last / first), LEFT, WIDTH - RIGHT);
  const up = (y: number): number => scaled(y / top, HEIGHT - BOTTOM, TOP);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text(WIDTH / 2, 20, title, 'middle', 'font-size="14"'),
    text(WIDTH / 2, HEIGHT - 10, xLabel, 'middle'),
    `<text transform="translate(14 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">${escaped(yLabel)}</text>`,
  ];
  for (let tick = 0; tick <= Y_TICKS; tick++) {
    const y = (top * tick) / Y_TICKS;
    parts.push(`<path d="M${LEFT} ${up(y)}H${WIDTH - RIGHT}" stroke="#ddd"/>`);
    parts.push(text(LEFT - 6, up(y) + 4, compact(y), 'end'));
  }
  for (const x of xs) parts.push(text(across(x), HEIGHT - BOTTOM + 18, compact(x), 'middle'));
  const labels = apart(series.map(({ points }) => up(points.at(-1)?.[1] ?? 0)));
  for (const [i, one] of series.entries())
    parts.push(...curve(one, COLORS[i % COLORS.length]!, labels[i]!, across, up));
  return `${[...parts, '</svg>'].join('\n')}\n`;
}

function curve(
  { name, points }: Series,
  color: string,
  labelY: number,
  across: (x: number) => number,
  up: (y: number) => number,
): string[] {
  const last = points.at(-1);
  if (last === undefined) return [];
  const at = points.map(([x, y]) => `${across(x)} ${up(y)}`);
  return [
    `<polyline points="${at.join(', ')}" fill="none" stroke="${color}" stroke-width="2"/>`,
    ...points.map(([x, y]) => `<circle cx="${across(x)}" cy="${up(y)}" r="3" fill="${color}"/>`),
    text(across(last[0]) + 8, labelY + 4, name, 'start', `fill="${color}"`),
  ];
}

/** The same heights, moved downwards where two lie on each other. */
function apart(heights: readonly number[]): number[] {
  const moved = [...heights];
  const order = heights.map((_, i) => i).sort((a, b) => heights[a]! - heights[b]!);
  for (let i = 1; i < order.length; i++)
    moved[order[i]!] = Math.max(moved[order[i]!]!, moved[order[i - 1]!]! + LABEL_HEIGHT);
  return moved;
}

function scaled(part: number, from: number, to: number): number {
  return Math.round((from + part * (to - from)) * 10) / 10;
}

/** The next 1, 2, 4 or 8 times a power of ten, so that a quarter of it is a round number. */
function niceAbove(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 8, 10].map((factor) => factor * power).find((nice) => nice >= value) ?? 10 * power;
}

function compact(value: number): string {
  const short = (divisor: number, unit: string): string => `${Number((value / divisor).toPrecision(3))}${unit}`;
  if (value >= 1e6) return short(1e6, 'M');
  if (value >= 1e4) return short(1e3, 'k');
  return String(Number(value.toPrecision(3)));
}

function text(x: number, y: number, content: string, anchor: string, more = ''): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}"${more === '' ? '' : ` ${more}`}>${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
