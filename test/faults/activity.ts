/** What a database is doing now, asked past the proxy, and small things that several tests need. */

import type { EmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { textRows } from '../harness/backend-messages.ts';
import { eventually } from '../harness/polling.ts';
import { adminQuery } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';

/** The process that runs a statement with this text in it, once one does. */
export async function untilRunning(database: EmbeddedPostgres, text: string): Promise<string> {
  const sql = `select pid::text from pg_stat_activity
    where state = 'active' and pid <> pg_backend_pid() and position('${text}' in query) > 0`;
  const look = async () => (await adminQuery(database, sql))[0]?.pid ?? undefined;
  return await eventually(look, `a running statement with ${text}`);
}

/** The process that serves the client's next statement. */
export async function backendPid(client: RawClient): Promise<string> {
  return textRows(await client.query('select pg_backend_pid()'))[0]?.[0] ?? '';
}

/** Connections of the proxy's users, without those of its monitor and of the test itself. */
const POOLED = `from pg_stat_activity where backend_type = 'client backend'
  and application_name <> 'berth-monitor' and usename <> 'postgres'`;

export async function pooledConnections(
  database: EmbeddedPostgres,
  user?: string,
): Promise<number> {
  const ofUser = user === undefined ? '' : ` and usename = '${user}'`;
  const [row] = await adminQuery(database, `select count(*) as count ${POOLED}${ofUser}`);
  return Number(row?.count);
}

/** Connections of the proxy's users that are inside a transaction. */
export async function openTransactions(database: EmbeddedPostgres): Promise<number> {
  const [row] = await adminQuery(
    database,
    `select count(*) as count ${POOLED} and state <> 'idle'`,
  );
  return Number(row?.count);
}

/** Properties of a test's configuration that put something before the database. */
export function reachedAt(port: number) {
  const Endpoint = { Address: '127.0.0.1', Port: port };
  return {
    DBInstances: [{ DBInstanceIdentifier: 'orders-db', Engine: 'postgres', Endpoint }],
  };
}
