/**
 * What a scenario found, as text: a table, the bars with PASS or FAIL, and the conditions. The same
 * Markdown goes to the terminal and, with `--save`, into `bench/results/`.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Bar {
  readonly name: string;
  readonly isPassed: boolean;
  /** The figure, and what it had to be. */
  readonly figure: string;
}

export interface Report {
  readonly title: string;
  readonly conditions: readonly string[];
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly remarks: readonly string[];
  readonly bars: readonly Bar[];
}

const RESULTS_DIRECTORY = join(import.meta.dirname, 'results');

export function render(report: Report): string {
  const blocks = [`# ${report.title}`];
  if (report.rows.length > 0) blocks.push(renderTable(report.columns, report.rows));
  if (report.remarks.length > 0) blocks.push(renderList(report.remarks));
  if (report.bars.length > 0) blocks.push(renderList(report.bars.map(renderBar)));
  blocks.push(renderList(report.conditions));
  return `${blocks.join('\n\n')}\n`;
}

export function renderBar(bar: Bar): string {
  return `${bar.isPassed ? 'PASS' : 'FAIL'} ${bar.name}: ${bar.figure}`;
}

/** Writes `bench/results/<date>-<name>.md` and returns its path. */
export function save(report: Report, name: string, date: Date): string {
  mkdirSync(RESULTS_DIRECTORY, { recursive: true });
  const path = join(RESULTS_DIRECTORY, `${date.toISOString().slice(0, 10)}-${name}.md`);
  writeFileSync(path, render(report));
  return path;
}

/** A figure with so many decimals; a dash when there is none. */
export function figure(value: number, decimals = 1): string {
  return Number.isFinite(value) ? value.toFixed(decimals) : '-';
}

export function mebibytes(bytes: number): string {
  return figure(bytes / 1024 ** 2);
}

function renderList(lines: readonly string[]): string {
  return lines.map((line) => `- ${line}`).join('\n');
}

function renderTable(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const table = [columns, ...rows];
  const widths = columns.map((_, index) =>
    Math.max(...table.map((row) => (row[index] ?? '').length)),
  );
  const line = (row: readonly string[]) =>
    `| ${widths.map((width, index) => (row[index] ?? '').padEnd(width)).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [line(columns), rule, ...rows.map(line)].join('\n');
}
