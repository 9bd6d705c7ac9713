/** What a drill has shown, for people: a timeline of each failover, and in the end the figures and the bars. */

import { type Bar, type Report, render } from '../../bench/report.ts';
import { percentile } from '../../bench/statistics.ts';
import type { StoryLine } from './berth-story.ts';
import type { Failover } from './failover.ts';
import { FAULTS } from './faults.ts';
import { isPinned } from './load.ts';
import type { Options } from './options.ts';

/** One failover, with what surrounds it. */
export interface Round extends Failover {
  readonly story: readonly StoryLine[];
  readonly queuePeak: number;
}

export interface Outcome {
  readonly title: string;
  readonly options: Options;
  readonly rounds: readonly Round[];
  readonly writers: { readonly proxied: number; readonly direct: number; readonly idle: number };
  readonly acknowledged: number;
  /** What is wrong with the writes, by the books. */
  readonly wrong: { readonly proxied: readonly string[]; readonly direct: readonly string[] };
}

const FIRST_WRITE_MAX_MS = 250;
/** Where no connection breaks, and only a look at the roles tells that the writer is another. */
const FIRST_WRITE_UNNOTICED_MAX_MS = 2_000;
/** The log has whole milliseconds. */
const CLOCK_MS = 1;
const SHORTER_MIN_PERCENT = 66;
/** How much less than the best possible is as good. */
const MARGIN_PERCENT = 10;

export function timeline(round: Round, which: string, hasDirect: boolean): string {
  const { proxied, direct } = round;
  const lines: StoryLine[] = [
    { ms: 0, text: `${FAULTS[round.fault].title}: ${round.from}` },
    ...round.story.map(({ ms, text }) => ({ ms, text: `Berth: ${text}` })),
    { ms: round.promotedMs, text: `a replica is chosen and promoted: ${round.to}` },
    { ms: round.acceptedMs, text: `${round.to} accepts writes` },
    { ms: proxied.firstMs, text: `first write through Berth${later(round, proxied.firstMs)}` },
    { ms: last(proxied.everyMs), text: 'all clients of Berth write again' },
  ];
  if (hasDirect) lines.push(...directLines(direct.firstMs, direct.everyMs));
  lines.sort((one, other) => one.ms - other.ms);
  const told = lines.map(({ ms, text }) => `${String(Math.round(ms)).padStart(8)} ms  ${text}`);
  const counts = [
    `${round.queuePeak} waited at most`,
    `${proxied.failures.length} statements failed (${codesOf(round)})`,
    `${round.lost} client connections of writers lost`,
    round.idleProblems.length === 0 ? 'all idle clients kept' : round.idleProblems.join('; '),
  ];
  return `${which}\n${told.join('\n')}\n${' '.repeat(13)}${counts.join(', ')}\n`;
}

function directLines(firstMs: number, everyMs: readonly number[]): StoryLine[] {
  if (everyMs.length === 0) return [];
  return [
    { ms: firstMs, text: 'first write of the clients without a proxy' },
    { ms: last(everyMs), text: `${everyMs.length} clients without a proxy write again` },
  ];
}

function later({ acceptedMs }: Round, ms: number): string {
  return ` (${Math.round(ms - acceptedMs)} ms later)`;
}

function last(values: readonly number[]): number {
  return values.at(-1) ?? Number.NaN;
}

function codesOf({ proxied }: Round): string {
  const counts = new Map<string, number>();
  for (const { code } of proxied.failures) counts.set(code, (counts.get(code) ?? 0) + 1);
  if (counts.size === 0) return 'none';
  return [...counts].map(([code, count]) => `${count} × ${code}`).join(', ');
}

interface Figure {
  readonly name: string;
  readonly of: (round: Round) => readonly number[];
}

const BERTH_FIGURES: readonly Figure[] = [
  { name: 'Fault to a new writer that accepts writes', of: (round) => [round.acceptedMs] },
  {
    name: 'New writer to the first write through Berth',
    of: ({ proxied, acceptedMs }) => [proxied.firstMs - acceptedMs],
  },
  {
    name: 'Outage of a client of Berth, from the fault',
    of: ({ proxied }) => proxied.everyMs,
  },
  {
    name: 'Of that, after the new writer was there',
    of: ({ proxied, acceptedMs }) => proxied.everyMs.map((ms) => ms - acceptedMs),
  },
];

const DIRECT_FIGURES: readonly Figure[] = [
  {
    name: 'Outage of a client without a proxy, from the fault',
    of: ({ direct }) => direct.everyMs,
  },
  {
    name: 'Of that, after the new writer was there',
    of: ({ direct, acceptedMs }) => direct.everyMs.map((ms) => ms - acceptedMs),
  },
];

export function reportOf(outcome: Outcome): string {
  const { options, rounds, title } = outcome;
  const figures = options.direct ? [...BERTH_FIGURES, ...DIRECT_FIGURES] : BERTH_FIGURES;
  const report: Report = {
    title,
    columns: ['ms', 'p50', 'p99', 'max'],
    rows: figures.map((figure) => rowOf(figure, rounds)),
    remarks: remarksOf(outcome),
    bars: barsOf(outcome),
    conditions: conditionsOf(outcome),
  };
  return render(report);
}

function rowOf({ name, of }: Figure, rounds: readonly Round[]): string[] {
  const values = rounds.flatMap(of);
  return [name, ...[0.5, 0.99, 1].map((share) => Math.round(percentile(values, share)).toString())];
}

