/**
 * Rounds of pgbench against several subjects, interleaved (A B C A B C), because a shared machine
 * drifts: what happens to one round happens to all subjects in it, and the ratios hold. Berth's
 * ratio to another is taken within each round.
 */

import { tailInTurns, tailWithinSeconds } from '../fairness.ts';
import { watchOthers } from '../others.ts';
import { type PgbenchRequest, runPgbench } from '../pgbench.ts';
import { cpuMicrosOf, peakResidentBytesOf } from '../process-usage.ts';
import { type Bar, figure, mebibytes } from '../report.ts';
import { median, percentile, type Spread, spreadOf } from '../statistics.ts';
import type { Subject, SubjectName } from '../subject/subject.ts';
import type { AnyBench, Bench } from './scenario.ts';

/** A round in which others used more of the machine than this is measured again, */
const OTHERS_SHARE_MAX = 0.05;
/** but not more often than this; then it counts as it is, and the table says so. */
const REPEATS_MAX = 2;

/** One round of one subject. */
interface Sample {
  readonly cpuMicros: number;
  readonly perSecond: number;
  readonly p50Micros: number;
  readonly p99Micros: number;
  /** See `fairness.ts`; NaN when not every answer is known. */
  readonly secondsTail: number;
  readonly turnsTail: number;
  /** What processes that are not the bench's used of the machine. */
  readonly othersShare: number;
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
  /** When each answer came, if all are known. */
  readonly endsMicros?: readonly number[];
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
    const { endsMicros, ...work } = result;
    return load.logsAll === true ? { ...work, endsMicros } : work;
  };
}

export async function measureRounds(
  bench: AnyBench,
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
      const sample = await measureUndisturbed(bench, subject, seconds, workload);
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

async function measureUndisturbed(
  bench: AnyBench,
  subject: Subject,
  seconds: number,
  workload: Workload,
): Promise<Sample> {
  let quietest = await measureOne(subject, seconds, workload);
  for (let repeat = 0; repeat < REPEATS_MAX && quietest.othersShare > OTHERS_SHARE_MAX; repeat++) {
    bench.say(
      `${subject.name}: again, others used ${percent(quietest.othersShare)} % of the machine`,
    );
    const sample = await measureOne(subject, seconds, workload);
    if (sample.othersShare < quietest.othersShare) quietest = sample;
  }
  return quietest;
}

async function measureOne(subject: Subject, seconds: number, workload: Workload): Promise<Sample> {
  const { pid } = subject;
  const othersShare = watchOthers();
  const cpuBefore = pid === undefined ? Number.NaN : cpuMicrosOf(pid);
  const work = await workload(subject, seconds);
  const cpuAfter = pid === undefined ? Number.NaN : cpuMicrosOf(pid);
  return {
    cpuMicros: (cpuAfter - cpuBefore) / work.transactions,
    perSecond: work.transactionsPerSecond,
    p50Micros: percentile(work.latenciesMicros, 0.5),
    p99Micros: percentile(work.latenciesMicros, 0.99),
    ...tailsOf(work),
    othersShare: othersShare(),
  };
}

function tailsOf({ latenciesMicros, endsMicros }: Work): Pick<Sample, 'secondsTail' | 'turnsTail'> {
  if (endsMicros === undefined) return { secondsTail: Number.NaN, turnsTail: Number.NaN };
  const answers = { latenciesMicros, endsMicros };
  return { secondsTail: tailWithinSeconds(answers), turnsTail: tailInTurns(answers) };
}

function percent(share: number): string {
  return figure(share * 100, 0);
}

export const ROUND_COLUMNS = [
  'subject',
  'CPU µs each',
  'min-max',
  'per second',
  'p50 µs',
  'p99 µs',
  'peak MiB',
  'others %',
];

/** What else the table of a crowd has. */
export const CROWD_COLUMNS = [
  ...ROUND_COLUMNS,
  'p99 / p50',
  'within a second',
  'in turns of the queue',
];

export function crowdRow(measured: Measured): string[] {
  const { samples } = measured;
  return [
    ...roundRow(measured),
    withSpread(spreadOf(samples.map(sampleTail))),
    withSpread(spreadOf(samples.map(({ secondsTail }) => secondsTail))),
    withSpread(spreadOf(samples.map(({ turnsTail }) => turnsTail))),
  ];
}

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
    percent(Math.max(...samples.map(({ othersShare }) => othersShare))),
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

function sampleTail({ p50Micros, p99Micros }: Sample): number {
  return p99Micros / p50Micros;
}

/**
 * The bars of a crowd: everybody always wants something, so latency is time in the queue, and p99 over
 * p50 says how fair the queue is, as far as the machine is as fast at all times.
 */
export function tailBars(
  measured: readonly Measured[],
  most: number,
  mostInTurns: number,
): (Bar | undefined)[] {
  const turns = spreadIn(measured, 'berth', ({ turnsTail }) => turnsTail);
  const tail = spreadIn(measured, 'berth', sampleTail);
  if (tail === undefined || turns === undefined) return [];
  const seconds = (sample: Sample) => sample.secondsTail;
  return [
    {
      name: 'p99 / p50 of berth',
      isPassed: tail.median <= most,
      figure: `${withSpread(tail)}, at most ${figure(most, 2)}`,
    },
    notAboveBar(measured, 'p99 / p50', sampleTail),
    notAboveBar(measured, 'p99 / p50 within a second', seconds),
    {
      name: 'p99 / p50 of berth in turns of the queue',
      isPassed: turns.median <= mostInTurns,
      figure: `${withSpread(turns)}, at most ${figure(mostInTurns, 2)}`,
    },
  ];
}

function spreadIn(
  measured: readonly Measured[],
  name: SubjectName,
  figureOf: Figure,
): Spread | undefined {
  const samples = samplesOf(measured, name);
  return samples && spreadOf(samples.map(figureOf));
}

/** The bar that a figure of Berth's is not above PgBouncer's. */
function notAboveBar(
  measured: readonly Measured[],
  what: string,
  figureOf: Figure,
): Bar | undefined {
  const berth = spreadIn(measured, 'berth', figureOf);
  const other = spreadIn(measured, 'pgbouncer', figureOf);
  if (!berth || !other) return undefined;
  return {
    name: `${what}, berth and pgbouncer`,
    isPassed: berth.median <= other.median,
    figure: `${withSpread(berth)} and ${withSpread(other)}, not above it`,
  };
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
