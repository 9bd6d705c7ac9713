/** Words and numbers for people: alignment, units, and colours for those whose terminal has them. */

/** Everything fits in an 80-column terminal. */
export const TEXT_WIDTH = 76;
export const INDENT = '  ';

const COLORS = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

export type Color = keyof typeof COLORS;
export type Paint = (color: Color, text: string) => string;

export const plainPaint: Paint = (_color, text) => text;
export const colorPaint: Paint = (color, text) => `\x1b[${COLORS[color]}m${text}\x1b[0m`;

/** 12,345 */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString('en-US');
}

/** `1 client`, `2 clients` */
export function formatNumber(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

/** Three digits at least, never more than are measured: 0.42, 4.21, 42.1, 421. */
export function formatMs(ms: number): string {
  if (ms >= 100) return formatCount(ms);
  return ms.toFixed(ms >= 10 ? 1 : 2);
}

export function formatSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

export function formatPercent(part: number, whole: number): string {
  if (whole === 0) return '0 %';
  const percent = (part / whole) * 100;
  return `${percent >= 10 || percent === 0 ? Math.round(percent) : percent.toFixed(1)} %`;
}

export function formatMegabytes(bytes: number): string {
  return `${formatCount(bytes / 1024 / 1024)} MiB`;
}

/** Cuts a line, which may hold colours, so that a terminal of `width` columns does not wrap it. */
export function clip(line: string, width: number): string {
  let seen = 0;
  let clipped = '';
  for (const [piece, color] of line.matchAll(ESCAPE_OR_CHARACTER)) {
    if (color === undefined && ++seen > width) continue;
    clipped += piece;
  }
  return clipped;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours begin with one.
const ESCAPE_OR_CHARACTER = /(\x1b\[\d+m)|./gu;

/** Lines of at most `width` characters, broken between words. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return line === '' ? lines : [...lines, line];
}
