/**
 * sysbench against a proxy before MySQL or MariaDB, and what must hold of each run: no error, tables that are
 * whole, and never more connections than the pool may have, by the server's own count.
 */

import { spawn } from 'node:child_process';
import type { EmbeddedMysql } from '../../../src/embedded/mysql.ts';
import type { Berth } from '../berth.ts';
import { within } from '../deadline.ts';
import type { ProgramResult } from '../programs.ts';
import { MostConnections } from './most-connections.ts';
import { mysqlAdmin } from './server.ts';

const TABLES = 4;
const ROWS = 1_000;
const START_AND_END_MS = 60_000;
/** A look of the monitor that has left, until its thread has gone to its end; nothing tells when. */
const STILL_COUNTED = 1;

export const SYSBENCH_SCRIPTS = ['oltp_point_select', 'oltp_read_write'] as const;

export interface SysbenchLoad {
  readonly database: EmbeddedMysql;
  readonly berth: Berth;
  /** As many connections as its pool may have. */
  readonly poolSize: number;
  readonly script: (typeof SYSBENCH_SCRIPTS)[number];
  readonly isPrepared: boolean;
  readonly threads: number;
  readonly seconds: number;
}

export interface SysbenchOutcome {
  readonly transactions: number;
  /** What should not be, in words; none. */
  readonly wrong: readonly string[];
}

/** Makes the tables anew, directly, and runs the load through the proxy. */
export async function loadWithSysbench(load: SysbenchLoad): Promise<SysbenchOutcome> {
  const { berth, database, poolSize, seconds, threads } = load;
  const deadlineMs = START_AND_END_MS + 2_000 * seconds;
  for (const command of ['cleanup', 'prepare']) {
    const { code, stdout } = await sysbench(database.port, load, [command], deadlineMs);
    if (code !== 0) throw new Error(`sysbench ${command}: ${stdout}`);
  }
  using counted = await MostConnections.count(database, berth);
  const args = [`--threads=${threads}`, `--time=${seconds}`, 'run'];
  const { code, stdout, stderr } = await sysbench(berth.port, load, args, deadlineMs);
  const transactions = Number(/transactions: +(\d+)/.exec(stdout)?.[1] ?? 0);
  const wrong: string[] = [];
  if (code !== 0 || stderr !== '') wrong.push(`sysbench ended with ${code}: ${stderr || stdout}`);
  if (transactions === 0) wrong.push('no transaction was counted');
  if (!/reconnects: +0 /.test(stdout)) wrong.push('sysbench had to connect again');
  const most = await counted.most();
  if (most > poolSize + STILL_COUNTED)
    wrong.push(`${most} connections at once, for a pool of ${poolSize}`);
  return { transactions, wrong: [...wrong, ...(await brokenTables(database))] };
}

/** Each transaction of `oltp_read_write` deletes a row and inserts it again. */
async function brokenTables(database: EmbeddedMysql): Promise<string[]> {
  const whole = `${ROWS},${(ROWS * (ROWS + 1)) / 2}`;
  const broken: string[] = [];
  for (let table = 1; table <= TABLES; table++) {
    const name = `sbtest${table}`;
    const found = await mysqlAdmin(database, `select count(*), sum(id) from app.${name}`);
    if (found.join() !== whole) broken.push(`${name}: ${found.join()} instead of ${whole}`);
  }
  return broken;
}

async function sysbench(
  port: number,
  { script, isPrepared }: SysbenchLoad,
  more: readonly string[],
  deadlineMs: number,
): Promise<ProgramResult> {
  const args = [
    script,
    '--db-driver=mysql',
    '--mysql-host=127.0.0.1',
    `--mysql-port=${port}`,
    '--mysql-user=app',
    '--mysql-password=app-password',
    '--mysql-db=app',
    `--tables=${TABLES}`,
    `--table-size=${ROWS}`,
    `--db-ps-mode=${isPrepared ? 'auto' : 'disable'}`,
    ...more,
  ];
  const child = spawn('sysbench', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const closed = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  try {
    const what = () => `the end of sysbench\n${stdout}${stderr}`;
    return { code: await within(closed, what, deadlineMs), stdout, stderr };
  } finally {
    child.kill('SIGKILL');
  }
}
