/**
 * A new connection for every transaction: what a login costs. Clients log in with SCRAM; the floor
 * trusts. The bench's own client keeps its salted password and takes no care of certificates, so that
 * the proxy is what is busy; pgbench spends most of the machine on its own side of each login.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Report } from '../report.ts';
import type { Subject } from '../subject/subject.ts';
import { query } from '../wire/messages.ts';
import { RawClient } from '../wire/raw-client.ts';
import {
  cpuBar,
  measureRounds,
  pgbenchWorkload,
  ROUND_COLUMNS,
  roundRow,
  type Work,
  type Workload,
} from './rounds.ts';
import { type Bench, CLIENTS_MAX, startSubjects, stopSubjects, versionsOf } from './scenario.ts';

const PGBOUNCER_TLS_RATIO_MAX = 0.8;

export async function connect(bench: Bench): Promise<Report> {
  const { clients = 16, pool = 16, seconds = 5, client } = bench.options;
  const subjects = await startSubjects({
    bench,
    names: ['direct', 'pgbouncer', 'floor', 'berth'],
    poolSize: pool,
    clientsMax: CLIENTS_MAX,
  });
  try {
    const workload =
      client === 'pgbench' ? withPgbench(bench, clients) : withOwnClient(bench, clients);
    const measured = await measureRounds(bench, subjects, seconds, workload);
    const bar = bench.tls && cpuBar(measured, 'pgbouncer', PGBOUNCER_TLS_RATIO_MAX);
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
        `${bench.options.rounds} interleaved rounds of ${seconds} s after ${bench.options.warmup} s, ${client === 'pgbench' ? 'pgbench -C' : "the bench's own client"}`,
      ],
    };
  } finally {
    await stopSubjects(subjects);
  }
}

function withPgbench(bench: Bench, clients: number): Workload {
  const { threads } = bench.options;
  const scriptFile = join(bench.directory, 'select1.sql');
  writeFileSync(scriptFile, 'select 1;\n');
  const script = ['-f', scriptFile] as const;
  const extraFlags = ['-C'];
  return pgbenchWorkload(bench, { clients, threads, mode: 'simple', script, extraFlags });
}

function withOwnClient(bench: Bench, clients: number): Workload {
  return async (subject, seconds): Promise<Work> => {
    const latenciesMicros: number[] = [];
    const begin = performance.now();
    const end = begin + seconds * 1000;
    const one = async () => {
      for (let now = performance.now(); now < end; now = performance.now()) {
        await connectAndAsk(bench, subject);
        latenciesMicros.push((performance.now() - now) * 1000);
      }
    };
    await Promise.all(Array.from({ length: clients }, one));
    const transactions = latenciesMicros.length;
    const tookSeconds = (performance.now() - begin) / 1000;
    return { transactions, transactionsPerSecond: transactions / tookSeconds, latenciesMicros };
  };
}

async function connectAndAsk({ database, tls }: Bench, { address, name }: Subject): Promise<void> {
  const hasTls = tls !== undefined && name !== 'direct';
  const client = await RawClient.connect(address, database.credentials, hasTls);
  client.send(query('select 1'));
  for (;;) {
    const { type } = await client.receive();
    if (type === 'E') throw new Error(`select 1 failed through ${name}`);
    if (type === 'Z') break;
  }
  client.terminate();
}
