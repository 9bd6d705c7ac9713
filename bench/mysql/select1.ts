/** The cheapest statement there is, so that what is left is the proxy. */

import type { Bar, Report } from '../report.ts';
import { cpuBar, measureRounds, ROUND_COLUMNS, roundRow } from '../scenario/rounds.ts';
import {
  type AnyBench,
  CLIENTS_MAX,
  startSubjects,
  stopSubjects,
  versionsOf,
} from '../scenario/scenario.ts';
import { MYSQL_SUBJECTS, type MysqlSubject } from '../subject/subject.ts';
import { ownWorkload, sysbenchVersion, sysbenchWorkload } from './load.ts';

const OTHERS_RATIO_MAX = 1;

/** MySQL Router ends the connections of clients when a MariaDB is behind it. */
function isForeign({ database, say }: AnyBench, name: MysqlSubject): boolean {
  const isLeftOut = database.engine === 'mariadb' && name === 'mysqlrouter';
  if (isLeftOut) say(`${name}: left out, it does not work with MariaDB`);
  return isLeftOut;
}

export async function mysqlSelect1(bench: AnyBench): Promise<Report> {
  const { clients = 32, pool = 16, seconds = 8, client } = bench.options;
  const isSysbench = client === 'sysbench';
  if (isSysbench && bench.tls !== undefined) {
    throw new Error('sysbench wants files of its own for TLS: use --client own');
  }
  const subjects = await startSubjects({
    bench,
    names: MYSQL_SUBJECTS.filter((name) => !isForeign(bench, name)),
    poolSize: pool,
    clientsMax: CLIENTS_MAX,
  });
  try {
    const workload = isSysbench ? sysbenchWorkload(bench, clients) : ownWorkload(bench, clients);
    const measured = await measureRounds(bench, subjects, seconds, workload);
    const bars: (Bar | undefined)[] = [
      cpuBar(measured, 'mysqlrouter', OTHERS_RATIO_MAX),
      cpuBar(measured, 'proxysql', OTHERS_RATIO_MAX),
    ];
    return {
      title: `select 1, ${clients} clients, pool of ${pool}, ${bench.tls ? 'TLS' : 'plain'}, ${bench.database.version}`,
      columns: ROUND_COLUMNS,
      rows: measured.map(roundRow),
      remarks: [
        'CPU is that of the proxy process, user and system, all its threads; medians of the rounds.',
        'MySQL Router shares connections when nothing of a session stands against it; it has no limit for those that are in use.',
      ],
      bars: bars.filter((bar) => bar !== undefined),
      conditions: [
        ...versionsOf(subjects),
        `${bench.options.rounds} interleaved rounds of ${seconds} s after ${bench.options.warmup} s, ${isSysbench ? sysbenchVersion() : "the bench's own client"}`,
      ],
    };
  } finally {
    await stopSubjects(subjects);
  }
}
