/**
 * `npm run soak -- --engine mariadb`: as for PostgreSQL, in small. Random clients of a real MariaDB or MySQL, on a
 * pool far too small for them, leave in every state, while database connections are killed.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { EmbeddedMysql, MysqlProduct } from '../../../src/embedded/mysql.ts';
import { Berth } from '../../harness/berth.ts';
import { makeMysqlConfiguration } from '../../harness/mysql/configuration.ts';
import { MysqlRawClient } from '../../harness/mysql/raw-client.ts';
import { availableServers, loginOf, mysqlAdmin, startMysql } from '../../harness/mysql/server.ts';
import type { Findings } from '../findings.ts';
import { type Growth, MemoryWatch } from '../memory.ts';
import { scrape } from '../metrics.ts';
import { Random } from '../random.ts';
import { Disturbed, TimedOut } from '../session.ts';
import { ENDINGS, OPERATIONS, type RowLedger } from './operations.ts';
import { MysqlSession } from './session.ts';

export interface MysqlSoakOptions {
  readonly product: MysqlProduct;
  readonly minutes: number;
  readonly actors: number;
  readonly pool: number;
  readonly seed: number;
}

const OPERATIONS_MAX = 12;
const WATCHDOG_MS = 60_000;
const KILL_PAUSE_MS = { least: 100, most: 1_500 };
const SETTLE_MS = 20_000;
const POLL_MS = 250;
const FIRST_VALUE = 'first';

/** Gauges that are 0 in a proxy without clients. */
const ZERO_GAUGES = [
  'client_connections',
  'client_connections_in_setup',
  'database_connections_currently_borrowed',
  'database_connections_currently_in_transaction',
  'database_connections_currently_session_pinned',
  'berth_borrow_queue_depth',
];

const POOLED = `select id from information_schema.processlist where user = 'app'
  and id not in (select processlist_id from performance_schema.session_account_connect_attrs
    where attr_name = 'program_name' and attr_value = 'berth-monitor')`;

interface Stage {
  readonly database: EmbeddedMysql;
  readonly port: number;
  readonly findings: Findings;
  readonly options: MysqlSoakOptions;
  isOver(): boolean;
}

/** Undefined: the machine has no such server. */
export async function soakMysql(
  options: MysqlSoakOptions,
  findings: Findings,
): Promise<Growth | undefined> {
  const server = availableServers().find(({ product }) => product === options.product);
  if (server === undefined) return undefined;
  const database = await startMysql(server);
  try {
    await createTables(database, options.actors);
    const berth = await Berth.start({
      configuration: makeMysqlConfiguration(database, {
        pool: { MaxConnections: options.pool, BorrowedIdleTimeout: 10 },
      }),
      logLevel: 'info',
    });
    try {
      const memory = new MemoryWatch(berth.pid);
      const end = Date.now() + options.minutes * 60_000;
      const isOver = () => Date.now() >= end;
      const stage = { database, port: berth.port, findings, options, isOver };
      await Promise.all([
        killConnections(stage),
        ...Array.from({ length: options.actors }, (_, index) => act(stage, index + 1)),
      ]);
      const growth = memory.stop();
      await judgeAftermath(stage, berth);
      return growth;
    } finally {
      await berth.kill();
    }
  } finally {
    await database.stop();
  }
}

async function createTables(database: EmbeddedMysql, actors: number): Promise<void> {
  const values = Array.from({ length: actors }, (_, index) => `(${index + 1}, '${FIRST_VALUE}')`);
  await mysqlAdmin(
    database,
    `create table app.own (actor int primary key, value text) engine=InnoDB;
     create table app.ids (id int auto_increment primary key, line text) engine=InnoDB;
     create table app.numbers (id int);
     insert into app.own values ${values.join()};
     insert into app.numbers select ordinal_position from information_schema.columns limit 500`,
  );
}

async function act(stage: Stage, actor: number): Promise<void> {
  const random = new Random(stage.options.seed, actor);
  const ledger: RowLedger = { possible: [FIRST_VALUE] };
  for (let number = 1; !stage.isOver(); number++) {
    const client = await login(stage);
    if (client === undefined) continue;
    await live(stage, new MysqlSession(client, actor, number, stage.findings), { random, ledger });
  }
}

