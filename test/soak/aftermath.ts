/**
 * What must be true when everybody has left: no permit without a connection and no connection
 * without a permit, no connection in a transaction or with a lock, nobody who listens for clients
 * that are not there, and a pool that still serves as many transactions at once as it has connections.
 */

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Database, LISTENER_NAME, UNPOOLED_NAMES } from '../../bench/database.ts';
import type { Subject } from '../../bench/subject/subject.ts';
import { query } from '../../bench/wire/messages.ts';
import { RawClient, ServerError } from '../../bench/wire/raw-client.ts';
import type { Findings } from './findings.ts';
import { scrape } from './metrics.ts';

/** The connection that listens outlives its last client by 10 seconds. */
const SETTLE_MS = 20_000;
const POLL_MS = 250;
const SERVE_DEADLINE_MS = 20_000;

/** Gauges that are 0 in a proxy without clients. */
const ZERO_GAUGES = [
  'client_connections',
  'client_connections_in_setup',
  'database_connections_currently_borrowed',
  'database_connections_currently_in_transaction',
  'database_connections_currently_session_pinned',
  'berth_borrow_queue_depth',
  'berth_notification_subscriptions',
];

const INTERNAL_FAILED = '"internal.failed"';

const CONNECTIONS = `
  select pid, state, xact_start is not null as in_transaction,
         (select count(*)::int from pg_locks l where l.pid = a.pid) as locks
  from pg_stat_activity a where usename = $1 and application_name <> all($2)`;

const LISTENERS = 'select pid from pg_stat_activity where application_name = $1';

interface ConnectionRow {
  readonly pid: number;
  readonly state: string | null;
  readonly in_transaction: boolean;
  readonly locks: number;
}

export interface AftermathRequest {
  readonly database: Database;
  readonly subject: Subject;
  readonly poolSize: number;
  readonly findings: Findings;
}

/** Adds a violation for everything that is still wrong when the settling time is over. */
export async function judgeAftermath(request: AftermathRequest): Promise<void> {
  const deadline = Date.now() + SETTLE_MS;
  let wrong = await whatIsWrong(request);
  while (wrong.length > 0 && Date.now() < deadline) {
    await sleep(POLL_MS);
    wrong = await whatIsWrong(request);
  }
  for (const words of wrong) request.findings.violation('aftermath', words);
  await judgeService(request);
  judgeLog(request);
}

/** A mistake of ours that a session survived is still a mistake. */
function judgeLog({ subject, findings }: AftermathRequest): void {
  if (subject.logFile === undefined) return;
  for (const line of readFileSync(subject.logFile, 'utf8').split('\n')) {
    if (line.includes(INTERNAL_FAILED)) findings.violation('aftermath', line.slice(0, 500));
  }
}

async function whatIsWrong(request: AftermathRequest): Promise<string[]> {
  const { database, poolSize, subject } = request;
  const { rows } = await database.admin.query<ConnectionRow>(CONNECTIONS, [
    database.credentials.user,
    UNPOOLED_NAMES,
  ]);
  const wrong = rows
    .filter(({ state, in_transaction, locks }) => state !== 'idle' || in_transaction || locks > 0)
    .map((row) => `connection ${row.pid} is ${row.state} and holds ${row.locks} locks`);
  if (rows.length > poolSize) wrong.push(`${rows.length} connections for a pool of ${poolSize}`);
  const listeners = await database.admin.query<{ pid: number }>(LISTENERS, [LISTENER_NAME]);
  wrong.push(...listeners.rows.map(({ pid }) => `connection ${pid} listens for nobody`));
  if (subject.metricsUrl !== undefined) {
    wrong.push(...(await whatGaugesSay(subject.metricsUrl, rows.length)));
  }
  return wrong;
}

async function whatGaugesSay(url: string, connections: number): Promise<string[]> {
  const gauges = await scrape(url);
  const wrong: string[] = [];
  for (const name of ZERO_GAUGES) {
    const value = gauges.get(name);
    if (value !== 0) wrong.push(`${name} is ${value}, should be 0`);
  }
  const counted = gauges.get('database_connections');
  if (counted !== connections) {
    wrong.push(`database_connections is ${counted}, the database sees ${connections}`);
  }
  return wrong;
}

/** As many transactions at once as the pool has connections: every permit is there. */
async function judgeService(request: AftermathRequest): Promise<void> {
  const { subject, database, poolSize, findings } = request;
  const clients: RawClient[] = [];
  const deadline = setTimeout(() => {
    for (const client of clients) client.reset();
  }, SERVE_DEADLINE_MS);
  try {
    for (let count = 0; count < poolSize; count++) {
      const client = await RawClient.connect(subject.address, database.credentials);
      clients.push(client);
      client.send(query('begin'));
      await untilReady(client);
    }
    for (const client of clients) {
      client.send(query('commit'));
      await untilReady(client);
      client.terminate();
    }
    findings.count('served at once afterwards');
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    const where = `transaction ${clients.length} of ${poolSize}`;
    findings.violation('aftermath', `the pool does not serve any more: ${where}: ${words}`);
  } finally {
    clearTimeout(deadline);
    for (const client of clients) client.reset();
  }
}

async function untilReady(client: RawClient): Promise<void> {
  for (;;) {
    const { type, body } = await client.receive();
    if (type === 'E') throw new ServerError(body);
    if (type === 'Z') return;
  }
}
