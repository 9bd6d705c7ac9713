/** PG-37: what pins a session, what does not, and what becomes of a pinned connection afterwards. */

import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { untilRunning } from '../faults/activity.ts';
import { formatMessage, sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth, type LogLine, useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { adminQuery, START_DEADLINE_MS, usePostgres } from '../harness/postgres.ts';
import { RawClient } from '../harness/raw-client.ts';
import { loginDirectly, untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(20_000);

const { bind, execute, parse, query, sync } = frontend;

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  pool: { MaxConnections: 1 },
  expect: ['session.pinned'],
}));

beforeAll(async () => {
  await adminQuery(
    database(),
    `create table entries (id serial, note text);
     alter table entries owner to app; alter sequence entries_id_seq owner to app`,
  );
}, START_DEADLINE_MS);

async function pins(reason: string): Promise<number> {
  return await berth().metric('berth_session_pins_total', { reason });
}

/** The line of the log that comes after `count` such lines. */
async function pinAfter(count: number): Promise<LogLine | undefined> {
  return (await berth().untilLogged('session.pinned', count + 1)).at(-1);
}

/** How a statement is sent. */
const WAYS: readonly [name: string, messages: (sql: string) => Buffer[]][] = [
  ['simple', (sql) => [query(sql)]],
  ['extended', (sql) => [parse('', sql), bind(), execute(), sync()]],
];

/** What pins, by its reason, with what RDS Proxy's log would call it. */
const PINNING: readonly [reason: string, sql: string][] = [
  ['set', "set app.tenant = 'é'"],
  ['set', "select set_config('app.' || 'tenant', 'x', false)"],
  ['temporary_object', 'create temp table t (id int)'],
  ['temporary_object', 'create temporary table if not exists t (id int)'],
  ['temporary_object', 'create temp sequence s'],
  ['temporary_object', 'create temp view v as select 1'],
  ['temporary_object', 'create table pg_temp.t (id int)'],
  ['temporary_object', 'select 1 as one into temp t'],
  ['temporary_object', 'create temp table t as select 1 as one'],
  ['listen', 'listen channel'],
  ['sql_prepare', 'prepare p as select 1'],
  ['advisory_lock', 'select pg_advisory_lock(1)'],
  ['advisory_lock', 'select pg_try_advisory_lock_shared(1)'],
  ['sequence', "select nextval('entries_id_seq')"],
  ['sequence', "select setval('entries_id_seq', 100)"],
];

describe.each([...WAYS])('PG-37 pins, %s', (_way, messages) => {
  test.each([...PINNING])('%s: %s', async (reason, sql) => {
    const before = await pins(reason);
    const { length: lines } = berth().logged('session.pinned');
    using client = await berth().login();
    client.send(...messages(sql));
    expect(sqlStates(await client.untilReady())).toEqual([]);
    await untilMetric(berth(), 'database_connections_currently_session_pinned', 1);
    expect(await pins(reason)).toBe(before + 1);
    const line = await pinAfter(lines);
    expect(line?.reason).toBe(reason);
    expect(line?.msg).toMatch(
      /^The client session was pinned to the database connection \[dbConnection=\d+\] for the remainder of the session\. The proxy can't reuse this connection until the session ends\. Reason: /,
    );
    await client.end();
    await untilAllReturned(berth());
  });
});

test('PG-37 a cursor WITH HOLD pins, and is gone for the next client', async () => {
  const before = await pins('hold_cursor');
  using client = await berth().login();
  await client.query('begin; declare held cursor with hold for select 1; commit');
  await untilMetric(berth(), 'database_connections_currently_session_pinned', 1);
  expect(await pins('hold_cursor')).toBe(before + 1);
  expect(textRows(await client.query('fetch all from held'))).toEqual([['1']]);
  await client.end();
  using next = await berth().login();
  expect(sqlStates(await next.query('fetch all from held'))).toEqual(['34000']);
});

test('PG-37 LOAD pins', async () => {
  const before = await pins('load');
  using client = await berth().login();
  // Whether the database lets this user do it or not.
  await client.query("load 'plpgsql'");
  expect(await pins('load')).toBe(before + 1);
  await client.end();
  await untilAllReturned(berth());
});

