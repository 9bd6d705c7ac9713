/** The cheapest transaction there is, so that what is left is the proxy. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Report } from '../report.ts';
import type { SubjectName } from '../subject/subject.ts';
import { measureRounds, ROUND_COLUMNS, ratioBar, roundRow } from './rounds.ts';
import { type Bench, CLIENTS_MAX, startSubjects, stopSubjects, versionsOf } from './scenario.ts';

const PGBOUNCER_RATIO_MAX = 1.1;
const PGBOUNCER_TLS_RATIO_MAX = 0.95;
const FLOOR_RATIO_MAX = 1.15;

const ALL: readonly SubjectName[] = ['direct', 'pgbouncer', 'floor', 'berth'];
/** The floor knows no statements by name. */
const WITHOUT_FLOOR: readonly SubjectName[] = ['direct', 'pgbouncer', 'berth'];

export async function select1(bench: Bench): Promise<Report> {
  const { mode = 'simple', clients = 32, pool = 16, seconds = 8, threads } = bench.options;
  const scriptFile = join(bench.directory, 'select1.sql');
  writeFileSync(scriptFile, 'select 1;\n');
  const subjects = await startSubjects({
    bench,
    names: mode === 'prepared' ? WITHOUT_FLOOR : ALL,
    poolSize: pool,
    clientsMax: CLIENTS_MAX,
  });
  try {
    const load = { clients, threads, seconds, mode, script: ['-f', scriptFile] } as const;
    const measured = await measureRounds(bench, subjects, load);
    const bars = [
      ratioBar(measured, 'pgbouncer', bench.tls ? PGBOUNCER_TLS_RATIO_MAX : PGBOUNCER_RATIO_MAX),
      ratioBar(measured, 'floor', FLOOR_RATIO_MAX),
    ];
    return {
      title: `select 1, -M ${mode}, ${clients} clients, pool of ${pool}, ${bench.tls ? 'TLS' : 'plain'}`,
      columns: ROUND_COLUMNS,
      rows: measured.map(roundRow),
      remarks: [
        'CPU is that of the proxy process, user and system; medians of the rounds.',
        'A latency of 0 is an answer that came before pgbench looked at its clock again.',
      ],
      bars: bars.filter((bar) => bar !== undefined),
      conditions: [
        ...versionsOf(subjects),
        `${bench.options.rounds} interleaved rounds of ${seconds} s, pgbench -j ${threads}`,
      ],
    };
  } finally {
    await stopSubjects(subjects);
  }
}