async function login({ port, findings }: Stage): Promise<MysqlRawClient | undefined> {
  try {
    const client = await MysqlRawClient.login({ port }, { ...loginOf(), deadlineMs: WATCHDOG_MS });
    findings.count('login');
    return client;
  } catch (error) {
    // The connection that was asked what the client begins with may have been killed.
    const words = String(error);
    if (/9501|1158|1317|1927|1053/.test(words)) findings.count('disturbed');
    else findings.violation('login', words);
    await sleep(POLL_MS);
    return undefined;
  }
}

async function live(
  { findings, isOver, port }: Stage,
  session: MysqlSession,
  { random, ledger }: { readonly random: Random; readonly ledger: RowLedger },
): Promise<void> {
  const scene = { session, random, ledger, port };
  const watchdog = setTimeout(() => {
    session.violation('stuck', `no end after ${WATCHDOG_MS / 1000} s`);
    session.client.reset();
  }, WATCHDOG_MS);
  try {
    for (let left = random.between(0, OPERATIONS_MAX); left > 0 && !isOver(); left--) {
      const operation = random.pickWeighted(OPERATIONS);
      session.begin(operation.name);
      await operation.run(scene);
      findings.count(`operation ${operation.name}`);
      if (random.chance(0.4)) await sleep(random.between(0, 30));
      watchdog.refresh();
    }
    const ending = random.pickWeighted(ENDINGS);
    session.begin(ending.name);
    await ending.run(scene);
    findings.count(`ending ${ending.name}`);
  } catch (error) {
    if (error instanceof TimedOut) findings.count('borrow timeout');
    else if (error instanceof Disturbed) findings.count('disturbed');
    else session.violation('unexpected_error', String(error));
  } finally {
    clearTimeout(watchdog);
    if (random.chance(0.5)) session.client.reset();
    else session.client.destroy();
  }
}

async function killConnections({ database, options, findings, isOver }: Stage): Promise<void> {
  const random = new Random(options.seed, -2);
  while (!isOver()) {
    await sleep(random.between(KILL_PAUSE_MS.least, KILL_PAUSE_MS.most));
    const rows = await mysqlAdmin(database, POOLED);
    if (rows.length === 0 || isOver()) continue;
    const [id] = random.pick(rows);
    // It may be gone by itself.
    const done = await mysqlAdmin(database, `kill ${id}`).catch(() => undefined);
    if (done !== undefined) findings.count('terminated');
  }
}

async function judgeAftermath(stage: Stage, berth: Berth): Promise<void> {
  const deadline = Date.now() + SETTLE_MS;
  let wrong = await whatIsWrong(stage, berth);
  while (wrong.length > 0 && Date.now() < deadline) {
    await sleep(POLL_MS);
    wrong = await whatIsWrong(stage, berth);
  }
  for (const words of wrong) stage.findings.violation('aftermath', words);
  for (const line of berth.logged('internal.failed')) {
    stage.findings.violation('aftermath', JSON.stringify(line).slice(0, 500));
  }
  await judgeService(stage);
}

async function whatIsWrong({ database, options }: Stage, berth: Berth): Promise<string[]> {
  const connections = (await mysqlAdmin(database, POOLED)).length;
  const gauges = await scrape(`${berth.apiUrl}/metrics`);
  const wrong = ZERO_GAUGES.filter((name) => gauges.get(name) !== 0).map(
    (name) => `${name} is ${gauges.get(name)}, should be 0`,
  );
  const open = await mysqlAdmin(database, 'select count(*) from information_schema.innodb_trx');
  if (open[0]?.[0] !== '0') wrong.push(`${open[0]?.[0]} transactions are open`);
  if (connections > options.pool) wrong.push(`${connections} connections for ${options.pool}`);
  const counted = gauges.get('database_connections');
  if (counted !== connections) {
    wrong.push(`database_connections is ${counted}, the database sees ${connections}`);
  }
  return wrong;
}

/** As many transactions at once as the pool has connections: every permit is there. */
async function judgeService({ port, options, findings }: Stage): Promise<void> {
  const clients: MysqlRawClient[] = [];
  try {
    for (let count = 0; count < options.pool; count++) {
      const client = await MysqlRawClient.login({ port }, loginOf());
      clients.push(client);
      await client.rows('begin; select 1 from own');
    }
    findings.count('served at once afterwards');
  } catch (error) {
    const where = `transaction ${clients.length} of ${options.pool}`;
    findings.violation('aftermath', `the pool does not serve any more: ${where}: ${error}`);
  } finally {
    for (const client of clients) client.destroy();
  }
}