describe('PG-37 does not pin', () => {
  test.each([
    'select 1',
    'insert into entries (note) values (1)',
    'begin; set local work_mem = 1234; select 1; commit',
    "begin; select set_config('work_mem', '5MB', true); commit",
    'begin; set transaction isolation level serializable; select 1; commit',
    'begin isolation level repeatable read read only; commit',
    'select pg_advisory_xact_lock(1)',
    'begin; select pg_try_advisory_xact_lock(1); commit',
    'notify channel',
    'begin; declare c cursor for select 1; fetch c; commit',
    "select 'create temp table t (id int)', 'set work_mem = 1' -- listen channel",
    'create table plain (id int); drop table plain',
    'show work_mem',
  ])('%s', async (sql) => {
    // Not the log, which is written later: a line of the test before may still be on its way.
    const before = await berth().metric('berth_session_pins_total');
    using client = await berth().login();
    for (const [, messages] of WAYS) {
      if (sql.includes(';') && messages !== WAYS[0]?.[1]) continue;
      client.send(...messages(sql));
      expect(sqlStates(await client.untilReady())).toEqual([]);
    }
    // The one connection of the pool serves another client while this one is still here.
    using other = await berth().login();
    expect(textRows(await other.query("select 'served'"))).toEqual([['served']]);
    expect(await berth().metric('berth_session_pins_total')).toBe(before);
    await untilAllReturned(berth());
  });
});

describe('PG-37 a pinned session keeps what it has', () => {
  test('settings, temporary tables, statements, sequences, locks', async () => {
    using client = await berth().login();
    await client.query("set application_name = 'pinned one'; create temp table mine (id int)");
    await client.query(
      'insert into mine values (1), (2); prepare count as select count(*) from mine',
    );
    await client.query("select nextval('entries_id_seq'), pg_advisory_lock(42)");
    expect(textRows(await client.query('execute count'))).toEqual([['2']]);
    expect(textRows(await client.query('show application_name'))).toEqual([['pinned one']]);
    expect(sqlStates(await client.query('select lastval()'))).toEqual([]);
    expect(textRows(await client.query('select pg_advisory_unlock(42)'))).toEqual([['t']]);
  });

  test('and is told what it told itself: NOTIFY', async () => {
    using client = await berth().login();
    using direct = await loginDirectly(database());
    for (const each of [direct, client]) {
      await each.query('listen news');
      const answer = (await each.query("notify news, 'from me'")).map(formatMessage);
      expect(answer).toContain('NotificationResponse channel="news" payload="from me"');
    }
  });

  test('PG-33 and what others tell it while it is idle, in an open transaction too', async () => {
    using client = await berth().login();
    await client.query('listen news');
    for (let round = 0; round < 10; round++) {
      await adminQuery(database(), `notify news, 'round ${round}'`);
      expect(formatMessage(await client.next())).toContain(`payload="round ${round}"`);
    }
    await client.query('begin');
    await adminQuery(database(), "notify news, 'later'");
    const answer = (await client.query('commit')).map(formatMessage);
    if (!answer.some((line) => line.includes('later'))) {
      expect(formatMessage(await client.next())).toContain('payload="later"');
    }
  });
});

describe('PG-37 the next client finds a connection as good as new', () => {
  test('on the same connection', async () => {
    using first = await berth().login();
    const [[pid] = []] = textRows(await first.query('select pg_backend_pid()'));
    await first.query(
      "set work_mem = '7MB'; set search_path = pg_catalog; create temp table left_over (id int)",
    );
    await first.query(
      "set application_name = 'left over'; set time zone 'Asia/Tokyo'; listen left_over",
    );
    await first.query(
      "prepare left_over as select 1; select pg_advisory_lock(7), nextval('public.entries_id_seq')",
    );
    await first.query('begin; declare left_over cursor with hold for select 1; commit');
    first.send(parse('left_over', 'select 1'), sync());
    await first.untilReady();
    await first.end();
    await untilAllReturned(berth());

    using next = await berth().login();
    expect(next.parameters.get('TimeZone')).not.toBe('Asia/Tokyo');
    const facts = await next.query(
      `select pg_backend_pid(), current_setting('work_mem'), current_setting('search_path'),
        current_setting('application_name'), to_regclass('left_over'),
        (select count(*) from pg_prepared_statements), (select count(*) from pg_cursors),
        (select count(*) from pg_listening_channels()),
        (select count(*) from pg_locks where locktype = 'advisory')`,
    );
    const expected = [pid, '4MB', '"$user", public', '', null, '0', '0', '0', '0'];
    expect(textRows(facts)).toEqual([expected as (string | null)[]]);
    expect(facts.some(({ type }) => type === 'S')).toBe(false);
    expect(sqlStates(await next.query('select lastval()'))).toEqual(['55000']);
  });

  test('after a pinned client vanished in the middle of a transaction', async () => {
    using first = await berth().login();
    await first.query("set work_mem = '7MB'");
    await first.query('begin; create temp table left_over (id int); select pg_advisory_lock(8)');
    first.reset();
    using next = await berth().login();
    const facts = await next.query(
      `select current_setting('work_mem'), to_regclass('left_over'),
        (select count(*) from pg_locks where locktype = 'advisory')`,
    );
    expect(textRows(facts)).toEqual([['4MB', null, '0']]);
  });

  test('also when DISCARD ALL has to wait; a client that queues is served after it', async () => {
    const first = await berth().login();
    await first.query('create temp table slow (id int)');
    const lock = await lockOf('slow');
    await first.end();
    await untilRunning(database(), 'DISCARD ALL');
    using next = await berth().login();
    next.send(query("select to_regclass('slow')"));
    await untilMetric(berth(), 'berth_borrow_queue_depth', 1);
    await lock.query('rollback');
    expect(textRows(await next.untilReady())).toEqual([[null]]);
    lock.destroy();
  });
});

