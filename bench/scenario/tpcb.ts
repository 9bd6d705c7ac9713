/**
 * pgbench's TPC-B with far more clients than database connections. Nothing may fail, the books must
 * balance afterwards, and the database must never see more connections than the pool may have.
 */

import { type Database, FLOOR_USER, MONITOR_NAME, numberFrom } from '../database.ts';
import { initialisePgbench, type QueryMode, runPgbench } from '../pgbench.ts';
import { type Bar, figure, type Report } from '../report.ts';
import { percentile } from '../statistics.ts';
import type { Subject } from '../subject/subject.ts';
import { type Bench, CLIENTS_MAX, startSubjects, stopSubjects, versionsOf } from './scenario.ts';

const SAMPLE_MS = 100;

const COUNT_CONNECTIONS = `
  select count(*) from pg_stat_activity
  where usename in ('bench', '${FLOOR_USER}') and application_name <> '${MONITOR_NAME}'`;

const SUMS = `
  select (select coalesce(sum(abalance), 0) from pgbench_accounts)::text as accounts,
         (select coalesce(sum(bbalance), 0) from pgbench_branches)::text as branches,
         (select coalesce(sum(tbalance), 0) from pgbench_tellers)::text as tellers,
         (select coalesce(sum(delta), 0) from pgbench_history)::text as history`;

interface Outcome {
  readonly subject: Subject;
  readonly mode: QueryMode;
  readonly bars: readonly Bar[];
  readonly row: readonly string[];
}

export async function tpcb(bench: Bench): Promise<Report> {
  const { mode, clients = 200, pool = 16, seconds = 60, scale } = bench.options;
  const modes: readonly QueryMode[] = mode === undefined ? ['simple', 'extended'] : [mode];
  const outcomes: Outcome[] = [];
  const versions: string[] = [];
  for (const name of bench.options.subjects ?? (['berth'] as const)) {
    // One at a time: each must have the database to itself for its connections to be counted.
    const subjects = await startSubjects({
      bench: { ...bench, options: { ...bench.options, subjects: [name] } },
      names: [],
      poolSize: pool,
      clientsMax: CLIENTS_MAX,
    });
    try {
      for (const subject of subjects) {
        for (const each of modes) outcomes.push(await measure(bench, subject, each));
      }
      versions.push(...versionsOf(subjects));
    } finally {
      await stopSubjects(subjects);
    }
  }
  return {
    title: `TPC-B, ${clients} clients, pool of ${pool}`,
    columns: ['subject', 'mode', 'transactions', 'per second', 'p50 ms', 'p99 ms', 'connections'],
    rows: outcomes.map((outcome) => outcome.row),
    remarks: [`Connections: the most that a look at pg_stat_activity every ${SAMPLE_MS} ms saw.`],
    bars: outcomes.flatMap((outcome) => outcome.bars),
    conditions: [...versions, `${seconds} s each, scale ${scale}`],
  };
}

async function measure(bench: Bench, subject: Subject, mode: QueryMode): Promise<Outcome> {
  const { clients = 200, pool = 16, seconds = 60, threads, scale } = bench.options;
  const { database, directory } = bench;
  bench.say(`${subject.name} -M ${mode}: tables of scale ${scale}`);
  initialisePgbench(database.address, database.credentials, scale);
  bench.say(`${subject.name} -M ${mode}: ${seconds} s`);
  const { address } = subject;
  const { credentials } = database;
  const script = ['-b', 'tpcb-like'] as const;
  const load = { clients, threads, seconds, mode, script };
  const sampler = sampleConnections(database);
  const result = await runPgbench({ address, credentials, directory, ...load });
  const connectionsMax = await sampler.stop();
  const label = `${subject.name} -M ${mode}`;
  const failures = `exit code ${result.exitCode}, ${result.failedTransactions} failed`;
  const hasFailed = result.exitCode !== 0 || !(result.failedTransactions === 0);
  if (hasFailed) bench.say(result.output);
  const connectionsBar: Bar = {
    name: `${label}: connections`,
    isPassed: connectionsMax <= pool,
    figure: `${connectionsMax}, at most ${pool}`,
  };
  return {
    subject,
    mode,
    bars: [
      { name: `${label}: no failed transaction`, isPassed: !hasFailed, figure: failures },
      await balanceBar(database, label),
      ...(subject.pid === undefined ? [] : [connectionsBar]),
    ],
    row: [
      subject.name,
      mode,
      figure(result.transactions, 0),
      figure(result.transactionsPerSecond, 0),
      figure(percentile(result.latenciesMicros, 0.5) / 1000),
      figure(percentile(result.latenciesMicros, 0.99) / 1000),
      String(connectionsMax),
    ],
  };
}

async function balanceBar(database: Database, label: string): Promise<Bar> {
  const { rows } = await database.admin.query<Record<string, string>>(SUMS);
  const sums = Object.entries(rows[0] ?? {});
  const isBalanced = sums.length === 4 && new Set(sums.map(([, sum]) => sum)).size === 1;
  const figures = sums.map(([table, sum]) => `${table} ${sum}`).join(', ');
  return { name: `${label}: the books balance`, isPassed: isBalanced, figure: figures };
}

/** Counts the proxy's connections again and again until it is stopped. */
function sampleConnections(database: Database): { stop(): Promise<number> } {
  let isOver = false;
  let most = 0;
  const sampling = (async () => {
    while (!isOver) {
      most = Math.max(most, await numberFrom(database, COUNT_CONNECTIONS));
      await Bun.sleep(SAMPLE_MS);
    }
  })();
  return {
    stop: async () => {
      isOver = true;
      await sampling;
      return most;
    },
  };
}
