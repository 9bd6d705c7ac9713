/** The summary: from what was measured to lines of text. Pure. */

import { pinText } from '../../observe/log-text.ts';
import type { Percentiles } from './messages.ts';
import { BANK, LIMITS, WAVES } from './plan.ts';
import type { RunResult } from './run.ts';
import {
  type Color,
  formatCount,
  formatMegabytes,
  formatMs,
  formatNumber,
  formatPercent,
  formatSeconds,
  type Paint,
  TEXT_WIDTH,
  wrap,
} from './text.ts';
import { bankProblems, type Findings, problemsOf } from './verdict.ts';

const NUMBER_WIDTH = 18;
const LABEL_WIDTH = TEXT_WIDTH - 2 * NUMBER_WIDTH;
const MS_WIDTH = 8;
const MS_GAP = '    ';
const MS_LABEL_WIDTH = TEXT_WIDTH - 6 * MS_WIDTH - MS_GAP.length;
const REASON_WIDTH = 20;
const COUNT_WIDTH = 4;

export function summaryLines(findings: Findings, paint: Paint): readonly string[] {
  return [
    ...tableLines(findings, paint),
    '',
    ...latencyLines(findings, paint),
    '',
    ...waitLines(findings, paint),
    '',
    ...pinLines(findings, paint),
    '',
    ...costLines(findings, paint),
    '',
    ...errorLines(findings, paint),
    '',
    ...bankLines(findings, paint),
    ...verdictLines(findings, paint),
  ];
}

function tableLines({ product, direct, berth }: Findings, paint: Paint): readonly string[] {
  const row = (label: string, read: (run: RunResult) => number, color?: Color) => {
    const cell = (count: number) => {
      const text = formatCount(count).padStart(NUMBER_WIDTH);
      return color === undefined || (color === 'red' && count === 0) ? text : paint(color, text);
    };
    return label.padEnd(LABEL_WIDTH) + cell(read(direct)) + cell(read(berth));
  };
  const headings = ['straight', 'through Berth'].map((text) => text.padStart(NUMBER_WIDTH));
  return [
    paint('bold', 'SUMMARY'.padEnd(LABEL_WIDTH) + headings.join('')),
    paint('dim', '─'.repeat(TEXT_WIDTH)),
    row(`Clients, in ${WAVES.count} waves of ${WAVES.clients}`, ({ outcome }) => outcome.arrived),
    row('  served', ({ outcome }) => outcome.served, 'bold'),
    row('  turned away, too many connections', ({ outcome }) => outcome.turnedAway, 'red'),
    row('  at work at the same time, at most', ({ outcome }) => outcome.connectedMost),
    row('Transactions', ({ outcome }) => outcome.transactions, 'bold'),
    row('  failed', ({ outcome }) => outcome.failed, 'red'),
    row(`Connections that ${product} saw`, ({ connectionsMade }) => connectionsMade, 'bold'),
    row('  at the same time, at most', ({ connectionsMost }) => connectionsMost, 'bold'),
    paint('dim', `  (not counted: the one by which Berth watches whether ${product} is well)`),
  ];
}

function latencyLines({ direct, berth }: Findings, paint: Paint): readonly string[] {
  const cells = ({ p50, p95, p99 }: Percentiles) =>
    [p50, p95, p99].map((ms) => formatMs(ms).padStart(MS_WIDTH)).join('');
  const row = (label: string, read: (outcome: RunResult['outcome']) => Percentiles) =>
    label.padEnd(MS_LABEL_WIDTH) +
    cells(read(direct.outcome)) +
    MS_GAP +
    cells(read(berth.outcome));
  const names = ['p50', 'p95', 'p99'].map((name) => name.padStart(MS_WIDTH)).join('');
  return [
    paint('bold', 'Milliseconds'.padEnd(MS_LABEL_WIDTH)) + paint('dim', names + MS_GAP + names),
    row('to connect', ({ connectMs }) => connectMs),
    row('to begin', ({ beginMs }) => beginMs),
    row('for a whole transfer', ({ transferMs }) => transferMs),
    row('for a single read', ({ readMs }) => readMs),
  ];
}