/** Somebody who reads the temporary table of a session, and so keeps it from being dropped. */
async function lockOf(table: string): Promise<RawClient> {
  const [row] = await adminQuery(
    database(),
    `select relnamespace::regnamespace::text as schema from pg_class where relname = '${table}'`,
  );
  const { port, socketDirectory } = database();
  const client = await RawClient.login(
    { port, socketDirectory },
    { user: 'postgres', database: 'app' },
  );
  const sql = `begin; lock table ${row?.schema}.${table} in access share mode`;
  expect(sqlStates(await client.query(sql))).toEqual([]);
  return client;
}

describe('PG-37 a connection that cannot be reset is destroyed', () => {
  test('because what makes it new fails', async () => {
    await adminQuery(
      database(),
      `create table ready (yes bool); insert into ready values (true);
       create function make_ready() returns void language plpgsql as $$
         begin if not (select yes from ready) then raise exception 'not ready'; end if; end $$;
       grant all on ready to app`,
    );
    await using other = await Berth.start({
      database: database(),
      pool: { MaxConnections: 1, InitQuery: 'select public.make_ready()' },
      expect: [
        'session.pinned',
        ({ reason }) => reason === 'reset_failed',
        'connection.open_failed',
      ],
    });
    const first = await other.login();
    const [[pid] = []] = textRows(await first.query('select pg_backend_pid()'));
    await first.query('create temp table t (id int)');
    await adminQuery(database(), 'update ready set yes = false');
    await first.end();
    await other.untilLogged(({ reason }) => reason === 'reset_failed');
    await eventually(async () => {
      const rows = await adminQuery(
        database(),
        `select 1 from pg_stat_activity where pid = ${pid}`,
      );
      return rows.length === 0 ? true : undefined;
    }, 'the end of the connection');
    await adminQuery(database(), 'update ready set yes = true');
    using next = await other.login();
    const [[nextPid] = []] = textRows(await next.query('select pg_backend_pid()'));
    expect(nextPid).not.toBe(pid);
  });

  test('because it takes too long; its permit is free when the database has let go of it, or 10 s later', async () => {
    await using other = await Berth.start({
      database: database(),
      pool: { MaxConnections: 2 },
      expect: ['session.pinned', ({ reason }) => reason === 'reset_failed'],
    });
    const pidOf = async (client: RawClient) =>
      textRows(await client.query('select pg_backend_pid()'))[0]?.[0];
    const pids: (string | null | undefined)[] = [];
    const leave = async (table: string) => {
      const client = await other.login();
      pids.push(await pidOf(client));
      await client.query(`create temp table ${table} (id int)`);
      return client;
    };
    const leaving = [await leave('for_a_while'), await leave('forever')];
    // A backend that ends drops its temporary tables, too: it waits for these locks and counts until then.
    const released = await lockOf('for_a_while');
    const kept = await lockOf('forever');
    for (const client of leaving) await client.end();
    using first = await other.login();
    using second = await other.login();
    for (const client of [first, second]) client.send(query('begin; select pg_backend_pid()'));
    const reason = 'reset_failed';
    await untilMetric(other, 'berth_database_connection_closes_total', 2, { reason });
    const alive = `select pid::text from pg_stat_activity where pid in (${pids.join()})`;
    expect(await adminQuery(database(), alive)).toHaveLength(2);
    expect(await other.metric('berth_borrow_queue_depth')).toBe(2);
    expect(other.logged('connection.closed')).toEqual([]);
    released.destroy();
    const [line] = await other.untilLogged('connection.closed');
    expect(line?.reason).toBe('reset_failed');
    const [[firstPid] = []] = textRows(await first.untilReady());
    // The lock on the other one's is still there.
    const [[secondPid] = []] = textRows(await second.untilReady());
    expect(await adminQuery(database(), alive)).toHaveLength(1);
    expect(new Set([...pids, firstPid, secondPid]).size).toBe(4);
    kept.destroy();
  }, 60_000);
});

test('PoolMode SESSION pins from the first borrow', async () => {
  await using other = await Berth.start({
    database: database(),
    pool: { MaxConnections: 2, PoolMode: 'SESSION' },
    expect: ['session.pinned'],
  });
  using a = await other.login();
  using b = await other.login();
  await a.query('select 1');
  await b.query('select 1');
  expect(await other.metric('berth_session_pins_total', { reason: 'session_mode' })).toBe(2);
  expect(await other.metric('database_connections_currently_session_pinned')).toBe(2);
  const pid = async () => textRows(await a.query('select pg_backend_pid()'))[0]?.[0];
  expect(await pid()).toBe(await pid());
});