/** A writer has at most one statement under way, so a failover may cost it one. */
export function excessFailures(round: Failover): string[] {
  if (FAULTS[round.fault].isRefusing) return [];
  const counts = new Map<string, number>();
  for (const { client } of round.proxied.failures) {
    counts.set(client, (counts.get(client) ?? 0) + 1);
  }
  return [...counts].flatMap(([client, count]) =>
    count > 1 ? [`${client} was given ${count} errors`] : [],
  );
}

/** Statements that failed although they were begun when Berth had noticed that the old writer was none any more. */
export function lateFailures({ at, from, story, proxied }: Round): string[] {
  const noticed = story.find(({ member }) => member === from);
  if (noticed === undefined) return [];
  // Who has lost his connection learns of it with the next statement.
  const late = proxied.failures.filter(
    ({ begun, isLost }) => !isLost && begun > at + noticed.ms + CLOCK_MS,
  );
  return late.map(({ client, code, message }) => `${client}: ${code} ${message}`);
}

/** Clients that had to connect again, but for those that were pinned. */
export function lostClients({ proxied }: Round): string[] {
  const lost = proxied.failures.filter(({ client, isLost }) => isLost && !isPinned(client));
  return lost.map(({ client, code, message }) => `${client}: ${code} ${message}`);
}

export function barsOf(outcome: Outcome): Bar[] {
  const { rounds, options, wrong, writers, acknowledged } = outcome;
  const first = rounds.map(({ proxied, acceptedMs }) => proxied.firstMs - acceptedMs);
  const p99 = percentile(first, 0.99);
  const mostMs = FAULTS[options.fault].isNoticed
    ? FIRST_WRITE_MAX_MS
    : FIRST_WRITE_UNNOTICED_MAX_MS;
  const excess = rounds.flatMap((round) => [...excessFailures(round), ...lateFailures(round)]);
  const lost = rounds.flatMap(lostClients);
  const idleProblems = rounds.flatMap((round) => round.idleProblems);
  const strays = rounds.flatMap((round) => round.strays);
  const failed = rounds.reduce((sum, { proxied }) => sum + proxied.failures.length, 0);
  const bars: Bar[] = [
    {
      name: 'first write through Berth after the new writer accepts writes, p99',
      isPassed: p99 <= mostMs,
      figure: `${Math.round(p99)} ms, at most ${mostMs} ms`,
    },
    {
      name: 'idle clients kept',
      isPassed: idleProblems.length === 0,
      figure: some(idleProblems, `all ${writers.idle} in each of ${rounds.length} failovers`),
    },
    {
      name: 'clients that write kept',
      isPassed: lost.length === 0,
      figure: some(lost, 'all that were not pinned'),
    },
    {
      name: 'only statements in flight failed',
      isPassed: excess.length === 0,
      figure: some(excess, `${failed} in ${rounds.length} failovers, one per client at most`),
    },
    {
      name: 'what was acknowledged is there, nothing twice, nothing by half',
      isPassed: wrong.proxied.length === 0,
      figure: some(wrong.proxied, `${acknowledged} writes`),
    },
    {
      name: 'nothing was sent to the old writer',
      isPassed: strays.length === 0,
      figure: some(strays, 'when it answered again it had nothing newer'),
    },
  ];
  return options.direct ? [...bars, shorterBar(rounds)] : bars;
}

function shorterBar(rounds: readonly Round[]): Bar {
  const mean = (of: (round: Round) => readonly number[]) => {
    const values = rounds.flatMap(of);
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  };
  const proxied = mean(({ proxied: { everyMs } }) => everyMs);
  const direct = mean((round) => round.direct.everyMs);
  const percent = Math.round((1 - proxied / direct) * 100);
  const floor = mean((round) => [round.acceptedMs]);
  const best = Math.round((1 - floor / direct) * 100);
  const why =
    best < SHORTER_MIN_PERCENT
      ? `more than ${best} % is not possible, since the new writer was there after ${Math.round(floor)} ms`
      : `${best} % would be possible`;
  return {
    name: `outage at least ${SHORTER_MIN_PERCENT} % shorter than without a proxy, if that is possible`,
    isPassed: percent >= Math.min(SHORTER_MIN_PERCENT, best - MARGIN_PERCENT),
    figure: `mean ${Math.round(proxied)} ms instead of ${Math.round(direct)} ms, ${percent} % shorter; ${why}`,
  };
}

const SHOWN_MAX = 5;

function some(problems: readonly string[], fine: string): string {
  if (problems.length === 0) return fine;
  const more = problems.length > SHOWN_MAX ? `; ${problems.length - SHOWN_MAX} more` : '';
  return problems.slice(0, SHOWN_MAX).join('; ') + more;
}

function remarksOf({ rounds, writers, options, wrong }: Outcome): string[] {
  if (!options.direct) return [];
  const back = rounds.reduce((sum, { direct }) => sum + direct.everyMs.length, 0);
  const failed = rounds.reduce((sum, { direct }) => sum + direct.failures.length, 0);
  const all = writers.direct * rounds.length;
  const remarks = [`Without a proxy ${failed} statements failed.`];
  if (back < all)
    remarks.push(`${all - back} of ${all} times a client did not come back by itself.`);
  if (wrong.direct.length > 0) {
    remarks.push(`What they wrote: ${some(wrong.direct, '')}.`);
  }
  return remarks;
}

function conditionsOf({ options, rounds, writers }: Outcome): string[] {
  const disk = options.durable ? 'wait for the disk' : 'do not wait for the disk';
  return [
    `${rounds.length} failovers; a replica is promoted ${options.promoteAfter} ms after the fault.`,
    `One writer and ${options.replicas} replicas; commits wait for a replica, but in the failover itself, and ${disk}.`,
    `${writers.proxied} writers and ${writers.idle} idle clients through Berth, ${writers.direct} writers without.`,
  ];
}