function waitLines({ usage }: Findings, paint: Paint): readonly string[] {
  const { borrows, waits, waitedMs, waitingMost } = usage;
  const heading = paint('bold', `Waiting for one of the ${LIMITS.poolConnections} connections`);
  if (waits === 0) return [heading, 'Nobody had to wait.'];
  const share = formatPercent(waits, borrows);
  const mean = formatMs(waitedMs / waits);
  return [
    heading,
    `${formatCount(waits)} of ${formatCount(borrows)} transactions waited (${share}), ${mean} ms on average;`,
    `at most ${formatNumber(waitingMost, 'client')} were in the queue at the same time.`,
  ];
}

function pinLines({ usage }: Findings, paint: Paint): readonly string[] {
  const heading = paint('bold', 'Pins, sessions that kept a connection to themselves');
  if (usage.pins.length === 0) return [heading, 'None.'];
  const rows = usage.pins.flatMap(({ reason, count }) => {
    const head = reason.padEnd(REASON_WIDTH) + String(count).padStart(COUNT_WIDTH);
    const texts = wrap(pinText(reason, ''), TEXT_WIDTH - head.length - 3);
    return texts.map((text, index) => {
      const left = index === 0 ? head : ' '.repeat(head.length);
      return `${left}   ${paint('dim', text)}`;
    });
  });
  return [heading, ...rows];
}

function costLines({ usage, berth }: Findings, paint: Paint): readonly string[] {
  const { cpuMs, durationMs, memoryBytes } = usage;
  const perTransaction = formatCount((cpuMs * 1000) / Math.max(1, berth.outcome.transactions));
  const text = `${formatSeconds(cpuMs)} of CPU in ${formatSeconds(durationMs)}, which is ${formatPercent(cpuMs, durationMs)} of one core, or ${perTransaction} µs per transaction (most have six statements; the logins of ${formatCount(berth.outcome.arrived)} clients are in it); ${formatMegabytes(memoryBytes)} of memory.`;
  return [paint('bold', 'What Berth needed'), ...wrap(text, TEXT_WIDTH)];
}

function errorLines({ direct, berth }: Findings, paint: Paint): readonly string[] {
  const list = ({ outcome }: RunResult) =>
    Object.entries({ ...outcome.refusals, ...outcome.errors })
      .sort(([, a], [, b]) => b - a)
      .flatMap(([message, count]) => quoteLines(message, count));
  const section = (name: string, lines: readonly string[]) =>
    lines.length === 0 ? [`${name}: none.`] : [`${name}:`, ...lines];
  return [
    paint('bold', 'Errors that clients saw'),
    ...section('Straight', list(direct)),
    ...section('Through Berth', list(berth)),
  ];
}

function quoteLines(message: string, count: number): readonly string[] {
  const head = `${formatCount(count).padStart(COUNT_WIDTH + 2)} x `;
  return wrap(message, TEXT_WIDTH - head.length).map((text, index) =>
    index === 0 ? head + text : ' '.repeat(head.length) + text,
  );
}

function bankLines(findings: Findings, paint: Paint): readonly string[] {
  const { audit } = findings;
  const heading = paint('bold', 'The bank');
  const problems = bankProblems(findings);
  if (problems.length > 0) return [heading, ...problems.map((text) => bad(text, paint))];
  const good = paint('green', '✓');
  return [
    heading,
    `${good} ${formatCount(BANK.accounts)} accounts hold ${formatCount(audit.total)} in total, as they did at the start.`,
    `${good} All ${formatCount(audit.transfers)} transfers are there, and every balance is what they make it.`,
  ];
}

function verdictLines(findings: Findings, paint: Paint): readonly string[] {
  const problems = problemsOf(findings);
  if (problems.length === 0) return [];
  return [
    '',
    paint('red', 'This should not have happened'),
    ...problems.map((text) => bad(text, paint)),
  ];
}

function bad(text: string, paint: Paint): string {
  return `${paint('red', '✗')} ${text}`;
}
