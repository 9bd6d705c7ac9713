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

/** Everything of a run of pgbench that is the same for all subjects. */
export type Load = Omit<PgbenchRequest, 'address' | 'credentials' | 'directory'>;

export async function measureRounds(
  bench: Bench,
  subjects: readonly Subject[],
  load: Load,
): Promise<Measured[]> {
  const { rounds, warmup } = bench.options;
  for (const subject of subjects) {
    bench.say(`warm-up: ${subject.name}`);
    await measureOne(bench, subject, { ...load, seconds: warmup });
  }
  const samples = new Map<SubjectName, Sample[]>(subjects.map(({ name }) => [name, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const subject of subjects) {
      const sample = await measureOne(bench, subject, load);
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

async function measureOne(bench: Bench, subject: Subject, load: Load): Promise<Sample> {
  const { address, name, pid } = subject;
  const { directory, database } = bench;
  const cpuBefore = pid === undefined ? Number.NaN : cpuMicrosOf(pid);
  const result = await runPgbench({
    ...load,
    address,
    directory,
    credentials: database.credentials,
    hasTls: bench.tls !== undefined,
  });
  const cpuAfter = pid === undefined ? Number.NaN : cpuMicrosOf(pid);
  if (result.exitCode !== 0 || result.failedTransactions > 0) {
    throw new Error(`pgbench failed through ${name}: ${result.output}`);
  }
  return {
    cpuMicros: (cpuAfter - cpuBefore) / result.transactions,
    perSecond: result.transactionsPerSecond,
    p50Micros: percentile(result.latenciesMicros, 0.5),
    p99Micros: percentile(result.latenciesMicros, 0.99),
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

/** Berth's CPU over that of another subject, round by round; undefined when one is missing. */
export function cpuRatio(measured: readonly Measured[], to: SubjectName): Spread | undefined {
  const berth = measured.find(({ subject }) => subject.name === 'berth');
  const other = measured.find(({ subject }) => subject.name === to);
  if (!berth || !other) return undefined;
  return spreadOf(
    berth.samples.map(({ cpuMicros }, round) => {
      return cpuMicros / (other.samples[round]?.cpuMicros ?? Number.NaN);
    }),
  );
}

/** The bar that Berth's CPU may be at most so many times that of another subject. */
export function ratioBar(
  measured: readonly Measured[],
  to: SubjectName,
  most: number,
): Bar | undefined {
  const ratio = cpuRatio(measured, to);
  if (!ratio) return undefined;
  const spread = `(${figure(ratio.min, 2)}-${figure(ratio.max, 2)})`;
  return {
    name: `CPU per transaction, berth / ${to}`,
    isPassed: ratio.median <= most,
    figure: `${figure(ratio.median, 2)} ${spread}, at most ${figure(most, 2)}`,
  };
}
