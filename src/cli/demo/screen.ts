/**
 * Where the demo writes. On a terminal the last lines are a block that is drawn over and over while
 * something is going on. Elsewhere (a pipe, a file, a dumb terminal) there is no such thing; then a
 * plain line comes now and then.
 */

import { clip, colorPaint, INDENT, type Paint, plainPaint } from './text.ts';

const HIDE_CURSOR = '\x1b[?25l';
const SHOW_CURSOR = '\x1b[?25h';
const CLEAR_BELOW = '\x1b[0J';
const COLUMNS = 80;
const PLAIN_INTERVAL_MS = 2_000;

export interface Live {
  /** For a terminal. */
  readonly block: readonly string[];
  /** For everything else. */
  readonly line: string;
}

export class Screen implements Disposable {
  readonly paint: Paint;
  readonly isLive: boolean;
  readonly hasColor: boolean;
  private readonly output: NodeJS.WriteStream;
  private drawnLines = 0;
  private lastPlainAt = 0;
  private readonly showCursor = () => this.output.write(SHOW_CURSOR);

  constructor(
    output: NodeJS.WriteStream,
    environment: Readonly<Record<string, string | undefined>>,
  ) {
    this.output = output;
    this.isLive = output.isTTY === true && environment.TERM !== 'dumb';
    this.hasColor = this.isLive && (environment.NO_COLOR ?? '') === '';
    this.paint = this.hasColor ? colorPaint : plainPaint;
  }

  /** Writes lines that stay; the block, if there is one, ends above them. */
  print(...lines: readonly string[]): void {
    this.erase();
    this.output.write(lines.map((line) => `${indented(line)}\n`).join(''));
  }

  /** Says what is going on until something else is written. */
  announce(text: string): void {
    if (this.isLive) this.draw([text]);
    else this.print(text);
  }

  /** Shows how things are at this moment. */
  show(makeLive: () => Live): void {
    if (this.isLive) {
      this.draw(makeLive().block);
      return;
    }
    const now = performance.now();
    if (now - this.lastPlainAt < PLAIN_INTERVAL_MS) return;
    this.lastPlainAt = now;
    this.output.write(`${indented(makeLive().line)}\n`);
  }

  /** Takes the block away, and gives the cursor back. */
  erase(): void {
    this.lastPlainAt = performance.now();
    if (this.drawnLines === 0) return;
    this.output.write(`${this.toBlockStart()}${CLEAR_BELOW}${SHOW_CURSOR}`);
    this.drawnLines = 0;
    process.off('exit', this.showCursor);
  }

  [Symbol.dispose](): void {
    this.erase();
  }

  private draw(lines: readonly string[]): void {
    if (this.drawnLines === 0) {
      this.output.write(HIDE_CURSOR);
      process.once('exit', this.showCursor);
    }
    const width = (this.output.columns ?? COLUMNS) - 1;
    const text = lines.map((line) => `\x1b[2K${clip(indented(line), width)}\n`).join('');
    this.output.write(this.toBlockStart() + text);
    this.drawnLines = lines.length;
  }

  private toBlockStart(): string {
    return this.drawnLines === 0 ? '' : `\x1b[${this.drawnLines}A`;
  }
}

function indented(line: string): string {
  return line === '' ? '' : INDENT + line;
}
