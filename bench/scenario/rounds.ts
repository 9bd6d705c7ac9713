/**
 * Rounds of pgbench against several subjects, interleaved (A B C A B C), because a shared machine
 * drifts: what happens to one round happens to all subjects in it, and the ratios hold. Berth's
 * ratio to another is taken within each round.
 */

import { type PgbenchRequest, runPgbench } from '../pgbench.ts';
import { cpuMicrosOf, peakResidentBytesOf } from '../process-usage.ts';
import { type Bar, figure, mebibytes } from '../report.ts';
import { median, percentile, type Spread, spreadOf } from '../statistics.ts';
import type { Subject, SubjectName } from '../subject/subject.ts';
import type { Bench } from './scenario.ts';

/** One round of one subject. */
interface Sample {
  readonly cpuMicros: number;
  readonly perSecond: number;
  readonly p50Micros: number;
  readonly p99Micros: number;
}

export interface Measured {
  readonly subject: Subject;
  readonly samples: readonly Sample[];
  readonly peakBytes: number;
}

/** What clients did in one round. */
export interface Work {
  readonly transactions: number;
  readonly transactionsPerSecond: number;
  readonly latenciesMicros: readonly number[];
}

/** Lets clients work on a subject for so long; throws when anything of it fails. */
export type Workload = (subject: Subject, seconds: number) => Promise<Work>;

/** Everything of a run of pgbench that is the same for all subjects. */
export type PgbenchLoad = Omit<
  PgbenchRequest,
  'address' | 'credentials' | 'directory' | 'hasTls' | 'seconds'
>;

export function pgbenchWorkload(bench: Bench, load: PgbenchLoad): Workload {
  const { directory, database } = bench;
  const { credentials } = database;
  const hasTls = bench.tls !== undefined;
  return async ({ address, name }, seconds) => {
    const result = await runPgbench({ ...load, address, directory, credentials, hasTls, seconds });
    if (result.exitCode !== 0 || result.failedTransactions > 0) {
      throw new Error(`pgbench failed through ${name}: ${result.output}`);
    }
    return result;
  };
}

