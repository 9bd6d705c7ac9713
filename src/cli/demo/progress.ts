/** What the screen shows while clients are at work. Pure. */

import { RUN_MS } from './plan.ts';
import type { Moment } from './run.ts';
import type { Live } from './screen.ts';
import { formatCount, formatSeconds, type Paint, TEXT_WIDTH } from './text.ts';

const BAR_WIDTH = TEXT_WIDTH - 16;
const LABEL_WIDTH = 30;
const NUMBER_WIDTH = 8;

export interface ProgressView {
  readonly moment: Moment;
  readonly connectionsMax: number;
  /** Undefined when there is no Berth that clients could wait for. */
  readonly waiting: number | undefined;
}

export function liveProgress(view: ProgressView, paint: Paint): Live {
  return { block: blockOf(view, paint), line: lineOf(view) };
}

function blockOf(view: ProgressView, paint: Paint): readonly string[] {
  const { moment, connectionsMax, waiting } = view;
  const { progress, connections, elapsedMs } = moment;
  const row = (label: string, value: number, note = '') =>
    `${label.padEnd(LABEL_WIDTH)}${paint('bold', formatCount(value).padStart(NUMBER_WIDTH))}${note}`;
  return [
    bar(elapsedMs, paint),
    '',
    row('Clients connected', progress.connected),
    row('Clients turned away', progress.turnedAway),
    row('Transactions', progress.transactions),
    row('Connections to PostgreSQL', connections, paint('dim', ` of ${connectionsMax}`)),
    ...(waiting === undefined ? [] : [row('Waiting for one of them', waiting)]),
  ];
}

function bar(elapsedMs: number, paint: Paint): string {
  const share = Math.min(1, elapsedMs / RUN_MS);
  const done = Math.round(share * BAR_WIDTH);
  const shown = paint('cyan', '█'.repeat(done)) + paint('dim', '░'.repeat(BAR_WIDTH - done));
  const times = `${(elapsedMs / 1000).toFixed(1)} of ${formatSeconds(RUN_MS)}`;
  return `${shown}  ${times}`;
}

function lineOf({ moment, waiting }: ProgressView): string {
  const { progress, connections, elapsedMs } = moment;
  const counts = [
    `${formatCount(progress.connected)} clients connected`,
    `${formatCount(progress.turnedAway)} turned away`,
    `${formatCount(progress.transactions)} transactions`,
    `${formatCount(connections)} connections`,
    ...(waiting === undefined ? [] : [`${formatCount(waiting)} waiting`]),
  ];
  return `${formatSeconds(elapsedMs).padStart(6)}  ${counts.join(', ')}`;
}
