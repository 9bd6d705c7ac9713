/**
 * Database connections that are lost, before PostgreSQL, as programs see it: a backend that is killed, which
 * takes all others along, and drivers that go on with the connection that they have.
 */

import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { Client } from 'pg';
import postgres from 'postgres';
import { formatMessage, sqlStates, textRows } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { adminQuery, START_DEADLINE_MS, usePostgres } from '../harness/postgres.ts';
import { backendPid, reachedAt, untilRunning } from './activity.ts';
import { useNetwork } from './hostile-network.ts';

setDefaultTimeout(30_000);

const database = usePostgres();
const network = useNetwork(() => database().port);
const berth = useBerth(() => ({
  database: database(),
  file: reachedAt(network().port),
  pool: { MaxConnections: 4 },
  expect: [
    'connection.closed',
    'connection.open_failed',
    'listener.lost',
    'session.interrupted',
    'target.health_changed',
  ],
}));

beforeAll(async () => {
  await adminQuery(database(), 'create table kept (a int); grant all on kept to app');
  // What was committed last is not on a disk yet.
  await adminQuery(database(), 'checkpoint');
}, START_DEADLINE_MS);

/** Cuts every connection to the database, and waits until the session that had one knows. */
async function cut(): Promise<void> {
  const { length } = berth().logged('session.interrupted');
  network().resetAll();
  await berth().untilLogged('session.interrupted', length + 1);
}

test('PG-31 a backend that is killed takes all along, and no client', async () => {
  using idle = await berth().login();
  using inside = await berth().login();
  using running = await berth().login();
  using listener = await berth().login();
  await idle.query("set work_mem = '5MB'");
  await listener.query('listen news');
  await inside.query('begin; insert into kept values (1)');
  running.send(frontend.query('select pg_sleep(60)'));
  const victim = await untilRunning(database(), 'pg_sleep(60)');
  expect(await backendPid(inside)).not.toBe(victim);
  const { length } = berth().logged('session.interrupted');
  process.kill(Number(victim), 'SIGKILL');
  const told = await running.untilReady();
  expect(told.map(formatMessage).at(-1)).toBe('ReadyForQuery I');
  expect(sqlStates(told)).toEqual(['08006']);
  // The others are told by the server that it restarts.
  await berth().untilLogged('session.interrupted', length + 2);
  const [state] = sqlStates(await inside.query('insert into kept values (2)'));
  expect(['57P02', '08006']).toContain(state ?? '');
  expect(sqlStates(await inside.query('rollback'))).toEqual([]);
  expect(textRows(await inside.query('select count(*) from kept'))).toEqual([['0']]);
  expect(textRows(await idle.query('show work_mem'))).toEqual([['5MB']]);
  await eventually(async () => {
    await idle.query("notify news, 'again'");
    return listener.received.some(({ type }) => type === 'A') ? true : undefined;
  }, 'a notification');
  await untilMetric(berth(), 'database_connections_currently_borrowed', 0);
});

describe('PG-31 drivers go on', () => {
  const options = () => ({
    host: '127.0.0.1',
    port: berth().port,
    user: 'app',
    password: 'app-password',
    database: 'app',
  });
  const codeOf = (error: unknown) =>
    error instanceof Error && 'code' in error ? error.code : error;

  test('node-postgres', async () => {
    const client = new Client(options());
    await client.connect();
    const named = { name: 'one', text: 'insert into kept values ($1)', values: [1] };
    await client.query('begin');
    await client.query(named);
    await cut();
    expect(await client.query(named).catch(codeOf)).toBe('08006');
    expect(await client.query('select 1').catch(codeOf)).toBe('25P02');
    await client.query('rollback');
    const running = client.query('select pg_sleep($1)', [60]).catch(codeOf);
    await untilRunning(database(), 'pg_sleep($1)');
    await cut();
    expect(await running).toBe('08006');
    await client.query('begin');
    await client.query(named);
    await client.query('rollback');
    expect((await client.query('select count(*)::int from kept')).rows).toEqual([{ count: 0 }]);
    await client.end();
  });

  test('postgres.js', async () => {
    const { length: logins } = berth().logged('client.authenticated');
    const sql = postgres({ ...options(), max: 1 });
    const [before] = await sql`select 1 as one`;
    expect(before?.one).toBe(1);
    const begun = sql.begin(async (transaction) => {
      await transaction`insert into kept values (${1})`;
      await cut();
      await transaction`insert into kept values (${2})`;
    });
    expect(await begun.catch(codeOf)).toBe('08006');
    const running = sql`select pg_sleep(${60})`.catch(codeOf);
    await untilRunning(database(), 'pg_sleep($1)');
    await cut();
    expect(await running).toBe('08006');
    const [after] = await sql`select count(*)::int from kept`;
    expect(after?.count).toBe(0);
    await sql.end();
    expect(berth().logged('client.authenticated')).toHaveLength(logins + 1);
  });
});
