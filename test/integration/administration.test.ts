/** What an administrator does to a database past the proxy, while the proxy has connections to it. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { untilMetric } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';

setDefaultTimeout(20_000);

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  expect: ['connection.closed', 'connection.open_failed', 'borrow.failed'],
}));

/** Leaves an idle connection to a new database in the pool. */
async function visit(name: string): Promise<void> {
  await adminQuery(database(), `CREATE DATABASE ${name}`);
  const client = await berth().login({ database: name });
  expect(textRows(await client.query('SELECT 1'))).toEqual([['1']]);
  await client.end();
  await untilMetric(berth(), 'client_connections', 0);
}

test('an idle connection of the pool keeps DROP DATABASE from succeeding, until it is ended', async () => {
  await visit('visited');
  const drop = 'DROP DATABASE visited';
  await expect(adminQuery(database(), drop)).rejects.toThrow('is being accessed by other users');
  await adminQuery(
    database(),
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'visited'",
  );
  await adminQuery(database(), drop);
});

test('DROP DATABASE ... WITH (FORCE) ends them; who comes then is told what a server would say', async () => {
  await visit('forced');
  using other = await berth().login();
  using client = await berth().login({ database: 'forced' });
  await adminQuery(database(), 'DROP DATABASE forced WITH (FORCE)');
  // Their log-in is remembered, so it is the first statement that finds out.
  using late = await berth().login({ database: 'forced' });
  for (const each of [client, late]) {
    each.send(frontend.query('SELECT 1'));
    expect(sqlStates(await each.untilClosed())).toEqual(['3D000']);
  }
  expect(textRows(await other.query('SELECT 2'))).toEqual([['2']]);
});