export async function measureRounds(
  bench: Bench,
  subjects: readonly Subject[],
  seconds: number,
  workload: Workload,
): Promise<Measured[]> {
  const { rounds, warmup } = bench.options;
  for (const subject of subjects) {
    bench.say(`warm-up: ${subject.name}`);
    await workload(subject, warmup);
  }
  const samples = new Map<SubjectName, Sample[]>(subjects.map(({ name }) => [name, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const subject of subjects) {
      const sample = await measureOne(subject, seconds, workload);
      samples.get(subject.name)?.push(sample);
      const cpu = subject.pid === undefined ? '' : `${figure(sample.cpuMicros)} µs CPU, `;
      bench.say(`round ${round}: ${subject.name}: ${cpu}${figure(sample.perSecond, 0)}/s`);
    }
  }
  return subjects.map((subject) => ({
    subject,
    samples: samples.get(subject.name) ?? [],
    peakBytes: subject.pid === undefined ? Number.NaN : peakResidentBytesOf(subject.pid),
  }));
}

async function measureOne(subject: Subject, seconds: number, workload: Workload): Promise<Sample> {
  const { pid } = subject;
  const cpuBefore = pid === undefined ? Number.NaN : cpuMicrosOf(pid);
  const work = await workload(subject, seconds);
  const cpuAfter = pid === undefined ? Number.NaN : cpuMicrosOf(pid);
  return {
    cpuMicros: (cpuAfter - cpuBefore) / work.transactions,
    perSecond: work.transactionsPerSecond,
    p50Micros: percentile(work.latenciesMicros, 0.5),
    p99Micros: percentile(work.latenciesMicros, 0.99),
  };
}

export const ROUND_COLUMNS = [
  'subject',
  'CPU µs each',
  'min-max',
  'per second',
  'p50 µs',
  'p99 µs',
  'peak MiB',
];

export function roundRow({ subject, samples, peakBytes }: Measured): string[] {
  const cpu = spreadOf(samples.map((sample) => sample.cpuMicros));
  return [
    subject.name,
    figure(cpu.median),
    Number.isFinite(cpu.median) ? `${figure(cpu.min)}-${figure(cpu.max)}` : '-',
    figure(median(samples.map((sample) => sample.perSecond)), 0),
    figure(median(samples.map((sample) => sample.p50Micros)), 0),
    figure(median(samples.map((sample) => sample.p99Micros)), 0),
    mebibytes(peakBytes),
  ];
}

type Figure = (sample: Sample) => number;

function samplesOf(
  measured: readonly Measured[],
  name: SubjectName,
): readonly Sample[] | undefined {
  return measured.find(({ subject }) => subject.name === name)?.samples;
}

/** A figure of Berth's over that of another subject, round by round; undefined when one is missing. */
function ratioTo(
  measured: readonly Measured[],
  other: SubjectName,
  figureOf: Figure,
): Spread | undefined {
  const berths = samplesOf(measured, 'berth');
  const others = samplesOf(measured, other);
  if (!berths || !others) return undefined;
  return spreadOf(
    berths.map((berth, round) => {
      const sample = others[round];
      return sample === undefined ? Number.NaN : figureOf(berth) / figureOf(sample);
    }),
  );
}

function withSpread(spread: Spread): string {
  return `${figure(spread.median, 2)} (${figure(spread.min, 2)}-${figure(spread.max, 2)})`;
}

/** The bar that Berth's CPU may be at most so many times that of another subject. */
export function cpuBar(
  measured: readonly Measured[],
  to: SubjectName,
  most: number,
): Bar | undefined {
  const ratio = ratioTo(measured, to, ({ cpuMicros }) => cpuMicros);
  if (!ratio) return undefined;
  return {
    name: `CPU per transaction, berth / ${to}`,
    isPassed: ratio.median <= most,
    figure: `${withSpread(ratio)}, at most ${figure(most, 2)}`,
  };
}

/** The bar that Berth's throughput is at least that of PgBouncer. */
export function throughputBar(measured: readonly Measured[]): Bar | undefined {
  const ratio = ratioTo(measured, 'pgbouncer', ({ perSecond }) => perSecond);
  if (!ratio) return undefined;
  return {
    name: 'transactions per second, berth / pgbouncer',
    isPassed: ratio.median >= 1,
    figure: `${withSpread(ratio)}, at least 1.00`,
  };
}

function tailOf({ p50Micros, p99Micros }: Sample): number {
  return p99Micros / p50Micros;
}

/**
 * The bars of a crowd: everybody always wants something, so latency is time in the queue, and p99 over
 * p50 says how fair the queue is.
 */
export function tailBars(measured: readonly Measured[], most: number): Bar[] {
  const berths = samplesOf(measured, 'berth');
  if (!berths) return [];
  const tail = spreadOf(berths.map(tailOf));
  const bars: Bar[] = [
    {
      name: 'p99 / p50 of berth',
      isPassed: tail.median <= most,
      figure: `${withSpread(tail)}, at most ${figure(most, 2)}`,
    },
  ];
  const others = samplesOf(measured, 'pgbouncer');
  if (!others) return bars;
  const other = spreadOf(others.map(tailOf));
  bars.push({
    name: 'p99 / p50, berth and pgbouncer',
    isPassed: tail.median <= other.median,
    figure: `${withSpread(tail)} and ${withSpread(other)}, not above it`,
  });
  return bars;
}

/** The bar of a lonely client: what Berth adds to the median is at most so much more than what PgBouncer adds. */
export function addedLatencyBar(
  measured: readonly Measured[],
  mostMicros: number,
): Bar | undefined {
  const direct = samplesOf(measured, 'direct');
  const berths = samplesOf(measured, 'berth');
  const others = samplesOf(measured, 'pgbouncer');
  if (!direct || !berths || !others) return undefined;
  const added = (samples: readonly Sample[]) =>
    median(
      samples.map(({ p50Micros }, round) => p50Micros - (direct[round]?.p50Micros ?? Number.NaN)),
    );
  const [berth, other] = [added(berths), added(others)];
  return {
    name: 'median latency added to direct, berth and pgbouncer',
    isPassed: berth <= other + mostMicros,
    figure: `${figure(berth, 0)} µs and ${figure(other, 0)} µs, at most ${mostMicros} µs more`,
  };
}
