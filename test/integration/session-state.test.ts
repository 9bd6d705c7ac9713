/**
 * PG-34 to PG-37: what a session leaves behind is asked of the database when its transaction is over.
 * Settings follow the session from connection to connection; the rest pins for as long as it is there.
 */

import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { errorFields, sqlStates, textRows } from '../harness/backend-messages.ts';
import { type Berth, useBerth } from '../harness/berth.ts';
import { bind, close, execute, parse, query, sync } from '../harness/frontend-messages.ts';
import { untilMetric } from '../harness/polling.ts';
import { adminQuery, START_DEADLINE_MS, usePostgres } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';
import { untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(30_000);

const database = usePostgres();
/** Two connections, so that a session can be sent to another than it was on. */
const berth = useBerth(() => ({
  database: database(),
  pool: { MaxConnections: 2 },
  expect: ['session.pinned'],
}));
const PIN_METRIC = 'berth_session_pins_total';
const UNPIN_METRIC = 'berth_session_unpins_total';
/** The type's identifier. */
const TEXT = 25;

beforeAll(async () => {
  await adminQuery(
    database(),
    `create role guest; grant guest to app; create role leaver; grant leaver to app;
     create schema tenant_1; create schema tenant_2; grant all on schema tenant_1, tenant_2 to app;
     create function tune() returns void language sql as
       $$ select set_config('TimeZone', 'Asia/Tokyo', false) $$;
     create sequence tickets; grant all on sequence tickets to app`,
  );
}, START_DEADLINE_MS);

async function pinCount(of: Berth, metric = PIN_METRIC): Promise<number> {
  return await of.metric(metric);
}

async function show(client: RawClient, name: string): Promise<string | null | undefined> {
  return textRows(await client.query(`select current_setting('${name}', true)`))[0]?.[0];
}

/**
 * Runs `work` on one connection and then `look` on another: the first one is held in between by a
 * transaction of somebody else.
 */
async function onTheOther<T>(client: RawClient, look: () => Promise<T>): Promise<T> {
  const [[pid] = []] = textRows(await client.query('select pg_backend_pid()'));
  using other = await berth().login();
  await untilAllReturned(berth());
  await other.query('begin');
  try {
    const [[mine] = []] = textRows(await other.query('select pg_backend_pid()'));
    const [[now] = []] = textRows(await client.query('select pg_backend_pid()'));
    // Whoever was first has it; if the session still has its own, let them change places.
    if (mine !== pid && now === pid) {
      await client.query('begin');
      await other.query('commit');
      await client.query('commit');
      using third = await berth().login();
      await third.query('begin');
      return await look();
    }
    return await look();
  } finally {
    await other.query('commit');
  }
}

/** How a statement is sent. */
const WAYS: readonly [name: string, messages: (sql: string) => Buffer[]][] = [
  ['simple', (sql) => [query(sql)]],
  ['unnamed', (sql) => [parse('', sql), bind(), execute(), sync()]],
  [
    'named',
    (sql) => [
      parse('s', sql),
      bind({ statement: 's' }),
      execute(),
      close('statement', 's'),
      sync(),
    ],
  ],
];

/** A statement, and what a setting is afterwards. */
const SETTINGS: readonly [sql: string, name: string, value: string][] = [
  ['set search_path = tenant_1, public', 'search_path', 'tenant_1, public'],
  [`set search_path to 'tenant_1, x', "Y"`, 'search_path', '"tenant_1, x", "Y"'],
  ["set session work_mem = '9MB'", 'work_mem', '9MB'],
  ['SET statement_timeout TO 54321', 'statement_timeout', '54321ms'],
  ["set time zone 'Asia/Tokyo'", 'TimeZone', 'Asia/Tokyo'],
  ["set time zone interval '+05:30' hour to minute", 'TimeZone', '<+05:30>-05:30'],
  ["set names 'latin1'", 'client_encoding', 'LATIN1'],
  ["set datestyle = 'german'", 'DateStyle', 'German, DMY'],
  ['set role guest', 'role', 'guest'],
  ['set session characteristics as transaction read only', 'default_transaction_read_only', 'on'],
  [
    'set session characteristics as transaction isolation level serializable',
    'default_transaction_isolation',
    'serializable',
  ],
  ["select set_config('work_mem', '10MB', false)", 'work_mem', '10MB'],
  ["select pg_catalog.set_config('search_path', '', false)", 'search_path', ''],
  ["select set_config('app.tenant', '42', false)", 'app.tenant', '42'],
  [`set app.tenant = 'it''s "me"'`, 'app.tenant', `it's "me"`],
  ['set "App"."Other" to 7', 'app.other', '7'],
  ["do $$ begin perform set_config('app.done', 'yes', false); end $$", 'app.done', 'yes'],
  ['/* tag */ set work_mem /* of */ = 1234 -- kB', 'work_mem', '1234kB'],
];

describe.each([...WAYS])('PG-34 settings without a pin, %s', (_way, messages) => {
  test.each([...SETTINGS])('%s', async (sql, name, value) => {
    const pins = await pinCount(berth());
    using client = await berth().login();
    client.send(...messages(sql));
    expect(sqlStates(await client.untilReady())).toEqual([]);
    expect(await show(client, name)).toBe(value);
    expect(await onTheOther(client, () => show(client, name))).toBe(value);
    expect(await pinCount(berth())).toBe(pins);
    // Nobody else sees any of it.
    using other = await berth().login();
    expect(await show(other, name)).not.toBe(value);
  });
});

test('PG-34 with a parameter the name of the setting is known, its value is asked for', async () => {
  const pins = await pinCount(berth());
  using client = await berth().login();
  client.send(
    parse('', "select set_config('app.tenant', $1, false)"),
    bind({ parameters: ['blue'] }),
    execute(),
    sync(),
  );
  expect(textRows(await client.untilReady())).toEqual([['blue']]);
  expect(await onTheOther(client, () => show(client, 'app.tenant'))).toBe('blue');
  expect(await pinCount(berth())).toBe(pins);
});

test.each(['', 'named'])(
  'PG-34 a name that is a parameter of the statement "%s"',
  async (statement) => {
    const pins = await pinCount(berth());
    using client = await berth().login();
    const set = (name: string, value: string) => [
      bind({ statement, parameters: ['-', name, value] }),
      execute(),
      sync(),
    ];
    client.send(parse(statement, 'select set_config($2, $3, false), $1::text', [TEXT, TEXT, TEXT]));
    for (const messages of [set('App.Tenant', 'blue'), set('work_mem', '11MB')]) {
      client.send(...messages);
      expect(sqlStates(await client.untilReady())).toEqual([]);
    }
    const look = async () => [await show(client, 'app.tenant'), await show(client, 'work_mem')];
    expect(await onTheOther(client, look)).toEqual(['blue', '11MB']);
    expect(await pinCount(berth())).toBe(pins);
    if (statement === '') return;
    // No constant can hold this name in every encoding.
    client.send(...set('app.größe', 'blue'));
    expect(sqlStates(await client.untilReady())).toEqual([]);
    await untilMetric(berth(), 'database_connections_currently_session_pinned', 1);
    await client.end();
  },
);

describe('PG-35 transactions', () => {
  test.each([
    ['begin; set work_mem = 5432; commit', '5432kB'],
    ['begin; set work_mem = 5432; rollback', '4MB'],
    ['begin; set local work_mem = 5432; commit', '4MB'],
    ['begin; set local work_mem = 1111; set work_mem = 5432; commit', '5432kB'],
    ['begin; savepoint a; set work_mem = 5432; rollback to a; commit', '4MB'],
    [
      'begin; set work_mem = 5432; savepoint a; set work_mem = 2222; rollback to a; commit',
      '5432kB',
    ],
    ['begin; set work_mem = 5432; select 1/0', '4MB'],
    ['set work_mem = 5432; select 1/0', '4MB'],
    ['set work_mem = 5432; set work_mem = nonsense', '4MB'],
    ['set work_mem = 5432; reset work_mem', '4MB'],
    ['set work_mem = 5432; set work_mem to default', '4MB'],
    ['set work_mem = 5432; reset all', '4MB'],
    ['set transaction read only; set work_mem = 5432', '5432kB'],
  ])('%s', async (sql, value) => {
    const pins = await pinCount(berth());
    using client = await berth().login();
    await client.query(sql);
    await client.query('rollback');
    expect(await show(client, 'work_mem')).toBe(value);
    expect(await onTheOther(client, () => show(client, 'work_mem'))).toBe(value);
    expect(await pinCount(berth())).toBe(pins);
  });

  test('a SET and its COMMIT in one batch', async () => {
    using client = await berth().login();
    const statements = ['begin', 'set work_mem = 5432', 'rollback', 'set app.x = 1'];
    client.send(...statements.flatMap((sql) => [parse('', sql), bind(), execute()]), sync());
    expect(sqlStates(await client.untilReady())).toEqual([]);
    await onTheOther(client, async () => {
      expect(await show(client, 'work_mem')).toBe('4MB');
      expect(await show(client, 'app.x')).toBe('1');
    });
  });

  test('PG-36 a SET that fails does so in its place, and leaves what was', async () => {
    using client = await berth().login();
    await client.query('set work_mem = 5432');
    client.send(query('set work_mem = 77'), query('set work_mem = never'), query('select 1'));
    expect(sqlStates(await client.untilReady())).toEqual([]);
    expect(sqlStates(await client.untilReady())).toEqual(['22023']);
    expect(textRows(await client.untilReady())).toEqual([['1']]);
    expect(await onTheOther(client, () => show(client, 'work_mem'))).toBe('77kB');
  });

  test('requests behind a SET do not wait for what it has done to be known', async () => {
    using client = await berth().login();
    client.send(
      query("set time zone 'Asia/Tokyo'"),
      query('show timezone'),
      query('begin'),
      query("set time zone 'Asia/Seoul'"),
      query('rollback'),
    );
    for (let i = 0; i < 5; i++) await client.untilReady();
    expect(await onTheOther(client, () => show(client, 'TimeZone'))).toBe('Asia/Tokyo');
  });
});

describe('PG-35 RESET and the start-up packet', () => {
  test('RESET goes back to what the client asked for at the start', async () => {
    const pins = await pinCount(berth());
    using client = await berth().login({ parameters: { work_mem: '6MB', TimeZone: 'Asia/Tokyo' } });
    for (const sql of ['reset all', 'discard all', 'reset work_mem; reset time zone']) {
      await client.query("set work_mem = '7MB'; set time zone 'Asia/Seoul'");
      expect(await onTheOther(client, () => show(client, 'work_mem'))).toBe('7MB');
      for (const each of sql.split(';')) await client.query(each);
      await onTheOther(client, async () => {
        expect(await show(client, 'work_mem')).toBe('6MB');
        expect(await show(client, 'TimeZone')).toBe('Asia/Tokyo');
      });
    }
    expect(await pinCount(berth())).toBe(pins);
  });
});

describe('PG-34 ParameterStatus', () => {
  test('each client is told of its own settings', async () => {
    using tokyo = await berth().login();
    using seoul = await berth().login();
    await tokyo.query("set time zone 'Asia/Tokyo'");
    await seoul.query("set time zone 'Asia/Seoul'");
    for (let round = 0; round < 5; round++) {
      for (const [client, zone] of [
        [tokyo, 'Asia/Tokyo'],
        [seoul, 'Asia/Seoul'],
      ] as const) {
        const answer = await client.query('show timezone');
        expect(textRows(answer)).toEqual([[zone]]);
        expect(answer.filter(({ type }) => type === 'S')).toEqual([]);
      }
    }
  });

  test('what a function has set stays with its session', async () => {
    const pins = await pinCount(berth());
    using client = await berth().login();
    await client.query('select tune()');
    expect(await onTheOther(client, () => show(client, 'TimeZone'))).toBe('Asia/Tokyo');
    using other = await berth().login();
    expect(await show(other, 'TimeZone')).not.toBe('Asia/Tokyo');
    expect(await pinCount(berth())).toBe(pins);
  });
});

test('PG-35 nothing runs in another role when the role is gone', async () => {
  using client = await berth().login();
  await client.query('set role leaver');
  await untilAllReturned(berth());
  using other = await berth().login();
  await other.query("set role guest; set app.x = 'other'");
  await adminQuery(database(), 'revoke leaver from app; drop role leaver');
  const answer = await onTheOtherOrEnd(client);
  expect(answer).toBe('XX000');
});

/** The session's next statement on a connection that does not have its role. */
async function onTheOtherOrEnd(client: RawClient): Promise<string | undefined> {
  using first = await berth().login();
  using second = await berth().login();
  await first.query('select 1');
  await second.query('begin; set local role guest');
  await second.query('commit');
  client.send(query("select 'ran as ' || current_user"));
  for (;;) {
    const message = await client.next();
    if (message.type === 'E') return errorFields(message).get('C');
    expect(message.type).not.toBe('D');
  }
}

/** What pins, and what ends it. */
const PINS: readonly [reason: string, sql: string, end: string][] = [
  ['temporary_object', 'create temp table t (id int)', 'drop table t'],
  ['temporary_object', 'create temp view v as select 1', 'drop view v'],
  ['temporary_object', 'create temp table t (id int)', 'discard temp'],
  [
    'temporary_object',
    "create function pg_temp.f() returns int language sql as 'select 1'",
    'drop function pg_temp.f()',
  ],
  ['sql_prepare', 'prepare p as select 1', 'deallocate p'],
  ['sql_prepare', 'prepare p as select 1', 'deallocate all'],
  ['advisory_lock', 'select pg_advisory_lock(1)', 'select pg_advisory_unlock(1)'],
  ['advisory_lock', 'select pg_advisory_lock_shared(1, 2)', 'select pg_advisory_unlock_all()'],
  ['hold_cursor', 'declare c cursor with hold for select 1', 'close c'],
  ['hold_cursor', 'declare c cursor with hold for select 1', 'close all'],
  ['sequence', "select nextval('tickets')", 'discard all'],
  ['temporary_object', 'create temp table t (id int)', 'discard all'],
];

describe.each([...WAYS])('PG-37 a pin ends with its reason, %s', (_way, messages) => {
  test.each([...PINS])('%s: %s; %s', async (reason, sql, end) => {
    const pins = await berth().metric(PIN_METRIC, { reason });
    const unpins = await berth().metric(UNPIN_METRIC, { reason });
    using client = await berth().login();
    client.send(...messages(sql));
    expect(sqlStates(await client.untilReady())).toEqual([]);
    await untilMetric(berth(), 'database_connections_currently_session_pinned', 1);
    expect(await berth().metric(PIN_METRIC, { reason })).toBe(pins + 1);
    // Another lock, table or setting on the way changes nothing.
    await client.query("set app.y = 'kept'; select 1");
    client.send(...messages(end));
    expect(sqlStates(await client.untilReady())).toEqual([]);
    await untilMetric(berth(), 'database_connections_currently_session_pinned', 0);
    expect(await berth().metric(UNPIN_METRIC, { reason })).toBe(unpins + 1);
    const kept = end === 'discard all' ? '' : 'kept';
    expect((await onTheOther(client, () => show(client, 'app.y'))) ?? '').toBe(kept);
    await client.end();
    await untilAllReturned(berth());
  });
});

describe('PG-37 what leaves nothing does not pin', () => {
  test.each([
    'begin; create temp table t (id int); rollback',
    'begin; create temp table t (id int); drop table t; commit',
    'create temp table t (id int, id int)',
    'begin; create temp table t (id int); select 1/0',
    'select pg_advisory_lock(3), pg_advisory_unlock(3)',
    'prepare p as select 1; deallocate p',
    'select pg_advisory_unlock_all(); close all; unlisten *; reset all',
    'begin; listen x; rollback',
    'discard plans',
    'discard sequences',
    'discard all',
    'selct 1',
    'select set_config($1, $2, false',
  ])('%s', async (sql) => {
    const pins = await pinCount(berth());
    using client = await berth().login();
    await client.query(sql);
    await client.query('rollback');
    await untilAllReturned(berth());
    expect(await pinCount(berth())).toBe(pins);
  });

  test('two reasons: both have to go', async () => {
    using client = await berth().login();
    await client.query('create temp table t (id int)');
    await client.query('select pg_advisory_lock(5)');
    await client.query('drop table t');
    await client.query('select 1');
    expect(await berth().metric('database_connections_currently_session_pinned')).toBe(1);
    await client.query('select pg_advisory_unlock(5)');
    await untilMetric(berth(), 'database_connections_currently_session_pinned', 0);
    await client.end();
  });
});
