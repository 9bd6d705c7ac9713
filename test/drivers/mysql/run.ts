/** As ../run.ts, for a MySQL or MariaDB database. */

import { expect } from 'bun:test';
import type { EmbeddedMysql } from '../../../src/embedded/mysql.ts';
import type { Berth } from '../../harness/berth.ts';
import { mysqlAdmin } from '../../harness/mysql/server.ts';
import { untilAllReturned } from '../../integration/side-by-side.ts';
import { type DriverProgram, POOL_SIZE, runDirectly, runProgram } from '../run.ts';

/** Runs the program on both sides and compares. Returns what it printed. */
export async function compareMysqlRuns(
  program: DriverProgram,
  database: EmbeddedMysql,
  berth: Berth,
): Promise<string[]> {
  const direct = await runDirectly(program, mysqlConnectionTo(database.port), database.product);
  // The server goes on with a statement whose client has left.
  const left = new Set(await mysqlConnections(database));
  const through = await runProgram(program, mysqlConnectionTo(berth.port));
  expect(through).toEqual(direct);
  expect(direct.length).toBeGreaterThan(0);
  const pooled = (await mysqlConnections(database)).filter((id) => !left.has(id));
  expect(pooled.length).toBeLessThanOrEqual(POOL_SIZE);
  await untilAllReturned(berth);
  return direct;
}

/** Connections of the proxy's users, without the one of its monitor. */
async function mysqlConnections(database: EmbeddedMysql): Promise<(string | null)[]> {
  const rows = await mysqlAdmin(
    database,
    `select id from information_schema.processlist where user = 'app' and id not in
      (select processlist_id from performance_schema.session_account_connect_attrs
        where attr_name = 'program_name' and attr_value = 'berth-monitor' union all
      select processlist_id from performance_schema.session_connect_attrs
        where attr_name = 'program_name' and attr_value = 'berth-monitor')`,
  );
  return rows.flat();
}

/** Where the program finds its database; there are no variables that all drivers know. */
export function mysqlConnectionTo(port: number): Record<string, string> {
  return {
    MYSQL_HOST: '127.0.0.1',
    MYSQL_TCP_PORT: String(port),
    MYSQL_USER: 'app',
    MYSQL_PWD: 'app-password',
    MYSQL_DATABASE: 'app',
    TZ: 'UTC',
  };
}
