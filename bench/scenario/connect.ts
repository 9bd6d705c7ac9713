/** A new connection for every transaction: what a login costs. Clients log in with SCRAM; the floor trusts. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Report } from '../report.ts';
import { measureRounds, ROUND_COLUMNS, ratioBar, roundRow } from './rounds.ts';
import { type Bench, CLIENTS_MAX, startSubjects, stopSubjects, versionsOf } from './scenario.ts';

const PGBOUNCER_TLS_RATIO_MAX = 0.8;

export async function connect(bench: Bench): Promise<Report> {
  const { clients = 16, pool = 16, seconds = 5, threads } = bench.options;
  const scriptFile = join(bench.directory, 'select1.sql');
  writeFileSync(scriptFile, 'select 1;\n');
  const subjects = await startSubjects({
    bench,
    names: ['direct', 'pgbouncer', 'floor', 'berth'],
    poolSize: pool,
    clientsMax: CLIENTS_MAX,
  });
  try {
    const measured = await measureRounds(bench, subjects, {
      clients,
      threads,
      seconds,
      mode: 'simple',
      script: ['-f', scriptFile],
      extraFlags: ['-C'],
    });
    const bar = bench.tls && ratioBar(measured, 'pgbouncer', PGBOUNCER_TLS_RATIO_MAX);
    return {
      title: `connect, select 1, leave: ${clients} clients, pool of ${pool}, ${bench.tls ? 'TLS' : 'plain'}`,
      columns: ROUND_COLUMNS,
      rows: measured.map(roundRow),
      remarks: [
        'Each is a TCP connect, a SCRAM login (the floor trusts), one select 1 and the end.',
      ],
      bars: bar === undefined ? [] : [bar],
      conditions: [
        ...versionsOf(subjects),
        `${bench.options.rounds} interleaved rounds of ${seconds} s, pgbench -C -j ${threads}`,
      ],
    };
  } finally {
    await stopSubjects(subjects);
  }
}
