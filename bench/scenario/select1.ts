/**
 * The cheapest transactions there are, so that what is left is the proxy: a constant, or one row by
 * its key (pgbench's own `select-only`).
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { letFloorRead } from '../database.ts';
import { initialisePgbench, type QueryMode } from '../pgbench.ts';
import type { Bar, Report } from '../report.ts';
import type { SubjectName } from '../subject/subject.ts';
import {
  addedLatencyBar,
  CROWD_COLUMNS,
  cpuBar,
  crowdRow,
  type Measured,
  measureRounds,
  type PgbenchLoad,
  pgbenchWorkload,
  ROUND_COLUMNS,
  roundRow,
  tailBars,
  throughputBar,
} from './rounds.ts';
import { type Bench, CLIENTS_MAX, startSubjects, stopSubjects, versionsOf } from './scenario.ts';

const PGBOUNCER_RATIO_MAX = 1;
const PGBOUNCER_TLS_RATIO_MAX = 0.95;
const FLOOR_RATIO_MAX = 1.15;
/** So many clients are a crowd: their latency is judged by its tail. */
const CROWD_MIN = 1_000;
/** They need some for their logins. */
const CROWD_SECONDS = 20;
const TAIL_MAX = 1.5;
/** A queue that somebody jumps, or in which somebody is forgotten, is far above. */
const TURNS_TAIL_MAX = 1.25;
const ADDED_MICROS_MAX = 10;
/** The database has no room for more. */
const DIRECT_CLIENTS_MAX = 300;

const CROWD_REMARKS: readonly string[] = [
  'p99 / p50 of a round also has in it how the speed of the machine changed during it. Within a second is the median of the p99 / p50 of each second;',
  'in turns of the queue is p99 / p50 of how many others were answered between a request and its answer, which depends far less on speed.',
];

const ALL: readonly SubjectName[] = ['direct', 'pgbouncer', 'floor', 'berth'];
/** The floor knows no statements by name. */
const WITHOUT_FLOOR: readonly SubjectName[] = ['direct', 'pgbouncer', 'berth'];

export function select1(bench: Bench): Promise<Report> {
  const file = join(bench.directory, 'select1.sql');
  writeFileSync(file, 'select 1;\n');
  return select(bench, 'select 1', ['-f', file]);
}

export async function selectOnly(bench: Bench): Promise<Report> {
  const { database, options } = bench;
  bench.say(`tables of scale ${options.scale}`);
  initialisePgbench(database.address, database.credentials, options.scale);
  await letFloorRead(database);
  return select(bench, `pgbench -S, scale ${options.scale}`, ['-b', 'select-only']);
}

async function select(bench: Bench, what: string, script: PgbenchLoad['script']): Promise<Report> {
  const { mode = 'simple', clients = 32, pool = 16, threads } = bench.options;
  const isCrowd = clients >= CROWD_MIN;
  const { seconds = isCrowd ? CROWD_SECONDS : 8 } = bench.options;
  const subjects = await startSubjects({
    bench,
    names: namesFor(mode, clients),
    poolSize: pool,
    clientsMax: CLIENTS_MAX,
  });
  try {
    const workload = pgbenchWorkload(bench, {
      clients,
      threads,
      mode,
      script,
      logsAll: isCrowd,
    });
    const measured = await measureRounds(bench, subjects, seconds, workload);
    const bars = isCrowd
      ? tailBars(measured, TAIL_MAX, TURNS_TAIL_MAX)
      : usualBars(measured, bench.tls !== undefined);
    return {
      title: `${what}, -M ${mode}, ${count(clients)}, pool of ${pool}, ${bench.tls ? 'TLS' : 'plain'}`,
      columns: isCrowd ? CROWD_COLUMNS : ROUND_COLUMNS,
      rows: measured.map(isCrowd ? crowdRow : roundRow),
      remarks: [
        'CPU is that of the proxy process, user and system; medians of the rounds.',
        'Every client asks again as soon as it is answered, so with more clients than connections latency is time in the queue.',
        'The logins at the beginning of a round are in its CPU, and in that of a crowd they weigh.',
        'Others are all processes that are not of the bench: the most that they used of the machine in a round.',
        ...(isCrowd ? CROWD_REMARKS : []),
        'A latency of 0 is an answer that came before pgbench looked at its clock again.',
      ],
      bars: [
        ...bars,
        clients === 1 ? addedLatencyBar(measured, ADDED_MICROS_MAX) : throughputBar(measured),
      ].filter((bar) => bar !== undefined),
      conditions: [
        ...versionsOf(subjects),
        `${bench.options.rounds} interleaved rounds of ${seconds} s after ${bench.options.warmup} s, pgbench -j ${threads}`,
      ],
    };
  } finally {
    await stopSubjects(subjects);
  }
}

function usualBars(measured: readonly Measured[], hasTls: boolean): (Bar | undefined)[] {
  return [
    cpuBar(measured, 'pgbouncer', hasTls ? PGBOUNCER_TLS_RATIO_MAX : PGBOUNCER_RATIO_MAX),
    cpuBar(measured, 'floor', FLOOR_RATIO_MAX),
  ];
}

function namesFor(mode: QueryMode, clients: number): readonly SubjectName[] {
  const names = mode === 'prepared' ? WITHOUT_FLOOR : ALL;
  return clients > DIRECT_CLIENTS_MAX ? names.filter((name) => name !== 'direct') : names;
}

function count(clients: number): string {
  return clients === 1 ? '1 client' : `${clients} clients`;
}
